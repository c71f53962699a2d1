"""Rows over a condensed network pulled back to its inputs, and inputs pushed forward by its lines.

Block by block, coefficients c over the units become coefficients over the forms that they read,

    [c]+ low + [c]- high - s beta,      and [c]+ below + [c]- above is added,

with [c]+ = max(c, 0) and [c]- = min(c, 0), the lines of each row's own subdomain, and the
multipliers s beta of constraints s z >= 0 (zero where there are none). The push goes the other way:
v is the line that the sign of c has chosen, so that it is the gradient of the pull.

Rounding: as in `backward.py`, at each block at most gamma_n (||b||_2 + 2 ||beta||_2) ||T||_2 may
move, with b the new coefficients, and the sum of the intercepts' absolute values; the error e of a
form is carried as ||b||_2 ||e||_2.

Source: Zhang et al. 2018, arXiv 1811.00866; Wang et al. 2021, arXiv 2103.06624, Theorem 3.1.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from holdfast.certify.complete.condensed import Block, Condensed
from holdfast.certify.rounding import FLOOR

Least = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Table:
    """The lines of one block, for each of N rows.

    Args:
        low: (N, U) slope for positive coefficients.
        high: (N, U) slope for negative ones.
        below: (N, U) intercept of the lower lines, or None where they go through zero and no upper
            line lies below it.
        above: (N, U) intercept of the upper lines.
        beta: (N, U) multiplier times sign, or None.
    """

    low: Tensor
    high: Tensor
    below: Tensor | None
    above: Tensor
    beta: Tensor | None = None

    def selected(self, number: Tensor) -> "Table":
        """The lines of these rows, without multipliers."""
        parts = [self.low, self.high, self.above]
        parts += [] if self.below is None else [self.below]
        chosen = torch.stack(parts, dim=1).index_select(0, number).unbind(1)
        low, high, above, *below = chosen
        return Table(low, high, below[0] if below else None, above)


@dataclass(frozen=True, eq=False)
class Pulled:
    """Rows pulled back to the input.

    Args:
        lower: (N,) the bound.
        columns: (N, columns) the coefficients that reached the inputs and each unit.
    """

    lower: Tensor
    columns: Tensor


def pull(
    program: Condensed,
    rows: Tensor,
    offset: Tensor,
    error: Tensor,
    lines: Sequence[Table],
    least: Least | None = None,
) -> Pulled:
    """Rows over the first columns of a program, which are overwritten, pulled back to the input.

    Args:
        rows: (N, columns), up to the end of some block.
        offset: (N,).
        error: (N,) of the rows as they are.
        lines: of every block that they see.
        least: the least value of forms of the input; None takes that over the whole set.

    Guarantee: `lower` is at most the rows' value over the real numbers if the program is rigorous
        and the lines hold.
    """
    total, given = torch.full_like(offset, FLOOR), error
    for block, table in zip(reversed(program.blocks[: len(lines)]), reversed(lines), strict=True):
        up, down, before = _through(block, table, rows[:, block.columns])
        gain = (down * table.above).sum(1)
        if program.rigorous:
            length = torch.linalg.vector_norm(before, dim=1) + FLOOR
            total = total + _intercepts(table, gain, up, down)
            total = total + (length + _multipliers(table)) * (block.reads.size + FLOOR)
            given = given + length * torch.linalg.vector_norm(block.reads.error)
        if table.below is not None:
            gain = gain + (up * table.below).sum(1)
        offset = offset + gain + before @ block.reads.offset
        for part in block.reads.sources:
            rows[:, part].addmm_(before, block.reads.rows[:, part])
    first = rows[:, : program.inputs]
    offset = offset + (program.least if least is None else least)(first)
    if program.rigorous:
        offset = offset - given - program.slack(total + offset.abs(), first)
    return Pulled(offset, rows)


def _through(block: Block, table: Table, own: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The positive and negative parts of coefficients, and what becomes of them."""
    up = own.clamp_min(0)
    down = own - up
    if block.paired:
        return up, down, torch.cat((up * table.low, down * table.high), dim=1)
    before = torch.addcmul(up * table.low, down, table.high)
    return up, down, before if table.beta is None else before.sub_(table.beta)


def _intercepts(table: Table, gain: Tensor, up: Tensor, down: Tensor) -> Tensor:
    """The sum of the absolute values of the intercepts."""
    if table.below is None:
        return gain.abs()
    return (up * table.below).abs().sum(1) + (down * table.above).abs().sum(1)


def _multipliers(table: Table) -> Tensor | float:
    return 0.0 if table.beta is None else 2.0 * torch.linalg.vector_norm(table.beta, dim=1)


def push(
    program: Condensed, pulled: Pulled, lines: Sequence[Table], x: Tensor
) -> tuple[Tensor, list[Tensor]]:
    """All columns at an input by the lines that a pull has chosen.

    Args:
        x: (N, n).

    Returns:
        v (N, columns), and the forms z of each block, (N, Z).
    """
    values = torch.empty_like(pulled.columns)
    values[:, : program.inputs] = x
    reads = []
    for block, table in zip(program.blocks, lines, strict=True):
        z = block.reads.of(values)
        low, high = z.chunk(2, dim=1) if block.paired else (z, z)
        under, over = table.low * low, torch.addcmul(table.above, table.high, high)
        under = under if table.below is None else under + table.below
        values[:, block.columns] = torch.where(pulled.columns[:, block.columns] > 0, under, over)
        reads.append(z)
    return values, reads
