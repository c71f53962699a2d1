"""Subdomains of branch and bound: which units are split, and the multipliers that go with it.

A subdomain is a set of inputs cut out by signs s of some units, s_i z_i >= 0; one column of numbers
for each of them, so that many are bounded at a time. A unit that is split has the multiplier beta_i
>= 0 of its constraint, one that is not has the slope alpha_i of its lower line: one table holds
both. A query is a list of rows of outputs, of which one has to be positive; a subdomain weighs them
with shares that add up to 1.

Source: Wang et al. 2021 (beta-CROWN), arXiv 2103.06624, sec 3.1; Bunel et al. 2020, JMLR 21(42).
"""

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from holdfast.certify.complete.condensed import Condensed


@dataclass(frozen=True, eq=False)
class Splits:
    """N subdomains.

    Args:
        query: (N,) which query each belongs to.
        signs: (N, U) 1 and -1 for split units, 0 for the others; int8.
        multipliers: (N, U) beta of split units, alpha of the others.
        shares: (N, R) of the rows of its query; rows that do not exist have none.
        lower: (N,) a lower bound of the query's largest row.
        unit: (N,) where the subdomain is to be split next, -1 where nothing is left.
    """

    query: Tensor
    signs: Tensor
    multipliers: Tensor
    shares: Tensor
    lower: Tensor
    unit: Tensor

    def __getitem__(self, which: Tensor | slice) -> "Splits":
        """Some of them."""
        return Splits(*(getattr(self, field.name)[which] for field in fields(self)))

    def __len__(self) -> int:
        return len(self.query)

    def joined(self, other: "Splits") -> "Splits":
        """These and others."""
        pairs = ((getattr(self, each.name), getattr(other, each.name)) for each in fields(self))
        return Splits(*(torch.cat(pair) for pair in pairs))

    def children(self) -> "Splits":
        """Both halves of each subdomain at its unit, (2 N): first those with z >= 0."""
        where, once = self.unit.unsqueeze(1), torch.ones_like(self.signs[:, :1])
        multipliers = self.multipliers.scatter(1, where, 0.0)
        halves = [
            replace(self, signs=self.signs.scatter(1, where, sign * once), multipliers=multipliers)
            for sign in (1, -1)
        ]
        return halves[0].joined(halves[1])


def roots(program: Condensed, queries: Tensor) -> Splits:
    """The whole set, once for each query, with the slopes of the adaptive lines.

    Args:
        queries: (Q, R) bool, whether a query has a row in each place.
    """
    count, units = len(queries), program.units
    slopes = [block.lines.lower_slope for block in program.blocks]
    like = program.outputs.rows
    first = torch.cat([like.new_zeros(0), *slopes]).expand(count, units).clone()
    lower = like.new_full((count,), -torch.inf)
    number = torch.arange(count, device=lower.device)
    shares = queries.to(lower) / queries.sum(1, keepdim=True)
    signs = torch.zeros(count, units, dtype=torch.int8, device=lower.device)
    return Splits(number, signs, first, shares, lower, torch.full_like(number, -1))
