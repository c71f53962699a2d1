"""What an attack is after, as a margin that must fall to zero, and within which radius."""

import math

import torch
from torch import Tensor

from holdfast.losses.margin import margin
from holdfast.threats.protocol import Threat


def goal(logits: Tensor, y: Tensor, target: Tensor | None) -> Tensor:
    """The margin that must become <= 0, (b,): of the label, or of all others over the target.

    A tie with the target is no success, nor is an answer that is no number: both become the
    smallest positive number.
    """
    if target is None:
        return margin(logits, y)
    over = -margin(logits, target)
    tiny = torch.full_like(over, torch.finfo(over.dtype).tiny)
    return torch.where((over == 0) | over.isnan(), tiny, over)


def bounded(threat: Threat, y: Tensor) -> Tensor:
    """(B,) bool, whether a row's radius is finite; one per feature always is."""
    radius = torch.as_tensor(getattr(threat, "radius", 0.0), device=y.device)
    finite = radius < math.inf if radius.ndim < 2 else torch.ones_like(y, dtype=torch.bool)
    return finite.expand(len(y))
