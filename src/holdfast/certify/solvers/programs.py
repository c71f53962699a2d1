"""The linear or mixed-integer programme of one image: rows of a specification over a threat.

    minimise  <cost, v> + constant   subject to   b <= A v <= d,   l <= v <= u

Every input that the threat accepts is a feasible point v whose objective is the value of the row,
over the real numbers: equalities have as much room as their coefficients may have been rounded by,
and lines are rounded outwards. The optimum is therefore a lower bound.

The programme is built from the output down. A row is pulled back until it meets open units; each of
those becomes a column, tied by lines or choices (`relations.py`) to columns of what it reads, which
become rows to be pulled back in turn. What no row reaches never enters: units that are off, and all
that only they read. Units that are on are substituted, or with `equalities` get a column and a
sparse row each.

Source: Wong 2020, sec 3.1.1 (Eq. 3.5); Ehlers 2017 (Planet); Tjeng et al. 2019, arXiv 1711.07356.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from holdfast.certify.operators.ops import Joint, LinearMap, Node, OrderStatistic
from holdfast.certify.rounding import Box
from holdfast.certify.solvers.expressions import Expressions, Picture, Triplets, places, reaches
from holdfast.certify.solvers.relations import Block, between_lines, by_choice, by_pieces, largest

if TYPE_CHECKING:
    from scipy.sparse import csr_array

_PIECE = 2**22


@dataclass(frozen=True, eq=False)
class Program:
    """One programme, or several that differ in the objective only.

    Args:
        matrix: the rows, (m, n).
        rows: (m,) lower and upper ends of the rows.
        columns: (n,) lower and upper ends of the columns.
        integral: (n,) bool, the binaries.
        numbers: (n,) which number of the graph each column stands for, rising; the inputs first.
        costs: objectives, (R, n).
        constants: (R,) what is to be added to each, rounding subtracted.
    """

    matrix: "csr_array"
    rows: Box
    columns: Box
    integral: Tensor
    numbers: Tensor
    costs: "csr_array"
    constants: Tensor

    def input_of(self, point: Tensor, otherwise: Tensor) -> Tensor:
        """The input (*E) at a point (n,); numbers that are no columns as they are elsewhere."""
        found = otherwise.flatten().clone()
        mine = self.numbers < len(found)
        found[self.numbers[mine]] = point[mine].to(found)
        return found.view_as(otherwise)

    def unit_cost(self, number: int) -> Tensor:
        """The objective (n,) that is the column of one number of the graph."""
        cost = torch.zeros(len(self.numbers), dtype=torch.float64)
        cost[int(torch.searchsorted(self.numbers, number))] = 1.0
        return cost


@dataclass(frozen=True, eq=False)
class Octahedron:
    """The set of inputs {x' : ||x' - x||_1 <= radius}, beside their box."""

    x: Tensor
    radius: float


def program_of(
    picture: Picture,
    rows: Tensor,
    *,
    exact: bool = False,
    within: Octahedron | None = None,
    kept: Mapping[int, Tensor] | None = None,
) -> Program:
    """The programme of rows (R, K) over the output of a graph, around one image.

    Args:
        exact: binaries for the open units, instead of their relaxation.
        within: a set that the inputs lie in, beside their box.
        kept: by place, (*shape) bool: units whose boxes say more than the graph implies, as after a
            split; they get columns.

    Raises:
        CaptureError: `exact`, and an operation that is not piecewise linear.
    """
    with torch.no_grad():
        return _Builder(picture, exact).build(rows, within, kept or {})


class _Builder:
    """The rows and columns that have been found so far."""

    def __init__(self, picture: Picture, exact: bool):
        self.picture, self.exact = picture, exact
        self.total = picture.start[-1]
        self.wanted = torch.zeros(self.total, dtype=torch.bool)
        nothing = torch.zeros(0, dtype=torch.float64)
        self.entries = [Triplets(nothing.long(), nothing.long(), nothing)]
        self.ends = [Box(nothing, nothing)]
        self.count = 0
        self.extra: list[Box] = []
        self.binary: list[Tensor] = []
        self.next = self.total

    def build(self, rows: Tensor, within: Octahedron | None, kept: Mapping[int, Tensor]) -> Program:
        """The programme."""
        nodes, start = self.picture.graph.nodes, self.picture.start
        cost = self.picture.expressions(rows, len(nodes) - 1)
        self.wanted[cost.entries.column] = True
        for place, units in kept.items():
            self.wanted[start[place] : start[place + 1]] |= units.flatten()
        for node in nodes[:0:-1]:
            unit = self._units(node.place)
            opened = torch.zeros_like(unit, dtype=torch.bool)
            if node.place in self.picture.open:
                opened = self.picture.open[node.place].flatten()[unit]
            self._tie(node, unit[opened])
            self._define(node, unit[~opened])
        if within is not None:
            self._surround(within)
        return self._finished(cost)

    def _units(self, place: int) -> Tensor:
        """The units of a node that are to be columns."""
        start = self.picture.start
        return self.wanted[start[place] : start[place + 1]].nonzero().squeeze(1)

    def _define(self, node: Node, unit: Tensor) -> None:
        """Equalities: units of a node as sums of columns."""
        shapes = (each.shape for each in self.picture.graph.nodes[: node.place + 1])
        step = max(1, _PIECE // max(map(math.prod, shapes)))
        for part in torch.split(unit, step) if len(unit) else ():
            rows = torch.zeros(len(part), math.prod(node.shape), dtype=torch.float64)
            index = torch.arange(len(part))
            rows[index, part] = 1.0
            found = self.picture.expressions(rows.view(-1, *node.shape), node.place)
            row, column, value = found.entries
            self.wanted[column] = True
            row, value = torch.cat([row, index]), torch.cat([-value, torch.ones(len(part))])
            column = torch.cat([column, part + self.picture.start[node.place]])
            ends = Box(found.constant - found.slack, found.constant + found.slack)
            self._add(Triplets(row, column, value), ends)

    def _tie(self, node: Node, unit: Tensor) -> None:
        """Open units of a node and what they read."""
        if not len(unit) or isinstance(node.op, LinearMap | Joint):
            return
        y = unit + self.picture.start[node.place]
        tied = self._order if isinstance(node.op, OrderStatistic) else self._scalar
        for block in tied(node, unit, y):
            self.wanted[block.columns[(block.columns >= 0) & (block.columns < self.total)]] = True
            self._add(*_entries(block))

    def _scalar(self, node: Node, unit: Tensor, y: Tensor) -> list[Block]:
        read, boxes = node.inputs[0], self.picture.boxes
        box, own = (
            Box(*(end.flatten()[unit] for end in boxes[place])) for place in (read, node.place)
        )
        z = unit + self.picture.start[read]
        if self.exact:
            return by_pieces(node.op, box, own, y, z, self._fresh)
        return between_lines(node.op, box, own, y, z)

    def _order(self, node: Node, unit: Tensor, y: Tensor) -> list[Block]:
        op, picture = node.op, self.picture
        assert isinstance(op, OrderStatistic)
        boxes = [picture.boxes[index] for index in node.inputs]
        lows, highs = (end.flatten(2)[0, :, unit].T for end in reaches(op, boxes))
        joined = torch.cat([torch.arange(*picture.start[q : q + 2]) for q in node.inputs])
        table = places(op, [box.lower.shape for box in boxes]).flatten(2)[0]
        index = table.expand(-1, math.prod(node.shape))[:, unit].T
        kept = (highs > lows.amax(1, keepdim=True)) | _sure(lows)
        x = torch.where(kept & (index >= 0), joined[index.clamp_min(0)], -1)
        blocks = by_choice(lows, highs, y, x, self._fresh) if self.exact else []
        blocks = blocks or largest(lows, highs, y, x)
        return [block.mirrored(self.total) if op.least else block for block in blocks]

    def _fresh(self, count: int) -> Tensor:
        """New columns of binaries."""
        zero = torch.zeros(count, dtype=torch.float64)
        return self._columns(Box(zero, zero + 1), binary=True)

    def _columns(self, box: Box, *, binary: bool = False) -> Tensor:
        first, self.next = self.next, self.next + len(box.lower)
        self.extra.append(box)
        self.binary.append(torch.full_like(box.lower, binary, dtype=torch.bool))
        return torch.arange(first, self.next)

    def _surround(self, within: Octahedron) -> None:
        """Changes up and down whose sum is limited: x' = x + up - down."""
        unit = self._units(0)
        zero = torch.zeros(len(unit), dtype=torch.float64)
        up, down = (self._columns(Box(zero, zero + within.radius)) for _ in range(2))
        x = within.x.flatten()[unit]
        each = [
            torch.stack([unit, up, down], 1),
            zero.new_tensor([1.0, -1.0, 1.0]).expand(len(x), 3),
        ]
        self._add(*_entries(Block(each[0], each[1], x, x)))
        most = zero.new_full((1,), within.radius)
        together = torch.cat([up, down]).unsqueeze(0)
        self._add(*_entries(Block(together, torch.ones_like(together).double(), -most, most)))

    def _add(self, entries: Triplets, ends: Box) -> None:
        """Rows, their entries numbered from zero."""
        self.entries.append(entries._replace(row=entries.row + self.count))
        self.ends.append(ends)
        self.count += len(ends.lower)

    def _finished(self, cost: Expressions) -> Program:
        from scipy.sparse import csr_array

        entries = Triplets(*(torch.cat(each) for each in zip(*self.entries, strict=True)))
        numbers = torch.unique(torch.cat([entries.column, cost.entries.column]))
        boxes = [*(_flat(box) for box in self.picture.boxes), *self.extra]
        lower, upper = (torch.cat(each)[numbers] for each in zip(*boxes, strict=True))
        integral = torch.cat([torch.zeros(self.total, dtype=torch.bool), *self.binary])[numbers]

        def matrix(found: Triplets, height: int) -> "csr_array":
            column = torch.searchsorted(numbers, found.column)
            shape = height, len(numbers)
            return csr_array((found.value.numpy(), (found.row.numpy(), column.numpy())), shape)

        rows = Box(*(torch.cat(each) for each in zip(*self.ends, strict=True)))
        return Program(
            matrix(entries, self.count),
            rows,
            Box(lower, upper),
            integral,
            numbers,
            matrix(cost.entries, len(cost.constant)),
            cost.constant - cost.slack,
        )


def _flat(box: Box) -> Box:
    return Box(box.lower.flatten(), box.upper.flatten())


def _sure(lows: Tensor) -> Tensor:
    """The first of the largest of each row, as a mask."""
    return torch.zeros_like(lows, dtype=torch.bool).scatter(1, lows.argmax(1, keepdim=True), True)


def _entries(block: Block) -> tuple[Triplets, Box]:
    """The entries of a block of rows, and their ends."""
    row, term = ((block.columns >= 0) & (block.values != 0)).nonzero().unbind(1)
    entries = Triplets(row, block.columns[row, term], block.values[row, term])
    return entries, Box(block.lower, block.upper)
