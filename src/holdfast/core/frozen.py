"""The frozen view of a model: logits and input gradients, with nothing of the user's module
changed.

Attacks and certificates see a model through `FrozenModel`. Every call is functional: detached
parameters stand in for the module's own while it runs, so no weight gradient is computed or
accumulated and no `requires_grad` flag is touched. The only thing toggled is the mode of each
submodule, restored one by one on exit, also after an exception. Calls may run in blocks of one
fixed shape, which makes an example's bits independent of how many neighbours it has: kernels round
differently for different shapes.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize

from holdfast.core.convolutions import input_gradient
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


@contextmanager
def _same_buffers(model: Model) -> Iterator[None]:
    """Removes, on exit, buffers that the model registered in the meantime."""
    modules = list(model.modules()) if isinstance(model, nn.Module) else []
    names = [set(module._buffers) for module in modules]
    try:
        yield
    finally:
        for module, before in zip(modules, names, strict=True):
            for name in set(module._buffers) - before:
                del module._buffers[name]


class FrozenModel:
    """A model that can be asked for logits and input gradients, and not be changed.

    Use as a context manager: `with FrozenModel(model) as frozen: frozen.logits(x)`; it may be
    entered again while it is entered.

    Args:
        model: an `nn.Module`, or any callable, from inputs (B, *E) to logits (B, K).
        mode: `eval` (default) puts all submodules into evaluation mode; `batch` leaves their modes
            and drops updates of buffers (batch norm with batch statistics, no update); `train`
            leaves modes and lets buffers update.
        block: rows of every call; inputs are cut and padded to this shape. None calls with whatever
            is given.
        in_flight: how many blocks an attack keeps in work at once; changes no result.
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
        in_flight: int = 1,
        device: torch.device | str | None = None,
    ):
        if mode not in ("eval", "batch", "train"):
            raise InputError("mode", mode, "is not known", "use 'eval', 'batch' or 'train'")
        self.model, self.mode, self.block, self.in_flight = model, mode, block, in_flight
        self.passes = PassCounter()
        self._swaps = _detached(model, buffers=mode != "train")
        self.device = torch.device(device) if device is not None else device_of(model)
        self._guards: list[ExitStack] = []

    def __enter__(self) -> "FrozenModel":
        guard = ExitStack()
        if self.mode == "eval":
            guard.enter_context(evaluation_mode(self.model))
        if self.mode != "train":
            guard.enter_context(_same_buffers(self.model))
        self._guards.append(guard)
        return self

    def __exit__(self, *error: object) -> None:
        self._guards.pop().close()

    def logits(self, x: Tensor) -> Tensor:
        """The logits (B, K) of x (B, *E), without a graph; one forward per row."""
        if not len(x):
            raise InputError("x", described("no rows"), "is empty", "give at least one example")
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
            learns = values.requires_grad
            gradient = input_gradient(values.sum(), x) if learns else torch.zeros_like(x)
        self.passes.backwards += len(x)
        return logits.detach(), values.detach(), gradient

    def jacobian(self, x: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, K), and the gradients (B, k, *E) of the logits of `classes` (B, k).

        Args:
            x: (B, *E); with `block` set, B must equal it.

        Cost: one forward and k backwards per row.
        """
        gradients = torch.zeros(*classes.shape, *x.shape[1:], dtype=x.dtype, device=x.device)
        with torch.enable_grad():
            x = x.detach().requires_grad_(True)
            logits = self._call(x)
            values = logits.gather(1, classes)
            for place in range(classes.shape[1]) if values.requires_grad else ():
                gradients[:, place] = input_gradient(values[:, place].sum(), x, retain=True)
        self.passes.backwards += classes.numel()
        return logits.detach(), gradients

    def _call(self, x: Tensor) -> Tensor:
        self.passes.forwards += len(x)
        try:
            with _swapped(self._swaps):
                logits = self.model(x.clone())  # a model may work on its input in place
        except (torch.OutOfMemoryError, RuntimeError) as cause:
            if not _is_out_of_memory(cause):
                raise
            raise OutOfMemory(
                f"{len(x)} rows do not fit into memory; use a smaller --block"
            ) from cause
        logits = check_logits(logits, len(x))
        return logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits

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


Swap = tuple[dict[str, Any], str, Tensor]


def _detached(model: Model, *, buffers: bool) -> list[Swap]:
    """Where each parameter (and buffer) is kept, with the tensor that stands in for it.

    The same as `torch.func.functional_call`, prepared once: its checks cost more than a small
    network's forward pass.
    """
    swaps: list[Swap] = []
    for module in model.modules() if isinstance(model, nn.Module) else ():
        parameters = cast(dict[str, Any], module._parameters)
        own_buffers = cast(dict[str, Any], module._buffers)
        for name, value in parameters.items():
            if is_lazy(value):
                shown = described(f"parameter {name!r}")
                raise InputError("model", shown, "is not initialised", "run the model once")
            if value is not None:
                swaps.append((parameters, name, value.detach()))
        for name, value in own_buffers.items() if buffers else ():
            if value is not None:
                swaps.append((own_buffers, name, value.clone()))
    return swaps


@contextmanager
def _swapped(swaps: list[Swap]) -> Iterator[None]:
    """Puts the stand-ins in place and the module's own tensors back; caches of parametrised
    weights are put aside as well, so that none is made from stand-ins."""
    cache, parametrize._cache = parametrize._cache, {}
    own = [home[name] for home, name, _ in swaps]
    try:
        for home, name, stand_in in swaps:
            home[name] = stand_in
        yield
    finally:
        parametrize._cache = cache
        for (home, name, _), value in zip(swaps, own, strict=True):
            home[name] = value


def _is_out_of_memory(error: Exception) -> bool:
    """CUDA has an exception of its own; the CPU allocator raises a plain RuntimeError."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def default_block(device: torch.device) -> int:
    """Rows of a block where none is chosen: small enough for a CPU's cache, large on a GPU."""
    return 128 if device.type == "cpu" else 512
