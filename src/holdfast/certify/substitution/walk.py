"""One walk of rows from a node back to the input: the sums of a substitution.

`backward.py` says what is substituted and what is paid for rounding.
"""

import math

import torch
from torch import Tensor

from holdfast.certify.operators.lines import Lines
from holdfast.certify.operators.maximum_lines import scattered
from holdfast.certify.operators.ops import Joint, LinearMap, Node, OrderStatistic, center_radius
from holdfast.certify.operators.structural import Add, Concatenate, Subtract
from holdfast.certify.rounding import unit
from holdfast.certify.substitution.relaxed import Relaxed
from holdfast.certify.substitution.rows import Dense, Rows
from holdfast.certify.substitution.units import Units
from holdfast.certify.substitution.windows import Window, added

_SUM = 2.0**-40
_EXTRA = 16
_SUPPORT = 4.0


class Substitution:
    """The sums of one substitution: what has been added up, and what rounding may have moved.

    Args:
        parallel: whether both ends are wanted of lines that are parallel.
        twin: whether the negated rows are wanted as well, behind the rows; they part where lines
            are not parallel.
    """

    def __init__(self, relaxed: Relaxed, image: Tensor, *, parallel: bool, twin: bool = False):
        self.relaxed, self.image, self.parallel, self.twin = relaxed, image, parallel, twin
        self.centred = relaxed.reference is not None
        self.low: Tensor | float = 0.0
        self.high: Tensor | float = 0.0
        self.slack: Tensor | float = 0.0
        self.pending: dict[int, Rows] = {}
        self.lengths: dict[int, Tensor] = {}
        self.weights: dict[int, Tensor] = {}
        self.rounded: set[int] = set()
        self.widest = 1

    def run(self, rows: Rows, place: int) -> tuple[Tensor, Tensor | None]:
        """The ends of rows over a place, from the set of inputs."""
        first = self._parted(0, self.back(rows, place))
        if first is not None:
            least, most = self.relaxed.region.ends(first, self.image, both=self.parallel)
            self._add(least, most)
            if self.centred:
                self._summed(least.abs(), first)
            if not self.centred or 0 in self.rounded:
                self.count(first, self.relaxed.graph.nodes[0], _SUPPORT)
        return self.settled()

    def back(self, rows: Rows, place: int) -> Rows | None:
        """From a place to the input: rows over it, or None if nothing reaches it."""
        self.pending[place] = rows
        for node in self.relaxed.graph.nodes[place:0:-1]:
            if node.place in self.pending:
                self._pass(node, self.pending.pop(node.place))
        return self.pending.pop(0, None)

    def halves(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """The parts (N,) of the rows and of the negated rows."""
        first, second = values.chunk(2) if len(values) else (values, values)
        return first, second

    def _parted(self, place: int, rows: Rows | None) -> Rows | None:
        """Rows over a node, with the negated rows behind them if they are wanted."""
        if not self.twin:
            return rows
        if rows is not None:
            self.pending[place] = rows
        self._part()
        return self.pending.pop(place, None)

    def _part(self) -> None:
        """Sets the negated rows behind the rows, of all that is pending."""
        self.twin = False
        low, slack = (torch.as_tensor(each) for each in (self.low, self.slack))
        self.low, self.slack = torch.cat([low, -low]) if low.ndim else 0.0, double(slack)
        self.image = double(self.image)
        self.pending = {place: rows.twin() for place, rows in self.pending.items()}
        self.lengths = {place: double(length) for place, length in self.lengths.items()}

    def settled(self) -> tuple[Tensor, Tensor | None]:
        """What has been added up, less what rounding may have moved."""
        low, high = torch.as_tensor(self.low), torch.as_tensor(self.high)
        if self.relaxed.rigorous:
            low, high = low - self.slack, high + self.slack
        return low, high if self.parallel else None

    def _pass(self, node: Node, rows: Rows) -> None:
        """The rows over a node's value as rows over what it reads."""
        op, relaxed = node.op, self.relaxed
        shapes = [relaxed.graph.nodes[index].shape for index in node.inputs]
        if node.place in relaxed.lines:
            self._relaxed(rows, node)
            return
        if not isinstance(op, LinearMap | Joint):
            parted = self._parted(node.place, rows)
            assert parted is not None
            rows = parted
        rows = rows.clean()
        self.count(rows, node)
        if isinstance(op, LinearMap):
            if not self.centred:
                self._offset(rows, op.offset(relaxed.values), node)
            self._hand(node.inputs[0], rows.pulled(node, shapes[0], relaxed.values))
        elif isinstance(op, Add | Subtract):
            for index, shape, sign in zip(node.inputs, shapes, (1, -1), strict=True):
                part = rows.of(-rows.values) if sign < 0 and isinstance(op, Subtract) else rows
                self._hand(index, _reduced(part, node.shape, shape))
        elif isinstance(op, Concatenate):
            axis = op.axis if op.axis > 0 else op.axis + 1 + len(node.shape)
            parts = torch.split(rows.dense().values, [shape[axis - 1] for shape in shapes], axis)
            for index, piece in zip(node.inputs, parts, strict=True):
                self._hand(index, Dense(piece))
        elif isinstance(op, OrderStatistic) and not self.parallel:
            self._selected(rows.dense().values, node)
        else:
            self._add(*box_ends(rows, self.image, *center_radius(relaxed.boxes[node.place])))

    def _relaxed(self, rows: Rows, node: Node) -> None:
        """The rows over what a scalar node reads, by its lines."""
        c, image, lines = rows.values, self.image, self.relaxed.lines[node.place]
        if node.place in self.rounded or self.relaxed.moves is not None:
            self.count(rows, node)
        least, most = self._intercepts(rows, lines, node.place)
        high_end: Tensor | None = most
        length = None
        if self.relaxed.rigorous:
            length = self._length(rows, node.place) * self.relaxed.steepest(node.place)[image]
            self._weigh(rows, node)
        if self.parallel:
            values = rows.times(lines.upper_slope, image)
        else:
            low, high = (rows.field(each, image) for each in (lines.lower_slope, lines.upper_slope))
            positive = c > 0
            values = torch.where(positive, low, high) * c
        if self.twin:
            values = torch.cat([values, -(torch.where(positive, high, low) * c)])
            least, high_end = torch.cat([least, -most]), None
            length = None if length is None else double(length)
            self._part()
            rows = rows.twin(values)
        else:
            rows = rows.of(values)
        self._add(least, high_end)
        self._hand(node.inputs[0], rows, length)
        self.rounded.update(node.inputs)

    def _intercepts(self, rows: Rows, lines: Lines, place: int) -> tuple[Tensor, Tensor]:
        """The least and the greatest that the lines' intercepts add up to."""
        lower, upper, memo = lines.lower_intercept, lines.upper_intercept, self.relaxed.memo
        if self.centred and self.parallel:
            size = rows.sized(upper, self.image)
            self._summed(size, rows)
            return -size, size
        if self.relaxed.bent(place):
            total = rows.summed(upper, self.image)
            size = rows.sized(upper, self.image)
            self._summed(size, rows)
        else:
            middle = memo.crops(lower, "sum", lambda: lower + upper)
            total = rows.summed(middle, self.image)
            gap = memo.crops(lower, "gap", lambda: upper - lower)
            size = rows.sized(gap, self.image)
            if self.relaxed.rigorous:
                most = memo.crops(lower, "most", lambda: lower.abs() + upper.abs())
                self._summed(rows.sized(most, self.image), rows)
        return 0.5 * (total - size), 0.5 * (total + size)

    def _selected(self, c: Tensor, node: Node) -> None:
        """Rows over an order statistic as rows over the inputs that its lines are in."""
        low, high, lines = self.relaxed.selection(node)
        up, down, image = c.clamp_min(0), c.clamp_max(0), self.image
        least = up * lines.lower_intercept[image] + down * lines.upper_intercept[image]
        self._add(least.flatten(1).sum(1), None)
        shapes = [self.relaxed.graph.nodes[index].shape for index in node.inputs]
        sizes = [math.prod(shape) for shape in shapes]
        flat = scattered(up * lines.lower_slope[image], low[image], sum(sizes))
        flat = flat + scattered(down * lines.upper_slope[image], high[image], sum(sizes))
        parts = torch.split(flat, sizes, dim=1)
        for index, shape, part in zip(node.inputs, shapes, parts, strict=True):
            self._hand(index, Dense(part.reshape(-1, *shape)))

    def _offset(self, rows: Rows, offset: Tensor | None, node: Node) -> None:
        if offset is None:
            return
        if isinstance(rows, Window) and offset.ndim == 3 and offset.shape[1:] == (1, 1):
            value = rows.values.flatten(1) @ offset.expand(rows.values.shape[1:]).flatten()
        elif isinstance(rows, Dense):
            value = rows.values.flatten(1) @ offset.expand(node.shape).flatten()
        else:
            table = offset.expand(1, *node.shape)
            value = rows.summed(table, self.image)
        self._add(value, value)

    def _add(self, least: Tensor, most: Tensor | None) -> None:
        if self.relaxed.rigorous:
            least, most = least.double(), None if most is None else most.double()
            self.slack = self.slack + _SUM * least.detach().abs()
        self.low = self.low + least
        if self.parallel and most is not None:
            self.high = self.high + most

    def _hand(self, place: int, rows: Rows, length: Tensor | None = None) -> None:
        """Rows to a node, beside what other paths have brought there.

        Args:
            length: (N,) at least their Euclidean lengths, where they are known.
        """
        other, before = self.pending.get(place), self.lengths.pop(place, None)
        if other is not None:
            rows, length = added(other, rows), None
            self.weights.pop(place, None)
            self.rounded.add(place)
        elif before is not None:
            length = None
        if length is not None:
            self.lengths[place] = length
        self.pending[place] = rows
        self.widest = max(self.widest, rows.values[:1].numel())

    def _length(self, rows: Rows, place: int) -> Tensor:
        """At least the Euclidean length of each row, (N,)."""
        return self.lengths[place] if place in self.lengths else rows.length().double()

    def _weigh(self, rows: Rows, node: Node) -> None:
        """What rounding will move at the node that a scalar one reads, from rows that are kernels:
        it is known for all kernels at once, and the lines' slopes only make it smaller."""
        below, relaxed = self.relaxed.graph.nodes[node.inputs[0]], self.relaxed
        linear = isinstance(below.op, LinearMap) and below.place not in self.pending
        if linear and self.centred and isinstance(rows, Window) and rows.kernels is not None:
            size = rows.sized(relaxed.moved(below), self.image).detach()
            weight = size.double() * relaxed.steepest(node.place)[self.image]
            self.weights[below.place] = double(weight) if self.twin else weight

    def count(self, rows: Rows, node: Node, factor: float = 1.0) -> None:
        """What rounding may move here."""
        if not self.relaxed.rigorous:
            return
        length, rate = (
            self._length(rows, node.place),
            self.relaxed.noise(node).index_select(0, self.image),
        )
        weight = self.weights.pop(node.place, None)
        if weight is None and self.centred and isinstance(rows, Units):
            weight = rows.sized(self.relaxed.moved(node), self.image).detach().double()
        weight = length * rate[:, 0] if weight is None else weight
        self.slack = self.slack + factor * (weight + (1.0 + length) * rate[:, 1])

    def _summed(self, size: Tensor, rows: Rows) -> None:
        """What rounding may move in a sum over the coefficients of each row."""
        if self.relaxed.rigorous:
            count = 2.0 * (rows.values[:1].numel() + _EXTRA)
            self.slack = self.slack + count * unit(size.dtype) * size.detach().double()


def double(values: Tensor) -> Tensor:
    """Numbers of rows, for the rows and once more for the negated rows."""
    return torch.cat([values, values]) if values.ndim else values


def box_ends(rows: Rows, image: Tensor, center: Tensor, spread: Tensor) -> tuple[Tensor, Tensor]:
    """The least and the greatest value of each row over its image's box."""
    c = rows.values
    middle = (c * rows.field(center, image)).flatten(1).sum(1)
    around = (c * rows.field(spread, image)).abs().flatten(1).sum(1)
    return middle - around, middle + around


def _reduced(rows: Rows, before: tuple[int, ...], after: tuple[int, ...]) -> Rows:
    """Rows over a sum as rows over a summand, which may have been broadcast."""
    if before == after:
        return rows
    values = rows.dense().values
    shape = (len(values), *(1,) * (len(before) - len(after)), *after)
    return Dense(values.sum_to_size(shape).reshape(-1, *after))
