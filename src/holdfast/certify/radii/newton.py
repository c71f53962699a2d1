"""Certified radii by Newton's method on the bound as a function of the radius.

With F(eps) = min_i lower_i(x, eps), whose derivative comes through all intermediate bounds by
automatic differentiation, each example takes steps

    eps <- eps - F(eps) / F'(eps)

inside its bracket; a step that leaves it, or two that have not halved it, give its middle.

Source: Wong 2020, sec 3.1.5 (Eq. 3.29), from eps = 0.1, 5 or 6 steps.
Departures: a step length and a bracket for each example, where published code shares a step length
    that it halves; the sound end is returned, which takes one or two looks more.
"""

import torch
from torch import Tensor

from holdfast.certify.bounds.forms import linear_bounds
from holdfast.certify.bounds.linear import Linear
from holdfast.certify.graphs.graph import Graph
from holdfast.certify.radii.radius import Bracket, Look, Search, closed_in
from holdfast.core.errors import InputError
from holdfast.core.random import Keys
from holdfast.core.recipes import hyperparameters
from holdfast.threats.base import Ball


@hyperparameters
class Newton(Search):
    """The certified radius by Newton steps.

    Guarantee: see `Search.find`.
    Cost: commonly 6 to 14 looks, each a bound with its gradient in the radius.
    Needs: linear bounds, a threat with one radius per example.
    Source: Wong 2020, Eq. 3.29.
    """

    def __post_init__(self) -> None:
        if not isinstance(self.method, Linear):
            found = type(self.method).__name__
            raise InputError("method", found, "has no gradients", "give dual, crown or crown-ibp")

    def _next(self, bracket: Bracket) -> Tensor:
        value = bracket.values[:, 1].amin(dim=1)
        step = value / bracket.slope
        return closed_in(bracket.tried[:, 1] - step, bracket, self.precision)

    def _look(
        self,
        graph: Graph,
        x: Tensor,
        threat: Ball,
        spec: Tensor,
        radius: Tensor,
        keys: Keys | None,
    ) -> Look:
        del keys
        assert isinstance(self.method, Linear)
        live = radius.clone().requires_grad_()
        lower = linear_bounds(self.method, graph, x, threat.at(live), spec)
        least = lower.amin(dim=1)
        (slope,) = torch.autograd.grad(least.sum(), live)
        held = torch.where((least > 0) & least.isfinite(), radius, 0.0)
        return Look(held, lower.detach(), slope)
