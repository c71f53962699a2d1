"""Normalisation inside the model: `(x - mean) / std`, so that data and radii stay in input units.

`Normalized` puts it before a network without changing the network's own keys: a state dict of the
bare network loads into `model.net`, which `holdfast.models.store.load_weights` does by itself.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from holdfast.core.errors import InputError, described

Statistic = float | Sequence[float] | Tensor

# Statistics of the training images, in units of [0, 1], as the field uses them.
STATISTICS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "mnist": ((0.1307,), (0.3081,)),
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616)),
    "cifar10-wong-kolter": ((0.485, 0.456, 0.406), (0.225, 0.225, 0.225)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


class Normalize(nn.Module):
    """`(x - mean) / std`, by channel of an image (B, C, H, W) or by feature of a vector (B, F).

    Args:
        mean: one number, one per channel or feature, or a tensor of the shape of an example.
        std: likewise; positive.

    Raises:
        InputError: a value that is not finite, `std <= 0`, shapes that do not go together; on the
            call, an input whose channels do not fit.

    Example:
        >>> Normalize(0.5, 0.25)(torch.ones(1, 1, 1, 2))
        tensor([[[[2., 2.]]]])
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Statistic, std: Statistic):
        super().__init__()
        self.register_buffer("mean", _statistic(mean, "mean"))
        self.register_buffer("std", _statistic(std, "std"))
        if not bool((self.std > 0).all()):
            raise InputError("std", std, "is not positive", "give standard deviations > 0")
        if self.mean.numel() > 1 < self.std.numel() and self.mean.shape != self.std.shape:
            raise InputError("std", std, f"does not fit mean={mean}", "give as many of both")

    def forward(self, x: Tensor) -> Tensor:
        """x (B, *E) -> (B, *E)."""
        return (x - _fitted(self.mean, x)) / _fitted(self.std, x)

    def extra_repr(self) -> str:
        """The statistics, where they are few."""
        few = max(self.mean.numel(), self.std.numel()) <= 8
        return f"mean={plain(self.mean)}, std={plain(self.std)}" if few else f"{self.mean.shape}"


class Normalized(nn.Module):
    """A network behind a normalisation of its input.

    Args:
        normalize: the normalisation.
        net: the network, from normalised inputs to logits; its state dict stands under `net.`.
    """

    def __init__(self, normalize: Normalize, net: nn.Module):
        super().__init__()
        self.normalize, self.net = normalize, net

    def forward(self, x: Tensor) -> Tensor:
        """x (B, *E) in input units -> logits (B, K)."""
        return self.net(self.normalize(x))


def plain(values: Tensor) -> tuple[float, ...]:
    """The numbers of a statistic, each the shortest that reads back as the same float32."""
    return tuple(float(str(value)) for value in values.flatten().float().cpu().numpy())


def _statistic(values: Statistic, argument: str) -> Tensor:
    """As a float32 tensor: one number (), channels (C, 1, 1), or the shape of an example."""
    try:
        tensor = torch.as_tensor(values, dtype=torch.float32).detach().clone()
    except (TypeError, ValueError, RuntimeError):
        raise InputError(argument, values, "is not a list of numbers", "give numbers") from None
    if tensor.numel() == 0 or not all(map(math.isfinite, tensor.flatten().tolist())):
        raise InputError(argument, values, "is empty or not finite", "give finite numbers")
    return tensor.view(-1, 1, 1) if tensor.ndim == 1 else tensor


def _fitted(statistic: Tensor, x: Tensor) -> Tensor:
    """The statistic, shaped so that it broadcasts over x (B, *E) along the channels."""
    if statistic.ndim == 0 or statistic.shape == x.shape[1:]:
        return statistic
    channels = statistic.numel()
    if x.ndim < 2 or statistic.shape != (channels, 1, 1) or channels not in (1, x.shape[1]):
        shape = described(f"input of shape {tuple(x.shape)}")
        raise InputError("x", shape, f"does not fit {channels} statistics", "normalise by channel")
    return statistic if x.ndim == 4 else statistic.view(channels, *(1,) * (x.ndim - 2))
