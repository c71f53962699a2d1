"""Operations without weights: sums, reshapes, pooling, and the monotone nonlinearities.

A structural operation is linear with coefficients that are not negative, so that it maps the ends
of a box to the ends of the image; a monotone nonlinearity does the same. Differences exchange the
ends of what they subtract.

Source: Liu 2022, sec 3.1.2 (any monotone activation); Wong 2020, sec 3.4.2 (Cor. 4: residuals).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from holdfast.certify.operators.constants import Values
from holdfast.certify.operators.lines import Lines
from holdfast.certify.operators.ops import Joint, LinearMap, Monotone, Scalar
from holdfast.certify.operators.piecewise_lines import clamp_lines, relu_lines
from holdfast.certify.rounding import Box, widened


@dataclass(frozen=True)
class Negate(LinearMap):
    """-x."""

    def linear(self, x: Tensor, values: Values) -> Tensor:
        """-x."""
        return -x

    def absolute(self, x: Tensor, values: Values) -> Tensor:
        """The input."""
        return x

    def terms(self, values: Values) -> int:
        """None: a change of sign is exact."""
        return 0

    def interval(self, boxes: Sequence[Box], values: Values, *, rigorous: bool) -> Box:
        """The ends change places."""
        return Box(-boxes[0].upper, -boxes[0].lower)

    def pull(self, rows: Tensor, values: Values, shape: tuple[int, ...]) -> Tensor:
        """The negated rows."""
        return -rows

    def push(self, low: Tensor, high: Tensor, values: Values) -> tuple[Tensor, Tensor]:
        """The negated coefficients, exchanged."""
        image = -high
        return image, image if low is high else -low


@dataclass(frozen=True)
class Subtract(Joint):
    """x - x', both computed from the input."""

    def forward(self, inputs: Sequence[Tensor], values: Values) -> Tensor:
        """x - x'."""
        return inputs[0] - inputs[1]

    def interval(self, boxes: Sequence[Box], values: Values, *, rigorous: bool) -> Box:
        """[l - u', u - l']."""
        first, second = boxes
        result = Box(first.lower - second.upper, first.upper - second.lower)
        return widened(result, 2, first.magnitude + second.magnitude) if rigorous else result

    def pulls(self, rows: Tensor, shapes: Sequence[tuple[int, ...]]) -> tuple[Tensor, ...]:
        """The rows and their negation, summed over axes that broadcast."""
        first, second = (rows.sum_to_size(len(rows), *shape) for shape in shapes)
        return first, -second


@dataclass(frozen=True)
class Add(Monotone, Joint):
    """x + x', both computed from the input."""

    added: int = 2

    def forward(self, inputs: Sequence[Tensor], values: Values) -> Tensor:
        """x + x'."""
        return inputs[0] + inputs[1]

    def pulls(self, rows: Tensor, shapes: Sequence[tuple[int, ...]]) -> tuple[Tensor, ...]:
        """The rows twice, summed over axes that broadcast."""
        return tuple(rows.sum_to_size(len(rows), *shape) for shape in shapes)


@dataclass(frozen=True)
class Concatenate(Monotone, Joint):
    """The inputs side by side along an axis."""

    axis: int

    def forward(self, inputs: Sequence[Tensor], values: Values) -> Tensor:
        """The joined inputs."""
        return torch.cat(list(inputs), self.axis)

    def pulls(self, rows: Tensor, shapes: Sequence[tuple[int, ...]]) -> tuple[Tensor, ...]:
        """The parts of the rows."""
        sizes = [(len(rows), *shape)[self.axis] for shape in shapes]
        return torch.split(rows, sizes, self.axis)


class NonNegative(Monotone, LinearMap):
    """A linear map with coefficients that are not negative: it is its own absolute map."""

    def absolute(self, x: Tensor, values: Values) -> Tensor:
        """The map itself."""
        return self.linear(x, values)

    def terms(self, values: Values) -> int:
        """How many numbers one output adds up."""
        return self.added

    def push(self, low: Tensor, high: Tensor, values: Values) -> tuple[Tensor, Tensor]:
        """The map of both."""
        image = self.linear(low, values)
        return image, image if low is high else self.linear(high, values)


@dataclass(frozen=True)
class Reshape(NonNegative):
    """The same numbers of each example in another shape; all of view, flatten, squeeze ..."""

    shape: tuple[int, ...]

    def linear(self, x: Tensor, values: Values) -> Tensor:
        """The reshaped input."""
        return x.reshape(x.shape[0], *self.shape)

    def pull(self, rows: Tensor, values: Values, shape: tuple[int, ...]) -> Tensor:
        """The rows in the shape of the input."""
        return rows.reshape(len(rows), *shape)


@dataclass(frozen=True)
class Structural(NonNegative):
    """Pooling, mean, sum, permute, slice, padding with zeros.

    Args:
        function: applied as function(x, *arguments).
        added: how many numbers one output adds up; zero where they only move.
    """

    function: Callable[..., Tensor]
    arguments: tuple[Any, ...] = ()
    added: int = 0

    def linear(self, x: Tensor, values: Values) -> Tensor:
        """The function's value."""
        return self.function(x, *self.arguments)


@dataclass(frozen=True)
class ReLU(Monotone, Scalar):
    """max(x, 0)."""

    def forward(self, inputs: Sequence[Tensor], values: Values) -> Tensor:
        """max(x, 0)."""
        return inputs[0].relu()

    def lines(self, box: Box, *, adaptive: bool = True, slope: Tensor | None = None) -> Lines:
        """The chord above; below, a line through zero."""
        return relu_lines(box, adaptive=adaptive, slope=slope)

    def first_slope(self, box: Box) -> Tensor:
        """1 where the interval reaches farther to the right."""
        return (box.upper > -box.lower).to(box.lower)

    def undecided(self, box: Box) -> Tensor:
        """Where the sign is open."""
        return ~((box.lower >= 0) | (box.upper <= 0))


@dataclass(frozen=True)
class Clamp(Monotone, Scalar):
    """min(max(x, low), high); hardtanh and ReLU6 are of this kind."""

    low: float | None
    high: float | None

    def forward(self, inputs: Sequence[Tensor], values: Values) -> Tensor:
        """The clamped input."""
        return inputs[0].clamp(self.low, self.high)

    def lines(self, box: Box, *, adaptive: bool = True, slope: Tensor | None = None) -> Lines:
        """Lines through the bends, or a parallel pair."""
        return clamp_lines(self.low, self.high, box, adaptive=adaptive, slope=slope)

    def first_slope(self, box: Box) -> Tensor:
        """As for a ReLU at the bend inside; with both inside, the free lines share one position."""
        middle = box.lower / 2 + box.upper / 2
        rising, falling = middle > self._least, middle < self._most
        return torch.where(
            (box.lower < self._least) & (box.upper > self._most),
            (rising & falling).to(middle),
            torch.where(box.lower < self._least, rising, falling).to(middle),
        )

    def undecided(self, box: Box) -> Tensor:
        """Where a bend lies inside."""
        inside = (box.lower >= self._least) & (box.upper <= self._most)
        return ~(inside | (box.upper <= self._least) | (box.lower >= self._most))

    @property
    def _least(self) -> float:
        return -torch.inf if self.low is None else self.low

    @property
    def _most(self) -> float:
        return torch.inf if self.high is None else self.high
