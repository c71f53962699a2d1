"""beta-CROWN: the bound of a subdomain, and the ascent on its multipliers.

At a unit with a slope a < 1 left of its bend, coefficient c becomes (`pulling.py`)

    free:     max(c, 0) alpha + min(c, 0) d,   and min(c, 0) d0 is added,      a <= alpha <= 1
    split:    c p - s beta,                    p the slope of the piece with sign s,    beta >= 0

with the chord d z + d0. The term s beta is the Lagrangian of s z >= 0, so that every choice of
alpha, beta and of the rows' shares is a lower bound on the subdomain. The gradient of the bound
comes from the input x* that is least for the final form, pushed forward through the same lines:

    dg/dalpha = max(c, 0) z(x*),    dg/dbeta = -s z(x*),    dg/dshare_r = row r of v(x*)

so that one step of the ascent costs two products with each matrix, and no tape. x* is also the
input that the bound believes in: the natural counterexample to try.

Any multipliers will do, so that they may come from an ascent in float32, and the bound from one
rigorous pull at its end.

Source: Wang et al. 2021, arXiv 2103.06624, Theorem 3.1 and 3.2; Xu et al. 2021, arXiv 2011.13824.
Departure: boxes of the nodes in between are those of the whole set.
"""

from dataclasses import replace

import torch
from torch import Tensor

from holdfast.certify.complete.condensed import Block, Condensed
from holdfast.certify.complete.pulling import Pulled, Table, pull, push
from holdfast.certify.complete.splits import Splits

_FIRST, _SECOND, _TINY = 0.9, 0.99, 1e-12
_RATE, _CROWD = 0.3, 0.8


def tables(program: Condensed, splits: Splits) -> list[Table]:
    """The lines of all blocks in each subdomain."""
    multipliers = splits.multipliers.to(program.outputs.rows)
    return [
        _table(block, splits.signs[:, own], multipliers[:, own])
        for block in program.blocks
        for own in (program.own(block),)
    ]


def _table(block: Block, sign: Tensor, mine: Tensor) -> Table:
    if block.left is None:
        low, below, high, above = (each.expand(len(sign), -1) for each in block.lines)
        return Table(low, high, below, above)
    _, _, high, above = block.lines
    free, piece = sign == 0, torch.where(sign > 0, torch.ones_like(mine), block.left)
    low, beta = torch.where(free, mine.clamp(block.left, 1.0), piece), mine * sign
    return Table(low, torch.where(free, high, piece), None, torch.where(free, above, 0.0), beta)


class Dual:
    """The bounds of subdomains of a program, and the ascent on them.

    Args:
        program: gives the bounds.
        fast: the same for the ascent.
        queries: (Q, R) places of the outputs of each query, -1 where there are fewer.
    """

    def __init__(self, program: Condensed, fast: Condensed, queries: Tensor):
        self.program, self.fast, self.queries = program, fast, queries
        self.several = queries.shape[1] > 1
        self.floor, self.scale = _typical(fast)

    def weighed(self, program: Condensed, splits: Splits) -> tuple[Tensor, Tensor, Tensor]:
        """The row of each subdomain, its offset and its error."""
        place, forms = self.queries[splits.query], program.outputs
        if not self.several:
            place = place.squeeze(1)
            return forms.rows[place], forms.offset[place], forms.error[place]
        shares = splits.shares.to(forms.rows)
        rows = (shares.unsqueeze(1) @ forms.rows[place]).squeeze(1)
        offset, error = ((shares * each[place]).sum(1) for each in (forms.offset, forms.error))
        return rows, offset, error

    def bound(self, splits: Splits, *, fast: bool = False) -> tuple[Pulled, list[Table]]:
        """The bound of each subdomain, true over the real numbers if the program is rigorous."""
        program = self.fast if fast else self.program
        lines = tables(program, splits)
        return pull(program, *self.weighed(program, splits), lines), lines

    def ascend(
        self, splits: Splits, steps: int, size: float, decay: float, target: float
    ) -> Splits:
        """The multipliers of the best bound of each subdomain on the way up.

        Args:
            size: of the first step, in slopes.
            decay: factor on it after each step.
            target: subdomains with a bound above it are left alone from there on.
        """
        climb = _Climb(self, splits)
        for step in range(steps):
            climb.step(size * decay**step, target)
            if not len(climb.place):
                break
        return climb.result(splits)


class _Climb:
    """The state of an ascent: what is still climbing, and the best that was met."""

    def __init__(self, dual: Dual, splits: Splits):
        self.dual, self.program = dual, dual.fast
        like = dual.fast.outputs.rows
        multipliers, shares = splits.multipliers.to(like), splits.shares.to(like)
        self.now = replace(splits, multipliers=multipliers, shares=shares)
        self.best, self.shares = multipliers.clone(), shares.clone()
        self.least = like.new_full((len(splits),), -torch.inf)
        self.place = torch.arange(len(splits), device=like.device)
        self.mean, self.square = torch.zeros_like(multipliers), torch.zeros_like(multipliers)
        self.count = 0

    def step(self, size: float, target: float) -> None:
        """One look at the bound and one step of the multipliers."""
        program, now = self.program, self.now
        pulled, lines = self.dual.bound(now, fast=True)
        better = pulled.lower > self.least[self.place]
        chosen = self.place[better]
        self.least[chosen] = pulled.lower[better]
        self.best[chosen], self.shares[chosen] = now.multipliers[better], now.shares[better]
        x = program.corner(pulled.columns[:, : program.inputs])
        values, reads = push(program, pulled, lines, x)
        if self.best.shape[1]:
            self._move(self._gradient(pulled, reads), size)
        if self.dual.several:
            self._weigh(values)
        self._drop(~(self.least[self.place] > target))

    def _gradient(self, pulled: Pulled, reads: list[Tensor]) -> Tensor:
        """The slope of the bound in the multipliers."""
        found = torch.zeros_like(self.now.multipliers)
        for block, z in zip(self.program.blocks, reads, strict=True):
            if block.left is not None:
                own = self.program.own(block)
                sign = self.now.signs[:, own]
                up = pulled.columns[:, block.columns].clamp_min(0)
                found[:, own] = torch.where(sign == 0, up, -sign.to(up)) * z
        return found

    def _move(self, gradient: Tensor, size: float) -> None:
        """Adam, in slopes for alpha and in typical coefficients for beta, projected."""
        self.count += 1
        self.mean.lerp_(gradient, 1 - _FIRST)
        self.square.mul_(_SECOND).addcmul_(gradient, gradient, value=1 - _SECOND)
        first, second = 1 - _FIRST**self.count, 1 - _SECOND**self.count
        deviation = (self.square / second).sqrt_()
        least = deviation.amax(1, keepdim=True) * _TINY + torch.finfo(deviation.dtype).tiny
        move = self.mean / (deviation + least) * (size / first)
        free = self.now.signs == 0
        moved = torch.addcmul(self.now.multipliers, move, torch.where(free, 1.0, self.dual.scale))
        moved = torch.maximum(moved, torch.where(free, self.dual.floor, 0.0))
        self.now = replace(self.now, multipliers=torch.where(free, moved.clamp_max(1.0), moved))

    def _weigh(self, values: Tensor) -> None:
        """A multiplicative step of the shares towards the largest row."""
        forms, place = self.program.outputs, self.dual.queries[self.now.query]
        rows = (forms.rows[place] @ values.unsqueeze(2)).squeeze(2) + forms.offset[place]
        rows = rows - rows.amax(1, keepdim=True)
        scale = rows.abs().amax(1, keepdim=True).clamp_min(torch.finfo(rows.dtype).tiny)
        shares = self.now.shares * torch.exp(_RATE * rows / scale)
        self.now = replace(self.now, shares=shares / shares.sum(1, keepdim=True))

    def _drop(self, keep: Tensor) -> None:
        """Leaves out what has arrived, once that is worth it."""
        if bool(keep.sum() > _CROWD * len(keep)):
            return
        self.now, self.place = self.now[keep], self.place[keep]
        self.mean, self.square = self.mean[keep], self.square[keep]

    def result(self, splits: Splits) -> Splits:
        """The subdomains with the best multipliers."""
        multipliers, shares = self.best.to(splits.multipliers), self.shares.to(splits.shares)
        return replace(splits, multipliers=multipliers, shares=shares)


def _typical(program: Condensed) -> tuple[Tensor, Tensor]:
    """The least slope of each unit, and the typical size of the coefficients that reach it."""
    forms = program.outputs
    middle = []
    for block in program.blocks:
        slope = (0.5 * (block.lines.lower_slope + block.lines.upper_slope)).unsqueeze(0)
        middle.append(Table(slope, slope, None, torch.zeros_like(slope)))
    columns = pull(program, forms.rows.clone(), forms.offset, forms.error, middle).columns
    floor, scale = torch.zeros_like(columns[0]), torch.ones_like(columns[0])
    for block in program.blocks:
        floor[block.columns] = block.left or 0.0
        size = columns[:, block.columns].abs().mean()
        scale[block.columns] = torch.where(size > 0, size, 1.0)
    return floor[program.inputs :], scale[program.inputs :]
