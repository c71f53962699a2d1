"""What an operation of a captured graph can do: its forward rule and its interval rule.

Four kinds cover most networks. (a) *Affine* operations have weights (`affine.py`): an interval goes
through as center and radius, the radius with the absolute weights. (b) *Structural* operations
(`structural.py`) are linear with coefficients that are not negative (reshape, pooling, sum): an
interval goes through by applying the operation to both ends; those of several inputs (sum,
difference, concatenation) are *joints*. (c) *Scalar* operations (ReLU, clamp, sigmoid) act on each
number alone (`structural.py`, `activations.py`); most are monotone and map ends to ends, and each
has two lines around it. (d) *Order statistics* (max pooling, maximum; `selections.py`) select one
of several inputs.

A backward pass needs `pull` of a linear map, `pulls` of a joint, and `lines` of a scalar operation;
a forward pass needs `push` of the first two and the same lines.

    affine:     [W c + b - |W| r,  W c + b + |W| r],   c = (l + u)/2,  r = (u - l)/2
    otherwise:  [op(l), op(u)]

With `rigorous` set, each rule widens its result by the rounding radius of `rounding.py`. An affine
operation gives its linear part apart from its offset, so that rows of coefficients can be pulled
back through it (`pull`, the transpose).

Source: Gowal et al. 2018 (interval bound propagation); Liu 2022, sec 3.1.2; Wong 2020, sec 3.4.2.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from holdfast.certify.operators.constants import Constant, Values
from holdfast.certify.operators.lines import Lines
from holdfast.certify.rounding import Box, widened


class Op(ABC):
    """One operation; x (B, *E) and whatever else comes in, one tensor out."""

    @abstractmethod
    def forward(self, inputs: Sequence[Tensor], values: Values) -> Tensor:
        """The value of the operation."""

    @abstractmethod
    def interval(self, boxes: Sequence[Box], values: Values, *, rigorous: bool) -> Box:
        """A box that contains the value for all inputs in the boxes."""


@dataclass(frozen=True)
class Input(Op):
    """The input of the graph."""

    def forward(self, inputs: Sequence[Tensor], values: Values) -> Tensor:
        """The input itself."""
        return inputs[0]

    def interval(self, boxes: Sequence[Box], values: Values, *, rigorous: bool) -> Box:
        """The box itself."""
        return boxes[0]


class LinearMap(Op):
    """z = W x + b of one input, W a linear map that is never formed."""

    @abstractmethod
    def linear(self, x: Tensor, values: Values) -> Tensor:
        """W x."""

    @abstractmethod
    def absolute(self, x: Tensor, values: Values) -> Tensor:
        """|W| x."""

    @abstractmethod
    def terms(self, values: Values) -> int:
        """How many products one output adds up."""

    def offset(self, values: Values) -> Tensor | None:
        """The vector b, broadcastable to (B, *E), or None."""
        return None

    def offset_size(self, values: Values) -> Tensor | None:
        """The sum of the absolute terms that `offset` is made of, for its rounding error."""
        offset = self.offset(values)
        return None if offset is None else offset.abs()

    def forward(self, inputs: Sequence[Tensor], values: Values) -> Tensor:
        """The value W x + b."""
        return plus(self.linear(inputs[0], values), self.offset(values))

    def size(self, x: Tensor, values: Values) -> Tensor:
        """|W| x + |b|, the sum of absolute terms for |input| <= x."""
        return plus(self.absolute(x, values), self.offset_size(values))

    def pull(self, rows: Tensor, values: Values, shape: tuple[int, ...]) -> Tensor:
        """W^T rows: linear forms of the output (N, *out) as forms of the input (N, *shape)."""
        differentiable = torch.is_grad_enabled()
        with torch.enable_grad():
            origin = rows.new_zeros(len(rows), *shape).requires_grad_()
            image = self.linear(origin, values)
            (pulled,) = torch.autograd.grad(image, origin, rows, create_graph=differentiable)
        return pulled

    def push(self, low: Tensor, high: Tensor, values: Values) -> tuple[Tensor, Tensor]:
        """W low and W high where W is positive, exchanged where it is negative.

        Args:
            low: coefficients of lower forms of the input, (N, *in).
            high: those of upper forms, in any order to `low`; the same tensor where they are equal.

        Returns:
            Coefficients of lower and of upper forms of W x, (N, *out).
        """
        if low is high:
            image = self.linear(low, values)
            return image, image
        middle = self.linear((low + high) / 2, values)
        around = self.absolute((high - low) / 2, values)
        return middle - around, middle + around


class Affine(LinearMap):
    """A linear map with weights of any sign."""

    def interval(self, boxes: Sequence[Box], values: Values, *, rigorous: bool) -> Box:
        """Center and radius."""
        box = boxes[0]
        center, spread = center_radius(box)
        middle = self.forward([center], values)
        around = self.absolute(spread, values)
        result = Box(middle - around, middle + around)
        if not rigorous:
            return result
        return widened(result, self.terms(values) + 1, self.size(box.magnitude, values))


def center_radius(box: Box) -> tuple[Tensor, Tensor]:
    """A center and the radius that covers the box from it; both ends equal give radius zero."""
    center = (box.lower + box.upper) / 2
    return center, torch.maximum(box.upper - center, center - box.lower)


def plus(x: Tensor, offset: Tensor | None) -> Tensor:
    """The sum, where there is something to add."""
    return x if offset is None else x + offset


class Joint(Op):
    """A linear map of several inputs, without an offset and with coefficients -1, 0 and 1."""

    @abstractmethod
    def pulls(self, rows: Tensor, shapes: Sequence[tuple[int, ...]]) -> tuple[Tensor, ...]:
        """The transpose: linear forms of the output (N, *out) as forms of each input.

        Args:
            rows: (N, *out).
            shapes: of the inputs, in order, without the batch axis.

        Returns:
            One tensor (N, *shape) per input; an input that is read twice takes their sum.
        """

    def push(self, forms: Sequence[Box], values: Values) -> Box:
        """Coefficients (N, *out) of lower and upper forms of the value, from those of its inputs.

        It is the interval rule, which holds for ends in any order.
        """
        return self.interval(forms, values, rigorous=False)


class Scalar(Op):
    """An operation on each number alone, between two lines."""

    @abstractmethod
    def lines(self, box: Box, *, adaptive: bool = True, slope: Tensor | None = None) -> Lines:
        """Two lines around the operation on a box (B, *shape); see `relaxation.lines_of`.

        Args:
            adaptive: whether each line has a slope of its own, or both the same.
            slope: positions in [0, 1] of the lines that can move; overrides `adaptive`.
        """

    @abstractmethod
    def first_slope(self, box: Box) -> Tensor:
        """Positions of `slope` at which the lines are the adaptive ones, (B, *shape)."""

    @abstractmethod
    def undecided(self, box: Box) -> Tensor:
        """Where the two lines differ, so that a tighter box could help; NaN counts."""


class Monotone(Op):
    """An operation that does not fall when an input rises: its image of a box has its ends.

    `added` says how many numbers one output adds up; zero means that it only selects or moves.
    """

    added: int = 0

    def interval(self, boxes: Sequence[Box], values: Values, *, rigorous: bool) -> Box:
        """The operation on both ends."""
        lower = self.forward([box.lower for box in boxes], values)
        upper = self.forward([box.upper for box in boxes], values)
        if not (rigorous and self.added):
            return Box(lower, upper)
        size = self.forward([box.magnitude for box in boxes], values)
        return widened(Box(lower, upper), self.added, size)


class OrderStatistic(Monotone):
    """The largest of several inputs, or the smallest."""

    least: bool = False

    @abstractmethod
    def candidates(self, inputs: Sequence[Tensor], fill: float) -> Tensor:
        """The inputs that each output is chosen from, (B, k, *out).

        Args:
            inputs: of shape (B, *E).
            fill: stands where there is no input, in the padding of a pool.
        """


@dataclass(frozen=True)
class Node:
    """One operation in its place in a graph.

    Args:
        place: its own place in the list.
        op: what it does.
        inputs: the places of the nodes that it reads, all earlier.
        shape: the shape of its value, without the batch axis.
        name: its name in the exported program.
        where: the path of the module that calls it; empty for the model itself.
    """

    place: int
    op: Op
    inputs: tuple[int, ...]
    shape: tuple[int, ...]
    name: str
    where: str

    @property
    def constants(self) -> list[Constant]:
        """The constants that its operation refers to."""
        mine = (getattr(self.op, field.name) for field in fields(self.op))  # type: ignore[arg-type]
        return [value for value in mine if isinstance(value, Constant)]
