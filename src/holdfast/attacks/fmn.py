"""Fast minimum norm (FMN): a small perturbation in L0, L1, L2 or Linf by an adaptive radius.

Each step moves along the normalised gradient of the lead (the logit of the best wrong class minus
that of the label) and projects onto a ball whose radius e follows the boundary:

    d_{k+1} = clip( P_e( d_k + a_k g_k / ||g_k||_2 ) ),
    e grows   to ||d_k||_p + |lead| / ||g_k||_q, the distance to the linearised boundary, while
              nothing has fooled the model yet (1/p + 1/q = 1); by the factor 1 + gamma_k later;
    e shrinks to min( (1 - gamma_k) e, the smallest success ) where x + d_k fools the model.

In L0, e starts at 1 and changes by the factor or by 1, whichever is more, rounded down. a_k and
gamma_k fall along a cosine.

Symbols: a_0 = `alpha_init` (to a_0 / 100), gamma_0 = `gamma_init` (to 0.001), e -> `radius`.
Source: Pintor et al. 2021, arXiv:2102.12827, alg 1; L0 and the warm start: sec 2 there.
Departures: the projection is the threat's, by default onto ball and box at once. In L2 a point
inside the ball is brought to its surface, as in the released code, here by the features that the
box leaves free. e is at least 1 in L0. The linearised boundary is passed by 1e-4, as rounding may
leave a point short of it for ever. The last point is evaluated too.
"""

import math
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from holdfast.attacks.attack import GradientAttack
from holdfast.attacks.carlini_wagner import lead
from holdfast.attacks.ddn import check_norm, cosine, farthest
from holdfast.attacks.lanes import wide
from holdfast.attacks.protocol import Seen
from holdfast.attacks.rows import Rows
from holdfast.core.recipes import Count, Positive, Range, hyperparameters
from holdfast.core.tensors import dual_exponent, norm, per_example
from holdfast.losses.protocol import Loss
from holdfast.threats.steps import l2

_FRESH, _WALKING = -1, 0
_BEYOND, _STRETCH = 1 + 1e-4, 1e3


@hyperparameters
class FMN(GradientAttack):
    """A minimum-norm attack for L0, L1, L2 and Linf.

    Args:
        steps: gradient steps.
        alpha_init: length of the first gradient step, in L2 and input units.
        gamma_init: first relative change of the radius.
        halvings: looks spent on finding the boundary between x and a `start` that fools the model;
            they do not count as steps.

    Guarantee: the smallest success of all points; with a finite radius it ends at one inside.
    Cost: per example steps + 3 forwards and `steps` backwards; `halvings` + 1 more of both from a
        `start`.
    Needs: input gradients; an L0, L1, L2 or Linf ball.

    Example:
        >>> import torch
        >>> from holdfast.threats import Linf
        >>> model = torch.nn.Linear(4, 2)
        >>> x, y = torch.full((1, 4), 0.5), torch.tensor([0])
        >>> FMN(steps=20).run(model, x, y, Linf("inf")).x_adv.shape
        torch.Size([1, 4])
    """

    steps: Count = 100
    alpha_init: Positive = 1.0
    gamma_init: Annotated[float, Range(gt=0, lt=1)] = 0.05
    halvings: Count = 10
    smallest: ClassVar[bool] = True

    @property
    def objective(self) -> Loss:
        """The lead."""
        return lead

    def begin(self, rows: Rows) -> Tensor:
        """The clean input."""
        check_norm(rows.threat, (0.0, 1.0, 2.0, math.inf), "fmn")
        zero = torch.zeros_like(rows.origin.flatten(1)[:, 0])
        first = 1.0 if rows.threat.p == 0 else math.inf
        rows.memory |= {"radius": zero + first, "smallest": zero + math.inf}
        rows.memory |= {"phase": rows.step + _FRESH, "low": zero, "high": zero + 1}
        rows.memory["far"] = torch.zeros_like(rows.origin)
        return rows.origin

    def advance(self, rows: Rows, seen: Seen) -> Tensor:
        """A gradient step, projected; or a halving on the way from a start."""
        memory, fooled = rows.memory, ~(seen.margin > 0)
        size = rows.threat.size(rows.point, rows.origin)
        fresh = memory["phase"] == _FRESH
        started = fresh & fooled & (size > 0)
        memory["far"] = torch.where(wide(started, rows.point), rows.point, memory["far"])
        searching = (memory["phase"] > _WALKING) | started
        walked = self._walked(rows, seen, size, ~searching)
        if not bool(searching.any()):
            memory["phase"] = torch.zeros_like(memory["phase"])
            return walked
        rows.step = rows.step - searching.to(rows.step)
        return torch.where(wide(searching, walked), self._halved(rows, fooled, started), walked)

    def _walked(self, rows: Rows, seen: Seen, size: Tensor, which: Tensor) -> Tensor:
        """The next points of rows that walk; changes the memory of those alone."""
        gamma = 0.001 + (self.gamma_init - 0.001) * cosine(rows.step, self.steps).to(size)
        alpha = self.alpha_init * (0.01 + 0.99 * cosine(rows.step, self.steps).to(size))
        fooled = ~(seen.margin > 0)
        smallest = rows.memory["smallest"]
        smallest = torch.where(fooled, torch.minimum(size, smallest), smallest)
        old = rows.memory["radius"]
        if rows.threat.p == 0:
            old = torch.where(rows.step == 0, size.clamp_min(1.0), old)
            radius = count(old, gamma, fooled, smallest)
        else:
            ahead = _BEYOND * (size + distance(seen, rows.threat.p))
            grown = torch.where(smallest < math.inf, old * (1 + gamma), ahead)
            radius = torch.where(fooled, torch.minimum(old * (1 - gamma), smallest), grown)
        radius = torch.minimum(radius, farthest(rows.origin, rows.threat)).nan_to_num(nan=1.0)
        rows.memory["radius"] = torch.where(which, radius, rows.memory["radius"])
        rows.memory["smallest"] = torch.where(which, smallest, rows.memory["smallest"])
        ball = rows.threat.at(torch.where(which, radius, 1.0))
        step = per_example(alpha, rows.point) * l2(seen.slope, 1.0)
        move = rows.point - rows.origin + step
        if rows.threat.p == 2:
            move = _STRETCH * move
        return ball.project(rows.origin + move, rows.origin)

    def _halved(self, rows: Rows, fooled: Tensor, started: Tensor) -> Tensor:
        """The middle between a point that fools the model and one that does not; at the end of the
        search the former."""
        memory = rows.memory
        middle, asked = (memory["low"] + memory["high"]) / 2, ~started
        memory["high"] = torch.where(asked & fooled, middle, memory["high"])
        memory["low"] = torch.where(asked & ~fooled, middle, memory["low"])
        left = torch.where(started, self.halvings, memory["phase"] - 1)
        memory["phase"] = left.clamp_min(_WALKING)
        middle = torch.where(left > 0, (memory["low"] + memory["high"]) / 2, memory["high"])
        return between(rows.origin, memory["far"], middle, rows.threat.p)


def count(radius: Tensor, gamma: Tensor, fooled: Tensor, smallest: Tensor) -> Tensor:
    """The next L0 radius, (b,): one less or more at least, and not below 1."""
    fewer = torch.minimum(radius - 1, (radius * (1 - gamma)).floor())
    more = torch.maximum(radius + 1, (radius * (1 + gamma)).floor())
    return torch.where(fooled, torch.minimum(fewer, smallest), more).clamp_min(1.0)


def distance(seen: Seen, p: float) -> Tensor:
    """The p-norm distance to the linearised boundary, |lead| / ||gradient||_q, (b,)."""
    tiny = torch.finfo(seen.loss.dtype).tiny
    return seen.loss.abs() / norm(seen.slope, dual_exponent(p)).clamp_min(tiny)


def between(x: Tensor, far: Tensor, share: Tensor, p: float) -> Tensor:
    """A point on the way from x (share 0) to far (share 1), (b, *E): each move cut to a share of
    the longest (Linf), scaled (L2), lessened by 1 - share of the longest (L1), or the longest
    share of the moves (L0)."""
    move = far - x
    part = per_example(share, x)
    longest = per_example(norm(move, math.inf), x)
    if p == 2:
        return x + part * move
    if p == math.inf:
        bound = part * longest
        return x + move.clamp(-bound, bound)
    if p == 1:
        return x + (move.abs() - (1 - part) * longest).clamp_min(0.0).copysign(move)
    rank = move.flatten(1).abs().argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    kept = rank.view_as(x) < (part * per_example(norm(move, 0), x)).ceil()
    return torch.where(kept, far, x)
