"""Scalar operations with a bend that is not flat, or with a smooth S: leaky ReLU, sigmoid, tanh.

Each class is all that the room knows of its operation: the value, the interval, the lines, and by
`captured` the names under which an exported program calls it.

A leaky ReLU is convex or concave, so its image of [l, u] lies between its values at l, u and, where
the interval holds it, at 0; with slope -1 it is |x|. An S-shaped operation rises, so it maps ends
to ends.

Rounding: the elementary functions of PyTorch are taken to be accurate to 8 units in the last place
in float64 (vector and device libraries document 1 to 4); where they underflow, to 2^-1022.

Source: Liu 2022, sec 3.1.2 (any monotone activation).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from holdfast.certify.operators.calls import Call
from holdfast.certify.operators.constants import Values
from holdfast.certify.operators.lines import Lines
from holdfast.certify.operators.ops import Monotone, Op, Scalar
from holdfast.certify.operators.piecewise_lines import bent_lines
from holdfast.certify.operators.rules import captured
from holdfast.certify.operators.smooth_lines import ARCTAN, SIGMOID, TANH, Curve, s_lines, touching
from holdfast.certify.rounding import Box, radius


@dataclass(frozen=True)
class LeakyReLU(Scalar):
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

    def lines(self, box: Box, *, adaptive: bool = True, slope: Tensor | None = None) -> Lines:
        """The chord, and a line through zero."""
        return bent_lines(self.slope, box, adaptive=adaptive, slope=slope)

    def first_slope(self, box: Box) -> Tensor:
        """1 where the interval reaches farther to the right."""
        return (box.upper > -box.lower).to(box.lower)

    def undecided(self, box: Box) -> Tensor:
        """Where the sign is open."""
        return ~((box.lower >= 0) | (box.upper <= 0))


@captured("leaky_relu")
def _leaky_relu(call: Call) -> tuple[Op, ...]:
    return (LeakyReLU(float(call["negative_slope"])),)


@captured("abs")
def _absolute(call: Call) -> tuple[Op, ...]:
    return (LeakyReLU(-1.0),)


def _outward(box: Box) -> Box:
    """The box, each end moved by what a product or an elementary function may have rounded."""
    lower, upper = box
    return Box(lower - radius(1, lower.abs()), upper + radius(1, upper.abs()))


class SShaped(Monotone, Scalar):
    """A smooth rising function, convex up to zero and concave from there, that saturates.

    Its values lie between `floor` and `ceiling`, and op(x) + op(-x) is `floor + ceiling`.
    """

    floor: float
    ceiling: float
    curve: ClassVar[Curve]

    def interval(self, boxes: Sequence[Box], values: Values, *, rigorous: bool) -> Box:
        """Both ends, widened by what the elementary function may be off."""
        box = super().interval(boxes, values, rigorous=False)
        if not rigorous:
            return box
        lower, upper = _outward(box)
        return Box(lower.clamp(min=self.floor), upper.clamp(max=self.ceiling))

    def lines(self, box: Box, *, adaptive: bool = True, slope: Tensor | None = None) -> Lines:
        """Tangents and chords."""
        return s_lines(self.curve, box, adaptive=adaptive, slope=slope)

    def first_slope(self, box: Box) -> Tensor:
        """Where the adaptive lines touch."""
        return touching(box)

    def undecided(self, box: Box) -> Tensor:
        """Everywhere but at a point."""
        return ~(box.lower == box.upper)


@captured("sigmoid")
@dataclass(frozen=True)
class Sigmoid(SShaped):
    """1 / (1 + exp(-x))."""

    floor = 0.0
    ceiling = 1.0
    curve = SIGMOID

    def forward(self, inputs: Sequence[Tensor], values: Values) -> Tensor:
        """The logistic function."""
        return inputs[0].sigmoid()


@captured("tanh")
@dataclass(frozen=True)
class Tanh(SShaped):
    """(exp(x) - exp(-x)) / (exp(x) + exp(-x))."""

    floor = -1.0
    ceiling = 1.0
    curve = TANH

    def forward(self, inputs: Sequence[Tensor], values: Values) -> Tensor:
        """The hyperbolic tangent."""
        return inputs[0].tanh()


@captured("atan")
@dataclass(frozen=True)
class Arctan(SShaped):
    """The arc tangent."""

    floor = -1.5707963267948968  # just outside of -pi/2
    ceiling = 1.5707963267948968
    curve = ARCTAN

    def forward(self, inputs: Sequence[Tensor], values: Values) -> Tensor:
        """The arc tangent."""
        return inputs[0].atan()
