"""The frozen view of a model: logits and input gradients, with nothing of the user's module
changed.

Attacks and certificates see a model through `FrozenModel`. Calls are functional calls on detached
parameters, so no weight gradient is computed or accumulated and no `requires_grad` flag is touched;
the only thing toggled is the mode of each submodule, restored one by one on exit, also after an
exception. Calls may run in blocks of one fixed shape, which makes an example's bits independent of
how many neighbours it has: kernels round differently for different shapes.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call

from holdfast.core.counting import PassCounter
from holdfast.core.errors import InputError, OutOfMemory, described

Mode = Literal["eval", "batch", "train"]
Model = Callable[[Tensor], Tensor]


@contextmanager
def evaluation_mode(model: Model) -> Iterator[None]:
    """Puts every submodule into evaluation mode and restores each one's own mode on exit."""
    modules = list(model.modules()) if isinstance(model, nn.Module) else []
    modes = [module.training for module in modules]
    try:
        for module in modules:
            module.training = False
        yield
    finally:
        for module, mode in zip(modules, modes, strict=True):
            module.training = mode


class FrozenModel:
    """A model that can be asked for logits and input gradients, and not be changed.

    Use as a context manager: `with FrozenModel(model) as frozen: frozen.logits(x)`.

    Args:
        model: an `nn.Module`, or any callable, from inputs (B, *E) to logits (B, K).
        mode: `eval` (default) puts all submodules into evaluation mode; `batch` leaves their modes
            and drops updates of buffers (batch norm with batch statistics, no update); `train`
            leaves modes and lets buffers update.
        block: rows of every call; inputs are cut and padded to this shape. None calls with whatever
            is given.
        device: where calls run; None means the device of the model's parameters.

    Guarantee: parameters, their gradients, flags and hooks, and the mode of each submodule, are as
        before on exit; so are buffers unless the mode is `train`.
    Cost: counted in `passes`, in rows.
    """

    def __init__(
        self,
        model: Model,
        *,
        mode: Mode = "eval",
        block: int | None = None,
        device: torch.device | str | None = None,
    ):
        if mode not in ("eval", "batch", "train"):
            raise InputError("mode", mode, "is not known", "use 'eval', 'batch' or 'train'")
        self.model, self.mode, self.block = model, mode, block
        self.passes = PassCounter()
        self._state: dict[str, Tensor] = {}
        if isinstance(model, nn.Module):
            self._state = {name: value.detach() for name, value in model.named_parameters()}
            if mode == "batch":
                self._state |= {name: value.clone() for name, value in model.named_buffers()}
        self.device = torch.device(device) if device is not None else device_of(model)
        self._mode_guard = evaluation_mode(model) if mode == "eval" else None

    def __enter__(self) -> "FrozenModel":
        if self._mode_guard is not None:
            self._mode_guard.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        if self._mode_guard is not None:
            self._mode_guard.__exit__(None, None, None)

    def logits(self, x: Tensor) -> Tensor:
        """The logits (B, K) of x (B, *E), without a graph; one forward per row."""
        with torch.no_grad():
            return torch.cat([self._call(rows)[:count] for rows, count in self._blocks(x)])

    def value_and_grad(
        self, x: Tensor, value: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Logits, a value of them per example, and its gradient with respect to the input.

        Values are summed over the rows, so that an example's gradient does not depend on how many
        there are.

        Args:
            x: (B, *E); with `block` set, B must equal it.
            value: logits (B, K) -> (B,).

        Returns:
            logits (B, K), values (B,), gradient (B, *E), all detached.
        """
        with torch.enable_grad():
            x = x.detach().requires_grad_(True)
            logits = self._call(x)
            values = value(logits)
            (gradient,) = torch.autograd.grad(values.sum(), x, materialize_grads=True)
        self.passes.backwards += len(x)
        return logits.detach(), values.detach(), gradient

    def _call(self, x: Tensor) -> Tensor:
        self.passes.forwards += len(x)
        try:
            if isinstance(self.model, nn.Module):
                logits = functional_call(self.model, self._state, (x,))
            else:
                logits = self.model(x)
        except torch.OutOfMemoryError as cause:
            raise OutOfMemory(
                f"{len(x)} rows do not fit into memory; use a smaller --block"
            ) from cause
        return check_logits(logits, len(x))

    def _blocks(self, x: Tensor) -> Iterator[tuple[Tensor, int]]:
        """The input in blocks of the fixed shape; the last is padded with its own first row."""
        if self.block is None:
            yield x, len(x)
            return
        for start in range(0, len(x), self.block):
            rows = x[start : start + self.block]
            count, missing = len(rows), self.block - len(rows)
            if missing:
                rows = torch.cat([rows, rows[:1].expand(missing, *rows.shape[1:])])
                self.passes.forwards -= missing
                self.passes.padding += missing
            yield rows, count


def check_logits(logits: object, rows: int) -> Tensor:
    """The model's output, if it is a float tensor (rows, K) with K >= 2; else an InputError that
    says what came."""
    remedy = "the model must map inputs (B, ...) to logits (B, K) with K >= 2"
    if not isinstance(logits, Tensor):
        raise InputError(
            "model", described(type(logits).__name__), "is returned, not a tensor", remedy
        )
    if logits.ndim != 2 or logits.shape[0] != rows or logits.shape[1] < 2:
        shape = described(f"output of shape {tuple(logits.shape)}")
        raise InputError("model", shape, f"does not fit {rows} inputs", remedy)
    if not logits.is_floating_point():
        raise InputError(
            "model", described(f"output of type {logits.dtype}"), "is not float", remedy
        )
    return logits


def device_of(model: Model) -> torch.device:
    """The device of a module's first parameter or buffer; the CPU where there is none."""
    if isinstance(model, nn.Module):
        for tensor in (*model.parameters(), *model.buffers()):
            return tensor.device
    return torch.device("cpu")
