"""Backward substitution: a linear form of a node's value as a linear form of the input.

From a node back to the input, a form <c, z> of a node's value is replaced by a lower bound that is
a form of what the node reads. Linear nodes are exact: c becomes W^T c, and <c, b> is added up. A
scalar node has lines a z + a0 <= op(z) <= d z + d0 that hold where z lies (`relaxation.py`), and

    <c, op(z)>  >=  <[c]+ a + [c]- d, z> + <[c]+, a0> + <[c]-, d0>,   [c]+ = max(c, 0)

with [c]- = min(c, 0). A maximum has lines in two of its inputs. Any other node ends the form at its
box, and so does a maximum where lines have to be parallel. Where paths join, forms are added;
at the input, the threat's support function gives the smallest value. An upper bound is the negated
lower bound of -c; where the lines of every node are parallel (a = d), both share one substitution
(`both`), which halves the cost: that is the dual bound of Wong and Kolter with its fixed slopes.

Rounding (mode rigorous): the computed coefficients stand for themselves, so what rounding can move
is at each node at most gamma_n <|c|, T>, with T the sum of absolute terms of its value over the
boxes (`rounding.py`), c its coefficients, and n the number of terms. By Cauchy and Schwarz <|c|, T>
<= ||c||_2 ||T||_2, one number per row and node; the radius is taken of their sum. Lines hold as
they are stored, and boxes hold by the same argument. At a ReLU only the sum of its intercepts has
to be counted: a product with its slope is off by u |c| |z|, a part of what is counted at the linear
node that gives z.

Source: Wong 2020, sec 3.1.2 and 3.4.1 (dual, any graph); Zhang et al. 2018, arXiv 1811.00866.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from holdfast.certify.constants import Values
from holdfast.certify.graph import Graph
from holdfast.certify.ops import LinearMap, Node, OrderStatistic, center_radius
from holdfast.certify.relaxation import Lines, Selection, scattered, selection_of
from holdfast.certify.rounding import Box, radius
from holdfast.certify.rows import Dense, Memo, Rows
from holdfast.certify.structural import Add, Concatenate, Subtract
from holdfast.certify.units import Units
from holdfast.certify.windows import Window, added

_FLOOR = 2.0**-900
_SUPPORT_TERMS = 64
_SUPPORT = 4.0


class Region(Protocol):
    """The set of inputs around each image."""

    def ends(self, rows: Rows, image: Tensor, *, both: bool) -> tuple[Tensor, Tensor | None]:
        """The least value of each row over the set of its image, and the greatest if wanted."""
        ...


@dataclass(frozen=True, eq=False)
class Relaxed:
    """A graph around a batch of images, with what is known of its nodes.

    Args:
        boxes: by place, of every node before the substitution's start.
        lines: by place, of scalar nodes.
        widths: the most numbers that a row holds on its way, by place and kind.
        sizes: by place, ||T||_2 of each image, (B,); filled as they are asked for.
        selections: by place, of order statistics; filled as they are asked for.
        memo: what windows share.
    """

    graph: Graph
    values: Values
    region: Region
    boxes: Sequence[Box]
    lines: dict[int, Lines]
    rigorous: bool
    widths: dict[object, int] = field(default_factory=dict)
    sizes: dict[int, Tensor] = field(default_factory=dict)
    selections: dict[int, Selection] = field(default_factory=dict)
    memo: Memo = field(default_factory=Memo)

    def units(self, unit: Tensor, place: int) -> Units:
        """Rows of single units (N,) of a node."""
        one = torch.ones((), dtype=self.boxes[0].lower.dtype, device=unit.device)
        return Units(unit, self.graph.nodes[place].shape, one, self.memo)

    def bent(self, place: int) -> bool:
        """Whether all lower lines of a node go through zero, and none of the upper ones below it,
        as those of a ReLU."""
        lower, upper = self.lines[place].lower_intercept, self.lines[place].upper_intercept
        return bool(self.memo.crops(lower, "bent", lambda: ~(lower.any() | (upper < 0).any())))

    def selection(self, node: Node) -> Selection:
        """The lines of an order statistic."""
        if node.place not in self.selections:
            boxes = [self.boxes[index] for index in node.inputs]
            assert isinstance(node.op, OrderStatistic)
            self.selections[node.place] = selection_of(node.op, boxes)
        return self.selections[node.place]

    def size(self, node: Node) -> Tensor:
        """The norm of the sums of absolute terms that the node's value is made of, (B,)."""
        if node.place not in self.sizes:
            magnitudes = [self.boxes[index].magnitude for index in node.inputs]
            self.sizes[node.place] = torch.linalg.vector_norm(
                self._terms(node, magnitudes).flatten(1), dim=1
            )
        return self.sizes[node.place]

    def _terms(self, node: Node, inputs: list[Tensor]) -> Tensor:
        if isinstance(node.op, LinearMap):
            return node.op.size(inputs[0], self.values)
        if node.place in self.lines:
            each = self.lines[node.place]
            slope = torch.maximum(each.lower_slope.abs(), each.upper_slope.abs())
            return slope * inputs[0] + each.lower_intercept.abs() + each.upper_intercept.abs()
        if isinstance(node.op, Add | Subtract):
            return inputs[0] + inputs[1]
        if isinstance(node.op, OrderStatistic):
            low, high, lines = self.selection(node)
            joined = torch.cat([each.flatten(1) for each in inputs], dim=1)
            chosen = (joined.gather(1, each.flatten(1)).view(each.shape) for each in (low, high))
            return sum(chosen, lines.lower_intercept.abs() + lines.upper_intercept.abs())
        return self.boxes[node.place].magnitude


def lower(relaxed: Relaxed, rows: Rows, image: Tensor, place: int) -> Tensor:
    """Lower bounds (N,) of rows over the value of the node at a place.

    Args:
        image: (N,) which image of the batch each row belongs to.

    Guarantee: with `rigorous` boxes and lines, true for the real-valued network.
    Cost: one pull of N rows through the graph before the node.
    """
    return _Substitution(relaxed, image, parallel=False).run(rows, place)[0]


def both(relaxed: Relaxed, rows: Rows, image: Tensor, place: int) -> tuple[Tensor, Tensor]:
    """Lower and upper bounds (N,) by one substitution; the lines of every node are parallel."""
    low, high = _Substitution(relaxed, image, parallel=True).run(rows, place)
    assert high is not None
    return low, high


def widest(relaxed: Relaxed, rows: Rows, image: Tensor, place: int) -> int:
    """The most numbers that a row holds on its way, found by a walk with these rows."""
    walk = _Substitution(relaxed, image, parallel=True)
    walk.run(rows, place)
    return walk.widest


class _Substitution:
    """The sums of one substitution: what has been added up, and the absolute terms of it."""

    def __init__(self, relaxed: Relaxed, image: Tensor, *, parallel: bool):
        self.relaxed, self.image, self.parallel = relaxed, image, parallel
        self.low: Tensor | float = 0.0
        self.high: Tensor | float = 0.0
        self.total: Tensor | float = _FLOOR
        self.terms = _SUPPORT_TERMS + 2 * len(relaxed.graph.nodes)
        self.pending: dict[int, Rows] = {}
        self.scaled: set[int] = set()
        self.widest = 1

    def run(self, rows: Rows, place: int) -> tuple[Tensor, Tensor | None]:
        """From a place to the input."""
        nodes = self.relaxed.graph.nodes
        self.pending[place] = rows
        for node in nodes[place:0:-1]:
            if node.place in self.pending:
                self._pass(node, self.pending.pop(node.place))
        first = self.pending.pop(0, None)
        if first is not None:
            least, most = self.relaxed.region.ends(first, self.image, both=self.parallel)
            self._add(least, most)
            self._count(first, nodes[0], _SUPPORT)
        low, high = torch.as_tensor(self.low), torch.as_tensor(self.high)
        if self.relaxed.rigorous:
            slack = radius(self.terms, torch.as_tensor(self.total))
            low, high = low - slack, high + slack
        return low, high if self.parallel else None

    def _pass(self, node: Node, rows: Rows) -> None:
        """The rows over a node's value as rows over what it reads."""
        op, relaxed = node.op, self.relaxed
        shapes = [relaxed.graph.nodes[index].shape for index in node.inputs]
        if node.place in relaxed.lines:
            self._hand(node.inputs[0], self._relaxed(rows, node))
            return
        rows = rows.clean()
        self._count(rows, node)
        if isinstance(op, LinearMap):
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

    def _relaxed(self, rows: Rows, node: Node) -> Rows:
        """The rows over what a scalar node reads, by its lines."""
        c, image, lines = rows.values, self.image, self.relaxed.lines[node.place]
        bent = self.relaxed.bent(node.place)
        if not bent or node.place in self.scaled:
            self._count(rows, node)
        self.scaled.update(node.inputs)
        least, most = self._intercepts(rows, lines, bent)
        self._add(least, most)
        self.total = self.total + (most - least).detach().abs()
        high = rows.field(lines.upper_slope, image)
        if self.parallel:
            return rows.of(c * high)
        return rows.of(c * torch.where(c > 0, rows.field(lines.lower_slope, image), high))

    def _intercepts(self, rows: Rows, lines: Lines, bent: bool) -> tuple[Tensor, Tensor]:
        """The least and the greatest that the lines' intercepts add up to."""
        lower, upper, memo = lines.lower_intercept, lines.upper_intercept, self.relaxed.memo
        if bent:
            total, size = rows.weighed(upper, self.image)
        else:
            middle = memo.crops(lower, "sum", lambda: lower + upper)
            total, _ = rows.weighed(middle, self.image)
            gap = memo.crops(lower, "gap", lambda: upper - lower)
            _, size = rows.weighed(gap, self.image)
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
            value, _ = rows.weighed(table, self.image)
        self._add(value, value)

    def _add(self, least: Tensor, most: Tensor | None) -> None:
        self.low = self.low + least
        if self.parallel and most is not None:
            self.high = self.high + most

    def _hand(self, place: int, rows: Rows) -> None:
        """Rows to a node, beside what other paths have brought there."""
        other = self.pending.get(place)
        rows = rows if other is None else added(other, rows)
        self.pending[place] = rows
        self.widest = max(self.widest, rows.values[:1].numel())

    def _count(self, rows: Rows, node: Node, factor: float = 1.0) -> None:
        """What rounding may move here."""
        if not self.relaxed.rigorous:
            return
        size = self.relaxed.size(node) if node.inputs else self._input_size()
        length = torch.linalg.vector_norm(rows.values.detach().flatten(1), dim=1)
        self.total = self.total + factor * (length + _FLOOR) * (size[self.image] + _FLOOR)
        own = node.op.terms(self.relaxed.values) if isinstance(node.op, LinearMap) else 0
        inputs = (math.prod(self.relaxed.graph.nodes[index].shape) for index in node.inputs)
        self.terms = max(self.terms, math.prod(node.shape) + own + max(inputs, default=0) + 64)

    def _input_size(self) -> Tensor:
        magnitude = self.relaxed.boxes[0].magnitude.flatten(1)
        return torch.linalg.vector_norm(magnitude, dim=1)


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
