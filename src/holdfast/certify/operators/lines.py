"""Two lines that enclose a scalar operation on an interval, and their outward rounding.

    lower_slope z + lower_intercept <= op(z) <= upper_slope z + upper_intercept,   l <= z <= u

Whatever the slopes are, the best intercepts are the extremes of op(z) - slope z over the interval.
A slope may therefore be computed roughly; only the intercept is rounded outwards, by the radius of
`rounding.py` with the absolute terms that it is made of. The inequality then holds over the real
numbers, the slopes being the float64 numbers that are given. In float32 the radius vanishes, and
the lines are what a plain computation gives.

Source: Wong & Kolter 2018, arXiv 1711.00851; Zhang et al. 2018 (CROWN), arXiv 1811.00866.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from holdfast.certify.rounding import radius

_TERMS = 8


class Lines(NamedTuple):
    """Slopes and intercepts of the two lines, each (B, *shape)."""

    lower_slope: Tensor
    lower_intercept: Tensor
    upper_slope: Tensor
    upper_intercept: Tensor

    def reflected(self) -> "Lines":
        """The lines of -op(-z) on [-u, -l], from those of op on [l, u]."""
        low, below, high, above = self
        return Lines(high, -above, low, -below)


def slack(magnitude: Tensor) -> Tensor:
    """How far rounding may move an intercept that is made of a few terms of this total size."""
    return radius(_TERMS, magnitude.detach())


def chosen(slope: Tensor | None, otherwise: Tensor) -> Tensor:
    """The given positions, forced into [0, 1], or else others."""
    return otherwise if slope is None else slope.clamp(0.0, 1.0)


def quotient(part: Tensor, whole: Tensor, where: Tensor) -> Tensor:
    """A share in [0, 1] where it is wanted; elsewhere 1, with no gradient that is not finite."""
    one = torch.ones_like(whole)
    return torch.where(where, part, one) / torch.where(where, whole, one)
