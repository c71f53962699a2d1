"""The arithmetic of training: float32, or bf16 and fp16 by autocast.

Weights, optimiser and loss stay in float32. Each forward opens and leaves an autocast context of
its own, so that no cast outlives a change of the weights. Autocast remembers its casts of weights
that ask for a gradient only: those of a frozen view are cast here, once for all passes of an
attack. Validation and everything that is reported run on the model itself, in float32.

Source: Wong 2020, sec 4.2.2 (mixed precision for fast adversarial training); Micikevicius et al.
2018, arXiv:1710.03740 (loss scaling).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from holdfast.core.errors import InputError

Precision = Literal["float32", "bf16", "fp16"]

_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
_LOWERED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
"""Modules whose weights are read by an operation that autocast lowers, and by nothing else."""


class Autocast(nn.Module):
    """A network whose forward runs in a lower precision and returns float32 logits."""

    def __init__(self, network: nn.Module, device: torch.device, dtype: torch.dtype):
        super().__init__()
        self.network, self.kind, self.dtype = network, device.type, dtype
        self._shadow = Shadow(network, dtype)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, *E) -> logits (B, K)."""
        with self._shadow.cast(), torch.autocast(self.kind, dtype=self.dtype):
            logits = self.network(x)
        return logits.float()


class Shadow:
    """The weights of a network's linear layers and convolutions in a lower precision.

    A weight is cast again when another tensor stands in its place, or when it was written to; one
    that asks for a gradient is left to autocast, which differentiates its cast.

    Args:
        network: whose weights are cast.
        dtype: to what.

    Guarantee: the logits have the bits that autocast alone gives.
    Cost: one cast of the weights per frozen view instead of one per pass.
    """

    def __init__(self, network: nn.Module, dtype: torch.dtype):
        self.dtype = dtype
        self._homes = [
            (cast(dict[str, Any], module._parameters), name)
            for module in network.modules()
            if type(module) in _LOWERED
            for name in ("weight", "bias")
            if module._parameters.get(name) is not None
        ]
        self._weights: list[Tensor] = []
        self._versions: list[int] = []
        self._casts: list[Tensor] = []

    @contextmanager
    def cast(self) -> Iterator[None]:
        """The casts in the place of the weights that are frozen, and these back on exit."""
        own = [(home, name, home[name]) for home, name in self._homes]
        frozen = [each for each in own if _is_frozen(each[2])]
        if not frozen or torch.is_inference_mode_enabled():
            yield
            return
        casts = self._casts_of([weight for _, _, weight in frozen])
        try:
            for (home, name, _), lowered in zip(frozen, casts, strict=True):
                home[name] = lowered
            yield
        finally:
            for home, name, weight in frozen:
                home[name] = weight

    def _casts_of(self, weights: list[Tensor]) -> list[Tensor]:
        """The casts of these weights, made anew where any has changed."""
        versions = [weight._version for weight in weights]
        same = len(weights) == len(self._weights) and all(map(_is, weights, self._weights))
        if not same or versions != self._versions:
            with torch.no_grad():
                casts = [torch.empty_like(weight, dtype=self.dtype) for weight in weights]
                torch._foreach_copy_(casts, weights)
            self._weights, self._versions, self._casts = weights, versions, casts
        return self._casts


def _is(one: Tensor, other: Tensor) -> bool:
    return one is other


def _is_frozen(weight: Tensor) -> bool:
    """Whether autocast would cast this weight anew at every pass."""
    return weight.dtype == torch.float32 and not (weight.requires_grad or weight.is_inference())


def in_precision(network: nn.Module, precision: Precision, device: torch.device) -> nn.Module:
    """The network as training calls it: itself, or wrapped.

    Raises:
        InputError: a precision that the device does not serve.
    """
    check_precision(precision, device)
    return network if precision == "float32" else Autocast(network, device, _TYPES[precision])


def loss_scaler(precision: Precision, device: torch.device) -> "torch.amp.GradScaler | None":
    """For fp16 the scaler that keeps small gradients from vanishing; else None.

    Attacks sum the loss over the batch, so their input gradients are not divided by its size.
    """
    return torch.amp.GradScaler(device.type) if precision == "fp16" else None


def check_precision(precision: Precision, device: torch.device) -> None:
    """Raises an InputError for fp16 on a CPU, and for bf16 on a GPU that lacks it."""
    remedy = "use training.precision = 'bf16' or 'float32'"
    if precision == "fp16" and device.type != "cuda":
        problem = f"is slower than float32 on {device.type}, by tens of times"
        raise InputError("training.precision", precision, problem, remedy)
    if precision == "bf16" and device.type == "cuda" and not torch.cuda.is_bf16_supported():
        remedy = "use training.precision = 'fp16' or 'float32'"
        raise InputError("training.precision", precision, "is not served by this GPU", remedy)
