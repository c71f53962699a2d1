"""Certified radii by secants in logarithmic scale, on top of the polyhedral envelope.

What a bound loses over the radius, L_i(eps) = f_i(x) - lower_i(x, eps) for row i, is close to a
power of it: the first power for a linear model, a higher one the more units a larger set leaves
open. Through two looks goes one curve c eps^k of each row, which meets the clean margin at

    eps_i = eps (f_i(x) / L_i(eps))^(1/k),   k = log(L_i / L_i') / log(eps / eps'),

and the least eps_i is looked at next: a secant in log eps and log L. Looks, brackets and what
is returned are those of `envelope_search`.

Source: Liu 2022, sec 3.3.2 (what a look gives). The choice of the next radius is ours.
"""

from typing import ClassVar

import torch
from torch import Tensor

from holdfast.certify.radii.envelope_search import EnvelopeSearch
from holdfast.certify.radii.radius import Bracket, closed_in
from holdfast.core.recipes import hyperparameters

_LEAST = 1e-12
_POWERS = (1.0, 50.0)


@hyperparameters
class Secant(EnvelopeSearch):
    """The certified radius by secants through the last two looks.

    Guarantee: see `Search.find`.
    Cost: commonly 6 or 7 looks, about half of those of `Bisection` at precision 1e-4.
    Needs: linear bounds.
    """

    _first: ClassVar[float] = 0.125

    def _next(self, bracket: Bracket) -> Tensor:
        lost = (bracket.clean.unsqueeze(1) - bracket.values).clamp_min(_LEAST)
        tried = bracket.tried.clamp_min(_LEAST).log()
        power = (lost[:, 1] / lost[:, 0]).log() / (tried[:, 1] - tried[:, 0]).unsqueeze(1)
        power = power.nan_to_num(2.0).clamp(*_POWERS)
        first = (bracket.evaluations < 2).unsqueeze(1)
        power = torch.where(first, 2.0, power)
        ratio = (bracket.clean / lost[:, 1]).clamp_min(_LEAST)
        estimate = bracket.tried[:, 1] * (ratio ** (1 / power)).amin(dim=1)
        return closed_in(estimate, bracket, self.precision)
