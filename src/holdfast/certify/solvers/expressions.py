"""Rows over a node as sums of chosen units of the graph: the equalities of a linear programme.

A programme has a column for some of the numbers in a graph: inputs, the outputs of units that are
open, and what those read. A row over a node is pulled back (as in `backward.py`) until it meets
them; what lies between is linear, or a nonlinear unit that its box decides, and is substituted:

    <c, z>  =  sum_j a_j v_j + b,    v_j the column of a unit

A number is known by the place of its node and its position in it, counted through the graph:
`Columns.start[place] + unit`; inputs come first.

Rounding: the computed coefficients stand for themselves. What the pull through a node may be off is
at most gamma_n <|c|, T>, with T the sum of absolute terms of its value over the boxes, as in
`backward.py`; the radius of their sum is returned, so that an equality can be given that much room.

Source: Tjeng et al. 2019, arXiv 1711.07356 (stable units are linear); Wong 2020, sec 3.1.1.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor

from holdfast.certify.graphs.graph import Graph
from holdfast.certify.operators.constants import Values
from holdfast.certify.operators.ops import Joint, LinearMap, Node, OrderStatistic, Scalar
from holdfast.certify.operators.relaxation import Lines, scattered
from holdfast.certify.operators.structural import Concatenate
from holdfast.certify.rounding import FLOOR, Box, radius


class Triplets(NamedTuple):
    """Entries of a sparse matrix: the row, the column and the value of each, (n,)."""

    row: Tensor
    column: Tensor
    value: Tensor


class Expressions(NamedTuple):
    """Rows as sums of columns: entries, constants (N,), and how far rounding may move them (N,)."""

    entries: Triplets
    constant: Tensor
    slack: Tensor


@dataclass(frozen=True, eq=False)
class Picture:
    """What the units of a graph do around one image.

    Args:
        values: the constants of the graph, float64.
        boxes: by place, (1, *shape).
        open: by place of nonlinear nodes, (1, *shape): the units that their boxes do not decide.
        stops: the same, with other units that get a column; pulls end there.
        lines: by place of scalar nodes, exact where a unit is not open.
        chosen: by place of order statistics, (1, *shape): the input that a decided unit equals,
            among the numbers of all inputs, flattened and joined.
        start: by place, the number of its first unit; the last entry is the count of all.
    """

    graph: Graph
    values: Values
    boxes: Sequence[Box]
    open: Mapping[int, Tensor]
    stops: Mapping[int, Tensor]
    lines: Mapping[int, Lines]
    chosen: Mapping[int, Tensor]
    start: Sequence[int]

    @classmethod
    def of(
        cls, graph: Graph, values: Values, boxes: Sequence[Box], *, equalities: bool
    ) -> "Picture":
        """The picture of one image.

        Args:
            boxes: by place, (1, *shape), float64.
            equalities: whether units that are on get a column, too.
        """
        open_, stops, lines, chosen = {}, {}, {}, {}
        for node in graph.nodes[1:]:
            if isinstance(node.op, LinearMap | Joint):
                continue
            place, inputs = node.place, [boxes[index] for index in node.inputs]
            if isinstance(node.op, OrderStatistic):
                kept, chosen[place] = rivals(node.op, inputs)
                open_[place] = kept.sum(1) > 1
            else:
                open_[place], lines[place] = _scalar(node, inputs)
            stops[place] = open_[place]
            if equalities and place in lines:
                stops[place] = stops[place] | (lines[place].upper_slope != 0)
        sizes = (math.prod(node.shape) for node in graph.nodes)
        start = list(accumulate(sizes, initial=0))
        return cls(graph, values, boxes, open_, stops, lines, chosen, start)

    def expressions(self, rows: Tensor, place: int) -> Expressions:
        """Rows (N, *shape) over the value of a node as sums of columns.

        Units of the node itself are columns only where they are open.
        """
        return _Pull(self, rows, place).run()


def rivals(op: OrderStatistic, boxes: Sequence[Box]) -> tuple[Tensor, Tensor]:
    """Which inputs an order statistic may equal.

    Returns:
        (1, k, *out) bool: the candidates whose range reaches beyond the surest one's lower end; and
        (1, *out), the place of the surest one among all inputs, flattened and joined.
    """
    lows, highs = reaches(op, boxes)
    least, sure = lows.max(1, keepdim=True)
    kept = (highs > least).scatter(1, sure, True)
    place = places(op, [box.lower.shape for box in boxes])
    return kept, place.expand_as(lows).gather(1, sure).squeeze(1)


def reaches(op: OrderStatistic, boxes: Sequence[Box]) -> tuple[Tensor, Tensor]:
    """The ranges of the candidates, (1, k, *out), mirrored for a minimum; -inf for padding."""
    ends = ([box.lower for box in boxes], [box.upper for box in boxes])
    if op.least:
        ends = [-box.upper for box in boxes], [-box.lower for box in boxes]
    lows, highs = (op.candidates(each, -torch.inf) for each in ends)
    return lows, highs


def places(op: OrderStatistic, shapes: Sequence[Sequence[int]]) -> Tensor:
    """The places (1, k, *out) of the candidates among all inputs, joined; -1 for padding."""
    starts = accumulate((math.prod(shape[1:]) for shape in shapes), initial=0)
    tables = [
        torch.arange(start, start + math.prod(shape[1:]), dtype=torch.float64).view(1, *shape[1:])
        for start, shape in zip(starts, shapes, strict=False)
    ]
    return op.candidates(tables, -1.0).long()


def _scalar(node: Node, inputs: Sequence[Box]) -> tuple[Tensor, Lines]:
    """The open units of a scalar node, and its lines."""
    if not isinstance(node.op, Scalar):
        zero = inputs[0].lower.new_zeros(1, *node.shape)
        return ~zero.bool(), Lines(zero, zero, zero, zero)
    lines = node.op.lines(inputs[0])
    same = lines.lower_slope == lines.upper_slope
    same &= lines.lower_intercept == lines.upper_intercept
    return node.op.undecided(inputs[0]) | ~same, lines


class _Pull:
    """One pull: what has been collected, and the absolute terms of it."""

    def __init__(self, picture: Picture, rows: Tensor, place: int):
        self.picture, self.first = picture, place
        self.pending: dict[int, Tensor] = {place: rows}
        nothing = rows.new_zeros(0)
        self.entries = [Triplets(nothing.long(), nothing.long(), nothing)]
        self.constant = rows.new_zeros(len(rows))
        self.total = rows.new_full((len(rows),), FLOOR)
        self.terms = 2 * len(picture.graph.nodes)

    def run(self) -> Expressions:
        nodes = self.picture.graph.nodes
        for node in nodes[self.first : 0 : -1]:
            if node.place in self.pending:
                self._pass(node, self.pending.pop(node.place))
        if 0 in self.pending:
            self._collect(self.pending[0], 0)
        entries = Triplets(*(torch.cat(each) for each in zip(*self.entries, strict=True)))
        return Expressions(entries, self.constant, radius(self.terms, self.total))

    def _pass(self, node: Node, rows: Tensor) -> None:
        op, picture = node.op, self.picture
        shapes = [picture.graph.nodes[index].shape for index in node.inputs]
        if isinstance(op, LinearMap):
            offset = op.offset(picture.values)
            if offset is not None:
                self.constant = self.constant + _inner(rows, offset.expand(1, *node.shape))
            self._count(rows, node)
            self._hand(node.inputs[0], op.pull(rows, picture.values, shapes[0]))
        elif isinstance(op, Joint):
            if not isinstance(op, Concatenate):
                self._count(rows, node)
            for index, part in zip(node.inputs, op.pulls(rows, shapes), strict=True):
                self._hand(index, part)
        else:
            self._nonlinear(rows, node, shapes)

    def _nonlinear(self, rows: Tensor, node: Node, shapes: Sequence[tuple[int, ...]]) -> None:
        picture, place = self.picture, node.place
        stops = (picture.open if place == self.first else picture.stops)[place]
        self._collect(torch.where(stops, rows, 0.0), place)
        rows = torch.where(stops, 0.0, rows)
        if place in picture.lines:
            _, _, slope, intercept = (
                torch.where(stops, 0.0, each) for each in picture.lines[place]
            )
            self.constant = self.constant + _inner(rows, intercept)
            magnitude = picture.boxes[node.inputs[0]].magnitude
            self.total = self.total + _inner(rows.abs(), slope.abs() * magnitude + intercept.abs())
            self._hand(node.inputs[0], rows * slope)
            return
        if place not in picture.chosen:
            return
        sizes = [math.prod(shape) for shape in shapes]
        flat = scattered(rows, picture.chosen[place].expand(len(rows), *node.shape), sum(sizes))
        parts = torch.split(flat, sizes, dim=1)
        for index, shape, part in zip(node.inputs, shapes, parts, strict=True):
            self._hand(index, part.reshape(-1, *shape))

    def _collect(self, rows: Tensor, place: int) -> None:
        """Moves coefficients over a node's units into their columns."""
        flat = rows.flatten(1)
        row, unit = flat.nonzero().unbind(1)
        column = unit + self.picture.start[place]
        self.entries.append(Triplets(row, column, flat[row, unit]))
        self.total = self.total + _inner(rows.abs(), self.picture.boxes[place].magnitude)

    def _hand(self, place: int, rows: Tensor) -> None:
        """Rows to a node, beside what other paths have brought there."""
        other = self.pending.get(place)
        self.pending[place] = rows if other is None else other + rows

    def _count(self, rows: Tensor, node: Node) -> None:
        """What rounding may move here."""
        picture, op = self.picture, node.op
        magnitudes = [picture.boxes[index].magnitude for index in node.inputs]
        own = 2
        if isinstance(op, LinearMap):
            size, own = op.size(magnitudes[0], picture.values), op.terms(picture.values)
        else:
            size = magnitudes[0] + magnitudes[1]
        self.total = self.total + _inner(rows.abs(), size)
        inputs = (math.prod(picture.graph.nodes[index].shape) for index in node.inputs)
        self.terms = max(self.terms, math.prod(node.shape) + own + max(inputs) + 64)


def _inner(rows: Tensor, table: Tensor) -> Tensor:
    """The sums over each row's coefficients (N, *shape) times a table (1, *shape), (N,)."""
    return rows.flatten(1) @ table.flatten()
