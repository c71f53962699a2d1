"""The arithmetic of training: float32, or bf16 and fp16 by autocast.

Weights, optimiser and loss stay in float32. Each forward opens and leaves an autocast context of
its own, so that no cast outlives a change of the weights. Validation and everything that is
reported run on the model itself, in float32.

Source: Wong 2020, sec 4.2.2 (mixed precision for fast adversarial training); Micikevicius et al.
2018, arXiv:1710.03740 (loss scaling).
"""

from typing import Literal

import torch
from torch import Tensor, nn

from holdfast.core.errors import InputError

Precision = Literal["float32", "bf16", "fp16"]

_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Autocast(nn.Module):
    """A network whose forward runs in a lower precision and returns float32 logits."""

    def __init__(self, network: nn.Module, device: torch.device, dtype: torch.dtype):
        super().__init__()
        self.network, self.kind, self.dtype = network, device.type, dtype

    def forward(self, x: Tensor) -> Tensor:
        """x (B, *E) -> logits (B, K)."""
        with torch.autocast(self.kind, dtype=self.dtype):
            logits = self.network(x)
        return logits.float()


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
