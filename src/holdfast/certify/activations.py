"""Scalar operations with a bend that is not flat, or with a smooth S: leaky ReLU, sigmoid, tanh.

A leaky ReLU is convex or concave, so its image of [l, u] lies between its values at l, u and, where
the interval holds it, at 0; with slope -1 it is |x|. An S-shaped operation rises, so it maps ends
to ends.

Rounding: the elementary functions of PyTorch are taken to be accurate to 8 units in the last place
in float64 (vector and device libraries document 1 to 4); where they underflow, to 2^-1022.

Source: Liu 2022, sec 3.1.2 (any monotone activation).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from holdfast.certify.constants import Values
from holdfast.certify.ops import Monotone, Op
from holdfast.certify.rounding import Box, radius


@dataclass(frozen=True)
class LeakyReLU(Op):
    """x where x is positive, slope x elsewhere; |x| for slope -1."""

    slope: float

    def forward(self, inputs: Sequence[Tensor], values: Values) -> Tensor:
        """The bent input."""
        return F.leaky_relu(inputs[0], self.slope)

    def interval(self, boxes: Sequence[Box], values: Values, *, rigorous: bool) -> Box:
        """The hull of the values at both ends and at zero between them."""
        box = boxes[0]
        first, last = (self.forward([end], values) for end in box)
        bend = torch.where((box.lower < 0) & (box.upper > 0), torch.zeros_like(first), first)
        lower = torch.minimum(torch.minimum(first, last), bend)
        result = Box(lower, torch.maximum(torch.maximum(first, last), bend))
        if not rigorous or self.slope in (-1.0, 0.0, 1.0):
            return result
        return _outward(result)


def _outward(box: Box) -> Box:
    """The box, each end moved by what a product or an elementary function may have rounded."""
    lower, upper = box
    return Box(lower - radius(1, lower.abs()), upper + radius(1, upper.abs()))


class SShaped(Monotone):
    """A smooth rising function, convex up to zero and concave from there, that saturates.

    Its values lie between `floor` and `ceiling`, and op(x) + op(-x) is `floor + ceiling`.
    """

    floor: float
    ceiling: float

    def interval(self, boxes: Sequence[Box], values: Values, *, rigorous: bool) -> Box:
        """Both ends, widened by what the elementary function may be off."""
        box = super().interval(boxes, values, rigorous=False)
        if not rigorous:
            return box
        lower, upper = _outward(box)
        return Box(lower.clamp(min=self.floor), upper.clamp(max=self.ceiling))


@dataclass(frozen=True)
class Sigmoid(SShaped):
    """1 / (1 + exp(-x))."""

    floor = 0.0
    ceiling = 1.0

    def forward(self, inputs: Sequence[Tensor], values: Values) -> Tensor:
        """The logistic function."""
        return inputs[0].sigmoid()


@dataclass(frozen=True)
class Tanh(SShaped):
    """(exp(x) - exp(-x)) / (exp(x) + exp(-x))."""

    floor = -1.0
    ceiling = 1.0

    def forward(self, inputs: Sequence[Tensor], values: Values) -> Tensor:
        """The hyperbolic tangent."""
        return inputs[0].tanh()


@dataclass(frozen=True)
class Arctan(SShaped):
    """The arc tangent."""

    floor = -1.5707963267948968  # just outside of -pi/2
    ceiling = 1.5707963267948968

    def forward(self, inputs: Sequence[Tensor], values: Values) -> Tensor:
        """The arc tangent."""
        return inputs[0].atan()
