"""Forms whose variables are random projections: all units bounded by a fixed number of columns.

A forward walk with symbols (`pushing.py`) carries one column per coordinate of the input and one
per open unit, and needs of them only norms: eps ||nu_1||_1 of the input and, for each layer, the
sum of the absolute coefficients of its errors. Here each of these blocks of columns is multiplied
by r columns of random numbers at its beginning, and its norm estimated at its end
(`estimators.py`):

    z  in  c -+ (norm_1 + norm_2 + ... ),   norm_j estimated from r columns of block j

with c the value of the linearised network at the center. A block of at most r columns, or an image
with at most r open units in a layer, keeps its exact columns.

Source: Wong 2020, sec 3.4.5 (Theorem 4, Alg. 3) and 3.5.4 (l2 balls).
Departures: the terms l_j [nu_j]_+ of a layer are written as half of their absolute value and half
    of their sum; the sums of all layers share one column with the center (one column per layer in
    Alg. 3). In the thesis the projection of the input is shared by the batch; here every image has
    its own, so that its estimate does not depend on its neighbours.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from holdfast.certify.bounds.estimators import cauchy, length
from holdfast.certify.bounds.forward import spread_out
from holdfast.certify.operators.ops import Node
from holdfast.certify.rounding import Box
from holdfast.certify.substitution.pushing import Form
from holdfast.certify.substitution.regions import Around
from holdfast.core.errors import UnsupportedThreat
from holdfast.core.random import Keys
from holdfast.threats.balls import L2
from holdfast.threats.base import Ball

Estimator = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Projections:
    """Forms over r random projections of each block of variables.

    Args:
        region: the threat around the images, a box or an l2 ball; an l2 ball is taken without the
            box of valid inputs, and with twice the tolerance of membership.
        keys: of the images.
        columns: r.
        absolute: estimates l1 norms from Cauchy projections (B, r, *shape).
        euclidean: estimates l2 norms from normal projections.
        exact: whether the columns of each block are exact, (B,), as the walk fills it.
    """

    region: Around
    keys: Keys
    columns: int
    absolute: Estimator
    euclidean: Estimator
    exact: list[Tensor] = field(default_factory=list)

    @property
    def box(self) -> Box:
        """The hull of the inputs."""
        return self.region.box

    def start(self) -> Form:
        """The center, and the projected coordinates; a new walk begins."""
        center, spread = self._ball()
        few = spread[0].numel() <= self.columns
        self.exact[:] = [torch.full((len(spread),), few, device=spread.device)]
        if few:
            table = self._filled(spread_out(spread))
        elif self.region.boxed:
            table = spread.unsqueeze(1) * self._cauchy("input", spread)
        else:
            shape = self.columns, *spread.shape[1:]
            table = spread.unsqueeze(1) * self.keys.fold("input").normal(shape).to(spread)
        return Form(table, table, center, center)

    def fresh(self, node: Node, gap: Tensor) -> Tensor:
        """The projected errors of a layer, or the errors themselves where they are few."""
        few = (gap != 0).flatten(1).sum(1) <= self.columns
        self.exact.append(few)
        where = few.view(-1, *(1,) * gap.ndim)
        exact = self._filled(spread_out(torch.where(where[:, 0], gap, 0.0)))
        if bool(few.all()):
            return exact
        projected = gap.unsqueeze(1) * self._cauchy(f"unit {node.place}", gap)
        return torch.where(where, exact, projected)

    def ends(self, form: Form) -> Box:
        """The center, less and more the norms of all blocks."""
        total = torch.zeros_like(form.low)
        for index in range(form.lower.shape[1] // self.columns):
            block = form.lower[:, index * self.columns : (index + 1) * self.columns]
            few = self.exact[index].view(-1, *(1,) * (block.ndim - 2))
            euclidean = index == 0 and not self.region.boxed
            estimate = self.euclidean(block) if euclidean else self.absolute(block)
            own = length(block) if euclidean else block.abs().sum(1)
            total = total + torch.where(few, own, estimate)
        return Box(form.low - total, form.high + total)

    def _ball(self) -> tuple[Tensor, Tensor]:
        """The center, and the radius of each coordinate."""
        if self.region.boxed:
            return self.region.center, self.region.spread
        threat = self.region.threat
        if not (isinstance(threat, Ball) and isinstance(threat, L2)):
            raise UnsupportedThreat(
                f"random projections need a box or an l2 ball; {type(threat).__name__} is neither"
            )
        low, high = threat.unboxed().hull(self.region.x)
        return self.region.x, (high - low) / 2

    def _cauchy(self, name: str, like: Tensor) -> Tensor:
        return cauchy(self.keys.fold(name), (self.columns, *like.shape[1:])).to(like)

    def _filled(self, table: Tensor) -> Tensor:
        """A table of at most r columns, filled up with zeros."""
        missing = self.columns - table.shape[1]
        return torch.cat([table, table.new_zeros(len(table), missing, *table.shape[2:])], dim=1)
