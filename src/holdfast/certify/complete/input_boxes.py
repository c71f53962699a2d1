"""Bounds of many small boxes of inputs at a time, on a condensed network.

Each box has intervals of its own for the open units, narrowed, where a unit's lines still differ,
by a pull of that unit below and above through the lines that the box has so far: CROWN for every
layer, as a few products with matrices that all boxes share. A list holds only the pairs of a box
and a unit that is open in it.

Source: Zhang et al. 2018, arXiv 1811.00866; Wang et al. 2018, arXiv 1804.10829 (boxes of inputs).
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from holdfast.certify.complete.condensed import AffineForms, Block, Condensed
from holdfast.certify.complete.pulling import Pulled, Table, pull
from holdfast.certify.operators.constants import Constants, Values
from holdfast.certify.operators.relaxation import lines_of, undecided
from holdfast.certify.rounding import Box, radius

_NOTHING = Values(Constants(nn.Identity(), ()), torch.float64, torch.device("cpu"))


class InputBoxes:
    """N boxes of inputs, and what is known of the open units in each.

    Args:
        program: the network around a set that holds them all.
        box: ends (N, n).
        known: (N, Z) what larger boxes have shown of all that units read; None where nothing has.
        memory: bytes for the coefficients of a piece of a list.
    """

    def __init__(self, program: Condensed, box: Box, known: Box | None = None, memory: int = 2**22):
        self.program, self.box, self.memory = program, box, memory
        self.lines: list[Table] = []
        self.values = box
        self.open = 0
        reads: list[Box] = []
        for block in program.blocks:
            z = self._read(block, _narrowed(block.box, known, sum(len(r.lower[0]) for r in reads)))
            reads.append(z)
            self.lines.append(_table(block, z))
            own = _image(block, z, self.lines[-1], rigorous=program.rigorous)
            joined = (torch.cat(ends, dim=1) for ends in zip(self.values, own, strict=True))
            self.values = Box(*joined)
        nothing = box.lower.new_zeros(len(box.lower), 0)
        self.known = Box(
            *(torch.cat([nothing, *(each[end] for each in reads)], 1) for end in (0, 1))
        )

    def _read(self, block: Block, known: Box) -> Box:
        """The box (N, Z) of what the units of a block read, within one that holds it."""
        lower, upper = self._interval(block.reads)
        lower, upper = torch.maximum(lower, known.lower), torch.minimum(upper, known.upper)
        if not self.open or block.op is None:
            self.open += len(block.unit)
            return Box(lower, upper)
        self.open += len(block.unit)
        number, unit = undecided(block.op, Box(lower, upper)).nonzero().unbind(1)
        for part in self._pieces(len(number)):
            i, u = number[part], unit[part]
            low, high = self.pulled(block.reads[u], i, (1, -1))
            lower[i, u] = torch.fmax(lower[i, u], low.lower)
            upper[i, u] = torch.fmin(upper[i, u], -high.lower)
        return Box(lower, upper)

    def _interval(self, forms: AffineForms) -> Box:
        """The box (N, Z) of forms, from those of the columns that they see."""
        center = (self.values.lower + self.values.upper) / 2
        spread = torch.maximum(self.values.upper - center, center - self.values.lower)
        middle, around = forms.of(center), forms.error.expand(len(center), -1)
        for part in forms.sources:
            around = torch.addmm(around, spread[:, part], forms.rows[:, part].abs().T)
        if self.program.rigorous:
            around = around + radius(self.program.terms, around.new_full((), forms.size))
        return Box(middle - around, middle + around)

    def _pieces(self, count: int) -> Iterator[slice]:
        rows = self.program.outputs.rows
        step = max(1, self.memory // (rows.element_size() * rows.shape[1]))
        yield from (slice(start, start + step) for start in range(0, count, step))

    def pulled(
        self, forms: AffineForms, number: Tensor, signs: Sequence[int] = (1,)
    ) -> list[Pulled]:
        """AffineForms (M, columns so far), each pulled back to its own box, once for each sign.

        Args:
            number: (M,) of the box.
            signs: -1 negates the forms.
        """
        lines = [table.selected(number) for table in self.lines]
        low, high = (end.index_select(0, number) for end in self.box)

        def least(first: Tensor) -> Tensor:
            return (first.clamp_min(0) * low + first.clamp_max(0) * high).sum(1)

        return [
            pull(self.program, sign * forms.rows, sign * forms.offset, forms.error, lines, least)
            for sign in signs
        ]

    def above(self, number: Tensor, row: Tensor) -> Tensor:
        """The slopes (M, n) of the forms above one output of each of some boxes."""
        (found,) = self.pulled(self.program.outputs[row], number, (-1,))
        return found.columns[:, : self.program.inputs]

    def outputs(self) -> tuple[Tensor, Tensor]:
        """Lower bounds (N, R) of all outputs, and the slopes (N, R, n) of the forms below them."""
        forms, count = self.program.outputs, len(self.box.lower)
        number = torch.arange(count, device=forms.rows.device).repeat_interleave(len(forms.rows))
        row = torch.arange(len(forms.rows), device=number.device).repeat(count)
        found = [
            self.pulled(forms[row[part]], number[part])[0] for part in self._pieces(len(number))
        ]
        lower = torch.cat([each.lower for each in found])
        slopes = torch.cat([each.columns[:, : self.program.inputs] for each in found])
        return lower.view(count, -1), slopes.view(count, len(forms.rows), -1)


def _narrowed(box: Box, known: Box | None, start: int) -> Box:
    """The part of known boxes (N, Z) that belongs to a block, from a column on, or its own (Z,)."""
    if known is None:
        return box
    columns = slice(start, start + len(box.lower))
    return Box(*(end[:, columns] for end in known))


def _table(block: Block, z: Box) -> Table:
    """The lines of a block in each box."""
    if block.op is None:
        low, below, high, above = (each.expand(len(z.lower), -1) for each in block.lines)
        return Table(low, high, below, above)
    lines = lines_of(block.op, z)
    bent = block.left is not None
    intercept = None if bent else lines.lower_intercept
    return Table(lines.lower_slope, lines.upper_slope, intercept, lines.upper_intercept)


def _image(block: Block, z: Box, table: Table, *, rigorous: bool) -> Box:
    """The box (N, U) of the units of a block."""
    if block.op is not None:
        return block.op.interval([z], _NOTHING, rigorous=rigorous)
    count = len(block.unit)
    low, high = Box(*(end[:, :count] for end in z)), Box(*(end[:, count:] for end in z))
    assert table.below is not None
    least = table.low * low.lower + table.below
    most = table.high * high.upper + table.above
    if not rigorous:
        return Box(least, most)
    size = (table.low * low.magnitude).abs() + table.below.abs()
    other = (table.high * high.magnitude).abs() + table.above.abs()
    return Box(least - radius(2, size), most + radius(2, other))
