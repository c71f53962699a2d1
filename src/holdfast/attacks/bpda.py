"""Backward pass differentiable approximation: a user's own gradient for a layer that has none.

    forward   y = h(x), bit for bit            backward   dL/dx = dL/dy s'(x)

with h the layer that hides its gradient (it rounds, samples, optimises, leaves torch) and s a
differentiable stand-in that is close to it; the identity, for layers h(x) ~ x. Attacks run on the
changed model as on any other: what they find is a success on the model itself, whose outputs are
the same.

Symbols: h = `layer`, s = `surrogate`.
Source: Athalye, Carlini and Wagner 2018, arXiv:1802.00420, sec 4.1.
Departures: none; s is evaluated at the same input, once for every backward pass.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.core.errors import InputError, described, unknown_name

Map = Callable[[Tensor], Tensor]


def with_backward(layer: Map, surrogate: Map | None = None) -> nn.Module:
    """The layer, with the backward pass of another one.

    Args:
        layer: x to y; any callable, also one that leaves torch or changes its argument. Runs
            without a graph, on a copy.
        surrogate: x to s, of the shape of y, through which gradients flow; None for the identity.
            Its parameters receive gradients, those of the layer none.

    Returns:
        a module with `layer` and `surrogate` as attributes.

    Guarantee: outputs have the bits of `layer(x)`; gradients are those of `surrogate` at x.
    Cost: one forward of each; of the layer alone where gradients are off.
    Source: Athalye et al. 2018, arXiv:1802.00420, sec 4.1.1 (identity) and 4.1.2 (any).

    Raises:
        InputError: what is given cannot be called; on the call, an output that is no float tensor
            or a surrogate whose output has another shape.

    Example:
        >>> rounded = with_backward(torch.round)
        >>> x = torch.tensor([[0.4, 1.7]], requires_grad=True)
        >>> y = rounded(x)
        >>> y.sum().backward()
        >>> y.tolist(), x.grad.tolist()
        ([[0.0, 2.0]], [[1.0, 1.0]])
    """
    return _Approximated(layer, nn.Identity() if surrogate is None else surrogate)


def approximate(model: nn.Module, surrogates: Mapping[str, Map | None]) -> nn.Module:
    """The model with other backward passes for some of its layers; the model itself is untouched.

    Args:
        model: the user's; its weights are shared, not copied.
        surrogates: by the dotted name of a submodule, as in `model.named_modules()`, its surrogate
            or None for the identity; the empty name is the model as a whole.

    Returns:
        a copy of the modules on the way to the named ones, whose other parts are the model's own.

    Guarantee: outputs have the bits of the model's.
    Departures: a layer is replaced under the given name only; where the model keeps it under a
        second name, or calls it by a reference that is no submodule, it stays.

    Raises:
        InputError: `model` is no module; no submodule has the name; one name lies inside another.
    """
    if not isinstance(model, nn.Module):
        kind = described(type(model).__name__)
        raise InputError("model", kind, "has no submodules", "use with_backward(model, surrogate)")
    names = sorted(surrogates)
    for name in names:
        if any(outer != name and _lies_in(name, outer) for outer in names):
            raise InputError("surrogates", name, "lies in another one", "give only the outer one")
    for name in names:
        model = _replaced(model, name, name.split(".") if name else [], surrogates[name])
    return model


class _Approximated(nn.Module):
    """See `with_backward`."""

    def __init__(self, layer: Map, surrogate: Map):
        super().__init__()
        for argument, each in (("layer", layer), ("surrogate", surrogate)):
            if not callable(each):
                raise InputError(argument, each, "cannot be called", "give a module or function")
        self.layer, self.surrogate = layer, surrogate

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            y = self.layer(x.detach().clone())
        if not isinstance(y, Tensor) or not y.is_floating_point():
            kind = str(y.dtype) if isinstance(y, Tensor) else type(y).__name__
            problem = f"returns {kind}, not a float tensor"
            raise InputError("layer", described(_name(self.layer)), problem, "approximate a larger")
        if not torch.is_grad_enabled():
            return y
        s = self.surrogate(x)
        if s.shape != y.shape:
            problem = f"returns shape {tuple(s.shape)}, the layer {tuple(y.shape)}"
            remedy = "give one that returns the layer's shape"
            raise InputError("surrogate", described(_name(self.surrogate)), problem, remedy)
        result: Tensor = _ValueOf.apply(s.to(y.dtype), y)  # type: ignore[no-untyped-call]
        return result


class _ValueOf(torch.autograd.Function):
    """(s, y) -> y, differentiated as if it were s; adding y - s would round."""

    generate_vmap_rule = True

    @staticmethod
    def forward(s: Tensor, y: Tensor) -> Tensor:
        """The second argument."""
        del s
        return y.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        """Nothing is kept."""

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """The gradient of y, given to s."""
        return gradients[0], None


def _replaced(module: nn.Module, name: str, path: list[str], surrogate: Map | None) -> nn.Module:
    """A copy of the module whose submodule at the path has another backward pass."""
    if not path:
        return with_backward(module, surrogate)
    child = module._modules.get(path[0])
    if child is None:
        known = [each for each, _ in module.named_modules() if each]
        raise unknown_name("surrogates", name, known or ["none: it has no submodules"])
    copy = _shallow(module)
    copy._modules[path[0]] = _replaced(child, name, path[1:], surrogate)
    return copy


def _shallow(module: nn.Module) -> nn.Module:
    """A module of the same class that shares tensors and submodules, and none of the tables that
    hold them; `copy.copy` would share those, and refuses parametrised modules."""
    copy = object.__new__(type(module))
    tables = (dict, set)
    own = {k: v.copy() if isinstance(v, tables) else v for k, v in module.__dict__.items()}
    copy.__dict__.update(own)
    return copy


def _lies_in(name: str, outer: str) -> bool:
    """Whether the submodule `name` is a part of `outer`."""
    return outer == "" or name.startswith(outer + ".")


def _name(part: Any) -> str:
    """What a layer is called in a message."""
    return getattr(part, "__name__", type(part).__name__)
