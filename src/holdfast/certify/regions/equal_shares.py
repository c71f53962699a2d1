"""Large certified regions by equal shares: at the largest volume every feature costs the same.

Where the sum of log eps_i is largest under d_j(eps) >= 0 (`growing.py`), there are weights w >= 0
with sum 1 such that every feature has the same share of the bound,

    t_i = M eps_i g_i / S = 1,    g = - d<w, d>/d eps,    S = sum_i eps_i g_i,

M the number of features. The iteration moves towards it, feature by feature, and keeps the region
at the edge of what is certified:

    log eps_i <- log eps_i - a_k (log t_i - mean of log t) + clamp(min_j d_j / S, -0.3, 0.1)
    w_j       <- w_j exp(- 2 a_k d_j / S), normalised,             a_k = a / (1 + decay k)

It begins at the largest equal radius and keeps the largest region met whose slacks hold; the last
step multiplies it by as much as the method's own bound allows. For a linear model and p = inf a
step with a = 1 lands on the closed form eps_i = m / (M |w_i|), m the margin.

Source: our own, from the optimality conditions of Liu 2022, Eq. 3.9.
"""

from typing import Annotated

import torch
from torch import Tensor, nn

from holdfast.certify.bounds.linear import Dual, Linear
from holdfast.certify.catalogue import BOUNDS
from holdfast.certify.graphs.graph import Graph
from holdfast.certify.regions.growing import (
    LEAST,
    Growing,
    Region,
    finished,
    largest_multiple,
    largest_of_shape,
)
from holdfast.core.errors import UnsupportedThreat
from holdfast.core.recipes import Count, From, NonNegative, Positive, Range, hyperparameters
from holdfast.core.tensors import per_example
from holdfast.threats.balls import L1
from holdfast.threats.base import Ball

_FEWEST, _MOST = 1e-3, 1e3
_BACK, _ON = -0.3, 0.1
_ENLARGED, _FACTOR, _MULTIPLES = 1.1, 0.999, 10_000


@hyperparameters
class EqualShares:
    """Non-uniform certified regions by a fixed point; never smaller than the uniform one.

    Args:
        bounds: the linear bounds that certify; the iteration takes them in mode `fast`.
        steps: of the iteration; 0 leaves the uniform region.
        damping: a, the first step's length, in (0, 1].
        decay: of the steps' lengths.
        bisections: for the equal radius at the beginning.
        delta: by how much margins have to be positive.
        elided: bounds margins instead of single logits.

    Guarantee: as `NonUniform`. The volume is at least that of the largest uniform region, to the
        resolution (0.1 %) of the final search, where fast and rigorous bounds agree.
    Cost: `steps` bounds with a gradient, and about `bisections` + 12 without.
    Needs: a graph (or a module, captured at each call); a threat of kind linf or l2.
    Source: our own; the problem is Liu 2022, Eq. 3.9.
    """

    bounds: Annotated[Linear, From(BOUNDS)] = Dual()
    steps: Annotated[int, Range(ge=0)] = 40
    damping: Positive = 0.5
    decay: NonNegative = 0.3
    bisections: Count = 14
    delta: Positive = 1e-4
    elided: bool = True

    def region(
        self,
        model: nn.Module | Graph,
        x: Tensor,
        y: Tensor,
        threat: Ball,
        *,
        start: Tensor | None = None,
    ) -> Region:
        """Certified regions around inputs.

        Args:
            model: a captured graph, or a module, which is captured first.
            x: (B, *E).
            y: (B,) the classes that must not change; where the model says another, nothing is
                certified.
            threat: gives the norm, the box and the largest radius.
            start: (B, *E) the proportions of the first radii, by default equal.

        Raises:
            CaptureError: the module holds an operation that is not supported.
            InputError: x, y or start does not fit.
            UnsupportedThreat: no norm ball, or an l1 ball, of which one feature alone has a share.
        """
        if isinstance(threat, L1):
            raise UnsupportedThreat(
                "shares need a norm in which every feature counts; for l1 use NonUniform"
            )
        problem = Growing.of(
            model, x, y, threat, bounds=self.bounds, elided=self.elided, delta=self.delta
        )
        live = problem.winners()
        mine = problem.rows(live)
        shape = torch.ones_like(mine.x) if start is None else start.to(x)[live]
        radii = mine.x
        if len(live):
            radii = self._balanced(mine, largest_of_shape(mine, shape, self.bisections))
        enlarged = torch.minimum(radii * _ENLARGED, mine.cap)
        held, margin, evaluated = largest_multiple(mine, enlarged, _FACTOR, _MULTIPLES)
        return finished(problem, live, held, margin, gradients=self.steps, bounds=evaluated)

    def _balanced(self, problem: Growing, radii: Tensor) -> Tensor:
        """The largest region met, from the first on."""
        best, kept = _volume(radii), radii
        weights: Tensor | None = None
        for step in range(self.steps):
            slack, gradient, weights = _looked(problem, radii, weights)
            volume = _volume(radii)
            better = (slack >= 0).all(dim=1) & (volume > best)
            best = torch.where(better, volume, best)
            kept = torch.where(per_example(better.to(radii), radii) > 0, radii, kept)
            length = self.damping / (1 + self.decay * step)
            shares = -gradient * radii
            total = shares.flatten(1).sum(1).clamp_min(LEAST)
            least = slack.amin(dim=1)
            weights = _reweighed(weights, slack / total.unsqueeze(1), length)
            move = -length * _uneven(shares, total)
            move = move + per_example((least / total).clamp(_BACK, _ON), radii)
            radii = (radii.log() + move).exp().clamp_min(LEAST**2)
            radii = torch.minimum(radii, problem.cap)
        return kept


def _looked(
    problem: Growing, radii: Tensor, weights: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Slacks (B, K-1), the gradient of their weighted sum in the radii, and the weights."""
    point = radii.clone().requires_grad_()
    with torch.enable_grad():
        slack = problem.slack(point)
        seen = slack.detach()
        if weights is None:
            size = seen.abs().mean(dim=1, keepdim=True).clamp_min(LEAST)
            weights = torch.softmax(-seen / size, dim=1)
        (gradient,) = torch.autograd.grad((weights * slack).sum(), [point])
    return seen, gradient, weights


def _reweighed(weights: Tensor, slack: Tensor, length: float) -> Tensor:
    """More weight on the margins that are nearer to being lost."""
    weights = weights * (-2 * length * slack).exp().clamp(0.01, 100.0)
    return weights / weights.sum(dim=1, keepdim=True)


def _uneven(shares: Tensor, total: Tensor) -> Tensor:
    """log t_i less its mean, with t_i between a thousandth and a thousand."""
    ratio = shares * per_example(shares[0].numel() / total, shares)
    logarithm = ratio.clamp(_FEWEST, _MOST).log()
    return logarithm - per_example(logarithm.flatten(1).mean(dim=1), shares)


def _volume(radii: Tensor) -> Tensor:
    """The mean logarithm of the radii, (B,)."""
    return radii.log().flatten(1).mean(dim=1)
