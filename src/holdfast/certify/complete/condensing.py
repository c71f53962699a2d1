"""How a network is condensed: each open unit pulled back to the open units before it.

One walk over the graph finds at each nonlinear node the units whose two lines differ over the whole
set. What such a node reads there is pulled back, as in `backward.py`, but coefficients that reach
an open unit stay with it; all other units have one exact line. A maximum is read twice, by its
lower and by its upper line; a node that has no lines at all is held by its box.

Rounding: at each node at most gamma_n ||c||_2 ||T||_2 may move, with c the coefficients there and T
the sums of absolute terms of its value over the boxes.

Source: Wong 2020, sec 3.1.2 and 3.4 (the pull through any graph).
"""

import math
from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor

from holdfast.certify.complete.condensed import AffineForms, Block, Condensed
from holdfast.certify.operators.activations import LeakyReLU
from holdfast.certify.operators.ops import Joint, LinearMap, Node, Op, OrderStatistic, Scalar
from holdfast.certify.operators.relaxation import Lines, scattered, selection_of
from holdfast.certify.operators.structural import Add, ReLU, Subtract
from holdfast.certify.rounding import FLOOR, Box, radius
from holdfast.certify.substitution.regions import Around
from holdfast.certify.substitution.rows import Dense
from holdfast.certify.substitution.schedule import Known

Narrow = Callable[[Condensed], Box]


def condense(
    known: Known, region: Around, rows: Tensor, *, narrow: Narrow | None = None, memory: int = 2**27
) -> Condensed:
    """The network around one input set, seen by rows of its outputs.

    Args:
        known: boxes of all nodes of a batch of one; those that `narrow` finds are put in place.
        region: the set.
        rows: (R, K) over the outputs.
        narrow: finds a tighter box (Z,) of what the open units of a node read, from the program
            whose outputs are these forms.
        memory: bytes for the coefficients of a piece of the rows on their way.

    Guarantee: with `rigorous` boxes, every input of the set satisfies the inequalities of
        `condensed.py`, for the network over the real numbers.
    Cost: a pull of one row for each open unit and each row, and what `narrow` costs.
    """
    walk = _Pull(known, region, memory)
    nodes = known.adaptive.graph.nodes
    for node in nodes[1:]:
        if not isinstance(node.op, LinearMap | Joint):
            walk.open(node, narrow)
    return walk.program(walk.forms({nodes[-1].place: rows.reshape(-1, *nodes[-1].shape)}))


class _Pull:
    """Rows over nodes as rows over the inputs and the open units found so far."""

    def __init__(self, known: Known, region: Around, memory: int):
        self.known, self.region, self.memory = known, region, memory
        self.graph, self.values = known.adaptive.graph, known.adaptive.values
        self.rigorous = known.adaptive.rigorous
        self.blocks: dict[int, Block] = {}
        self.exact: dict[int, tuple[Tensor, Tensor, Tensor]] = {}
        self.magnitude = known.boxes[0].magnitude.flatten()
        self.widest = max(math.prod(node.shape) for node in self.graph.nodes)

    def program(self, outputs: AffineForms) -> Condensed:
        """AffineForms of the columns so far as the outputs of a program."""
        blocks = tuple(self.blocks.values())
        return Condensed(self.graph.input_shape, self.region, blocks, outputs, self.rigorous)

    def open(self, node: Node, narrow: Narrow | None) -> None:
        """Adds the open units of a nonlinear node."""
        lines, reads = _lines(self.known, node)
        unit = _apart(lines)
        forms = self.forms(self._single(node, [each[unit] for each in reads]))
        scalar = len(reads) == 1
        if narrow and scalar and len(unit) and self._free():
            self._put(node, unit, narrow(self.program(forms)))
            lines, reads = _lines(self.known, node)
            left = _apart(lines)
            forms, unit = forms[torch.isin(unit, left)], left
        apart = torch.zeros_like(lines.upper_slope, dtype=torch.bool)
        apart[unit] = True
        slope, intercept = lines.upper_slope, lines.upper_intercept
        self.exact[node.place] = slope * ~apart, intercept.where(~apart, 0.0), reads[0]
        joined = [torch.cat([box[end].flatten() for box in self._boxes(node)]) for end in (0, 1)]
        box = Box(*(torch.cat([end[each[unit]] for each in reads]) for end in joined))
        mine = Lines(*(each[unit] for each in lines))
        op, start = node.op if scalar else None, len(self.magnitude)
        self.blocks[node.place] = Block(op, unit, start, forms, mine, box, _left(node.op))
        own = self.known.boxes[node.place].magnitude.flatten()[unit]
        self.magnitude = torch.cat((self.magnitude, own))

    def _free(self) -> bool:
        """Whether there are slopes to be optimised."""
        blocks = self.blocks.values()
        return any(len(block.unit) > 0 and block.left is not None for block in blocks)

    def _put(self, node: Node, unit: Tensor, box: Box) -> None:
        """Narrows the box of the node that is read."""
        place = node.inputs[0]
        lower, upper = (end.flatten().clone() for end in self.known.boxes[place])
        lower[unit] = torch.fmax(lower[unit], box.lower)
        upper[unit] = torch.fmin(upper[unit], box.upper)
        shape = self.known.boxes[place].lower.shape
        self.known.boxes[place] = Box(lower.view(shape), upper.view(shape))

    def _boxes(self, node: Node) -> list[Box]:
        return [self.known.boxes[index] for index in node.inputs]

    def _single(self, node: Node, reads: list[Tensor]) -> dict[int, Tensor]:
        """Rows that are single numbers of what a node reads."""
        place = torch.cat(reads)
        shapes = [self.graph.nodes[index].shape for index in node.inputs]
        size = sum(math.prod(shape) for shape in shapes)
        ones = self.magnitude.new_zeros(len(place), size).scatter(1, place.unsqueeze(1), 1.0)
        found: dict[int, Tensor] = {}
        for index, part in self._cut(node, ones):
            found[index] = found[index] + part if index in found else part
        return found

    def _cut(self, node: Node, flat: Tensor) -> Iterator[tuple[int, Tensor]]:
        """Flat rows over all that a node reads as rows over each input."""
        shapes = [self.graph.nodes[index].shape for index in node.inputs]
        parts = torch.split(flat, [math.prod(shape) for shape in shapes], dim=1)
        for index, shape, part in zip(node.inputs, shapes, parts, strict=True):
            yield index, part.reshape(-1, *shape)

    def forms(self, pending: Mapping[int, Tensor]) -> AffineForms:
        """Rows over nodes as forms of the columns so far."""
        count = len(next(iter(pending.values())))
        step = max(1, self.memory // (8 * self.magnitude.element_size() * self.widest))
        pieces = [
            self._pulled({place: rows[start : start + step] for place, rows in pending.items()})
            for start in range(0, max(count, 1), step)
        ]
        rows, offset, error = (torch.cat(each) for each in zip(*pieces, strict=True))
        terms = rows.abs() @ self.magnitude + offset.abs()
        size = float(torch.linalg.vector_norm(terms))
        return AffineForms(rows, offset, error, size, self._sources(rows))

    def _sources(self, rows: Tensor) -> tuple[slice, ...]:
        inputs = slice(0, math.prod(self.graph.input_shape))
        found: list[slice] = []
        for part in (inputs, *(block.columns for block in self.blocks.values())):
            if not bool((rows[:, part] != 0).any()):
                continue
            if found and found[-1].stop == part.start:
                found[-1] = slice(found[-1].start, part.stop)
            else:
                found.append(part)
        return tuple(found)

    def _pulled(self, pending: dict[int, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Coefficients (N, columns), offsets (N,) and errors (N,)."""
        count = len(next(iter(pending.values())))
        columns = self.magnitude.new_zeros(count, len(self.magnitude))
        offset, total = columns.new_zeros(count), columns.new_full((count,), FLOOR)
        for node in self.graph.nodes[max(pending) : 0 : -1]:
            if node.place not in pending:
                continue
            rows = pending.pop(node.place)
            total = total + self._moved(node, rows)
            if node.place in self.blocks:
                block = self.blocks[node.place]
                columns[:, block.columns] += rows.flatten(1)[:, block.unit]
                offset = offset + rows.flatten(1) @ self.exact[node.place][1]
            elif isinstance(node.op, LinearMap):
                constant = node.op.offset(self.values)
                if constant is not None:
                    offset = offset + rows.flatten(1) @ constant.expand(node.shape).flatten()
            for index, part in self._back(node, rows):
                pending[index] = pending[index] + part if index in pending else part
        if 0 in pending:
            first = pending[0].flatten(1)
            columns[:, : first.shape[1]] += first
        error = radius(2 * self.widest + 64, total)
        return columns, offset, error if self.rigorous else torch.zeros_like(error)

    def _back(self, node: Node, rows: Tensor) -> Iterator[tuple[int, Tensor]]:
        """The rows over what a node reads, its open units left out."""
        shapes = [self.graph.nodes[index].shape for index in node.inputs]
        if node.place in self.blocks:
            slope, _, read = self.exact[node.place]
            scaled = rows.flatten(1) * slope
            size = sum(math.prod(shape) for shape in shapes)
            yield from self._cut(node, scattered(scaled, read.expand_as(scaled), size))
        elif isinstance(node.op, LinearMap):
            yield node.inputs[0], Dense(rows).pulled(node, shapes[0], self.values).dense().values
        elif isinstance(node.op, Joint):
            yield from zip(node.inputs, node.op.pulls(rows, shapes), strict=True)

    def _moved(self, node: Node, rows: Tensor) -> Tensor:
        """The absolute terms that rounding may move here."""
        magnitudes = [box.magnitude for box in self._boxes(node)]
        if isinstance(node.op, LinearMap):
            terms = node.op.size(magnitudes[0], self.values)
        elif isinstance(node.op, Add | Subtract):
            terms = magnitudes[0] + magnitudes[1]
        else:
            own = self.known.boxes[node.place].magnitude
            terms = torch.cat([each.flatten() for each in (own, *magnitudes)])
        length = torch.linalg.vector_norm(rows.flatten(1), dim=1)
        return (length + FLOOR) * (torch.linalg.vector_norm(terms) + FLOOR)


def _lines(known: Known, node: Node) -> tuple[Lines, list[Tensor]]:
    """The lines of all units, flat, and which of the numbers that the node reads they are in."""
    boxes = [known.boxes[index] for index in node.inputs]
    place = torch.arange(math.prod(node.shape), device=boxes[0].lower.device)
    if isinstance(node.op, OrderStatistic):
        chosen = selection_of(node.op, boxes)
        lines = Lines(*(each.flatten() for each in chosen.lines))
        return lines, [chosen.lower_place.flatten(), chosen.upper_place.flatten()]
    if isinstance(node.op, Scalar):
        return Lines(*(each.flatten() for each in node.op.lines(boxes[0]))), [place]
    lower, upper = (end.flatten() for end in known.boxes[node.place])
    flat, first = torch.zeros_like(lower), torch.zeros_like(place)
    return Lines(flat, lower, flat, upper), [first, first]


def _apart(lines: Lines) -> Tensor:
    """The units whose lines differ; NaN counts."""
    same = lines.lower_slope == lines.upper_slope
    same = same & (lines.lower_intercept == lines.upper_intercept)
    return (~same).nonzero().squeeze(1)


def _left(op: Op) -> float | None:
    """The slope left of the bend of an operation of two pieces that bends upwards."""
    if isinstance(op, ReLU):
        return 0.0
    return op.slope if isinstance(op, LeakyReLU) and op.slope < 1 else None
