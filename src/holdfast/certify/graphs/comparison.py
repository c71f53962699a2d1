"""Whether a captured graph computes what its model does: both are called, on three rows and on one.

First the model alone, as it is: two calls must agree to a few units of rounding. That refuses
random numbers, from whatever source, which the trace would have frozen into constants.

Then model and graph, with the input and all tensors of the model in float64. Both fold the same
tensors, so that a weight that is normalised, rounded or binarised is the same in both; casts to
single precision on the way are widened in both. What is left is rounding, and the two must agree to
2e-12 of the scale. That refuses a graph that is wrong by little, and a model that computes one
thing in float32 and another in float64.

Only a model that cannot run in float64 (its code holds float32 tensors of its own and multiplies
matrices by them) is compared with its graph as it is, up to the rounding of its own dtype.
"""

from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from holdfast.certify.rounding import Box
from holdfast.core.errors import CaptureError, shorten

if TYPE_CHECKING:
    from holdfast.certify.graphs.graph import Graph

_REPEATED = 16.0
_CLOSE = {torch.float64: 2e-12, torch.float32: 1e-5}
_CANCELLED = {torch.float64: 1e-2, torch.float32: 1e-3}
_SINGLE = 2.0**-23


def compare(graph: "Graph", model: nn.Module, x: Tensor) -> None:
    """Raises CaptureError unless graph and model agree.

    Args:
        graph: captured from the model.
        model: in evaluation mode; copies of its tensors stand in for them.
        x: (3, *E), in the dtype of the model.
    """
    for rows in (x, x[:1]):
        wanted, double = _repeated(model, rows), True
        try:
            wanted = _called(model, model.__call__, rows, double=True)
        except Exception:  # whatever its code raises where it meets another dtype
            double = False
        if not _agrees(graph, model, rows, wanted, double):
            raise CaptureError(
                f"the captured graph differs from the model on a batch of {len(rows)}; "
                "the model must treat each example alone and compute the same in every dtype"
            )


def _repeated(model: nn.Module, x: Tensor) -> Tensor:
    """The model's value as it is, if a second call gives it again."""
    try:
        first, second = (_called(model, model.__call__, x, double=False) for _ in range(2))
    except Exception as cause:
        raise CaptureError(
            f"the model fails on a batch of {len(x)}: {type(cause).__name__}: {shorten(str(cause))}"
        ) from cause
    if not _close(first, second, _REPEATED * torch.finfo(x.dtype).eps):
        raise CaptureError(
            f"two calls of the model differ on a batch of {len(x)}; "
            "a model that is bounded must be deterministic in evaluation mode"
        )
    return first


def _agrees(graph: "Graph", model: nn.Module, x: Tensor, wanted: Tensor, double: bool) -> bool:
    """Whether the graph gives what is wanted, up to rounding.

    A fixed fraction of the scale is allowed, or what the a-priori rounding radius says. The radius
    serves networks whose sums cancel; it is never taken beyond a small fraction of the scale, which
    is one unit of float32 for a float32 model in float64.
    """
    try:
        found = _called(model, graph.forward, x, double=double)
    except (RuntimeError, TypeError):
        return False
    dtype = torch.float64 if double else x.dtype
    if _close(found, wanted, _CLOSE[dtype]):
        return True
    most = _SINGLE if double and x.dtype == torch.float32 else _CANCELLED[dtype]
    return _close(found, wanted, most, _radius(graph, x.double(), dtype))


def _radius(graph: "Graph", x: Tensor, dtype: torch.dtype) -> Tensor:
    """What rounding in a dtype may move the graph's value at most, twice; x in float64."""
    with torch.no_grad():
        box = graph.walk(
            Box(x, x),
            lambda node, each, values: node.op.interval(each, values, rigorous=True),
            like=x,
        )[-1]
    return (box.upper - box.lower) * (torch.finfo(dtype).eps / torch.finfo(x.dtype).eps)


def _close(found: Tensor, wanted: Tensor, most: float, radius: Tensor | None = None) -> bool:
    """Whether two values differ by at most a fraction of their scale, and the radius if given."""
    finite = wanted.isfinite()
    if found.shape != wanted.shape or not torch.equal(found.isfinite(), finite):
        return False
    error = (found - wanted).where(finite, 0.0).abs()
    allowed = most * (1 + wanted.where(finite, 0.0).abs().amax())
    return bool((error <= (allowed if radius is None else radius.clamp(max=allowed))).all())


class _Beside(nn.Module):
    """A call that reads the tensors of a model, so that others can be put in their place."""

    def __init__(self, model: nn.Module, call: Callable[[Tensor], Tensor]):
        super().__init__()
        self.model, self.call = model, call

    def forward(self, x: Tensor) -> Tensor:
        return self.call(x)


def _called(
    model: nn.Module, call: Callable[[Tensor], Tensor], x: Tensor, *, double: bool
) -> Tensor:
    """The value of a call that reads the model, which may write its buffers; copies stand in."""
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    copies = {
        f"model.{name}": value.to(
            torch.float64 if double and value.is_floating_point() else value.dtype, copy=True
        )
        for name, value in tensors.items()
    }
    x = x.double() if double else x.clone()
    widened = _Widened() if double else nullcontext()  # type: ignore[no-untyped-call]
    with torch.no_grad(), widened:
        value: Tensor = functional_call(_Beside(model, call), copies, (x,))
    return value


class _Widened(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Reads float32 as float64 wherever an operation is told a dtype."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        args, kwargs = tree_map_only(torch.dtype, _wider, (args, kwargs or {}))
        return func(*args, **kwargs)


def _wider(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float32 else dtype
