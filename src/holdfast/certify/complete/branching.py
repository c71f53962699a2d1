"""Where a subdomain is split: the open unit whose relaxation costs the bound most.

A pull that ends at x* has at each free unit the coefficient c, and the pushed values z and v of
`pulling.py`. Two scores come with it for nothing: what the relaxation loses there at x*, and
what the chord's intercept may lose (the main term of BaBSR),

    gap = |c| |v - op(z)|,        intercept = |min(c, 0)| d0.

With more than one candidate the best units by either score are tried: both halves are bounded with
the multipliers at hand, and the unit whose worse half is highest is taken.

Source: Bunel et al. 2020, JMLR 21(42) (BaBSR); De Palma et al. 2021, arXiv 2104.06718 (filtered
    smart branching: candidates tried).
Departure: the gap at the minimiser stands beside BaBSR's score.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from holdfast.certify.complete.beta import Dual
from holdfast.certify.complete.condensed import Condensed
from holdfast.certify.complete.pulling import Pulled, Table, push
from holdfast.certify.complete.splits import Splits

_SECOND = 1e-3


@dataclass(frozen=True, eq=False)
class Seen:
    """What one look at N subdomains shows.

    Args:
        x: (N, n) where the bound is attained.
        gap: (N, U) what each unit's relaxation loses there; -1 where no unit can be split.
        intercept: (N, U) what its chord may lose; -1 likewise.
    """

    x: Tensor
    gap: Tensor
    intercept: Tensor

    def __getitem__(self, which: Tensor) -> "Seen":
        """Of some of them."""
        return Seen(self.x[which], self.gap[which], self.intercept[which])


def look(program: Condensed, splits: Splits, pulled: Pulled, lines: list[Table]) -> Seen:
    """Where the bound is attained, and the scores of all units."""
    x = program.corner(pulled.columns[:, : program.inputs])
    values, reads = push(program, pulled, lines, x)
    gap = values.new_full(splits.signs.shape, -1.0)
    intercept = gap.clone()
    for block, table, z in zip(program.blocks, lines, reads, strict=True):
        if block.left is None:
            continue
        own = program.own(block)
        free = splits.signs[:, own] == 0
        c, value = pulled.columns[:, block.columns], values[:, block.columns]
        true = torch.where(z > 0, z, block.left * z)
        lost = (c * (value - true)).abs().nan_to_num(nan=0.0)
        gap[:, own] = lost.where(free, -1.0)
        may = (c.clamp_max(0) * table.above).abs().nan_to_num(nan=0.0)
        intercept[:, own] = may.where(free, -1.0)
    return Seen(x, gap, intercept)


def by_score(seen: Seen) -> Tensor:
    """The free unit of the largest score, (N,); -1 where none is free."""
    score = seen.gap + _SECOND * seen.intercept
    if not score.shape[1]:
        return torch.full((len(score),), -1, device=score.device)
    best, unit = score.max(1)
    return torch.where(best >= 0, unit, -1)


def by_trial(dual: Dual, splits: Splits, seen: Seen, candidates: int) -> Tensor:
    """The free unit whose worse half has the highest bound, (N,); -1 where none is free.

    Args:
        candidates: units by each score that are tried; 1 tries none.
    """
    first = by_score(seen)
    count = min(candidates, seen.gap.shape[1])
    open_ = (first >= 0).nonzero().squeeze(1)
    if count < 2 or not len(open_):
        return first
    tops = [score[open_].topk(count, dim=1) for score in (seen.gap, seen.intercept)]
    unit = torch.cat([each.indices for each in tops], dim=1)
    real = torch.cat([each.values for each in tops], dim=1) > 0
    repeated = splits[open_.repeat_interleave(unit.shape[1])]
    halves = replace(repeated, unit=unit.flatten()).children()
    lower = dual.bound(halves, fast=True)[0].lower.view(2, *unit.shape)
    score = (lower.amin(0) + _SECOND * lower.amax(0)).where(real, -torch.inf)
    best = unit.gather(1, score.argmax(1, keepdim=True)).squeeze(1)
    first[open_] = torch.where(real.any(1), best, first[open_])
    return first
