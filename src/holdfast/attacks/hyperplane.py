"""The nearest point of a hyperplane in a box, for batches: the inner problem of boundary attacks.

With a the absolute coefficients of the hyperplane, c the distance of its value from zero, and u_i
how far coordinate i may move in the direction that helps,

    minimise ||d||_p   subject to   sum_i a_i d_i = c,   0 <= d_i <= u_i

has a solution that depends on one number per example:

    p = inf:  d_i = min(t, u_i)                on the support of a
    p = 2:    d_i = min(t a_i, u_i)
    p = 1:    d_i = u_i where a_i > t, a common share of u_i where a_i = t, else 0

Where the box holds no point of the hyperplane, d = u: the corner that goes furthest.

Source: Croce and Hein 2020, arXiv:1907.02044, problem (3) and sec 3.1.
Departures: no sorting. For p = inf and 2 the constraint is concave, increasing and piecewise linear
in t, so Newton's method from below is monotone and ends at the root after a few rounds; for p = 1
only the largest coefficients are looked at. Tied coefficients share the move, which costs the same.
"""

import math

import torch
from torch import Tensor

from holdfast.core.tensors import norm
from holdfast.threats.box import Box

_ROUNDS = 200
_LARGEST = 32


class Hyperplanes:
    """The hyperplanes gap + <slope, d> = 0 of a batch; what does not depend on the point is
    computed once.

    Args:
        slope: (B, *E), the coefficients; finite.
        p: the norm of a move: inf, 2 or 1.
    """

    def __init__(self, slope: Tensor, p: float):
        coefficients = slope.flatten(1)
        self._sign, self._price, self._p = coefficients.sign(), coefficients.abs(), p
        tiny = torch.finfo(slope.dtype).tiny
        self._largest = self._price.amax(dim=1, keepdim=True).clamp_min_(tiny)
        self._price /= self._largest
        self._rate = self._price.square() if p == 2 else self._price

    @torch.no_grad()
    def nearest_move(self, x: Tensor, gap: Tensor, box: Box | None) -> tuple[Tensor, Tensor]:
        """The smallest move d in the p-norm with gap + <slope, d> = 0 and x + d in the box.

        Args:
            x: (B, *E), in the box.
            gap: (B,), the value of the linear function at x; finite, of either sign.

        Returns:
            d (B, *E) and ||d||_p (B,). Where no d reaches zero, the d that comes closest;
            coordinates with coefficient 0 do not move.

        Guarantee: x + d lies in the box up to rounding; an example's answer depends on its row
            alone.
        Cost: about 10 elementwise passes, and 6 per Newton round, commonly 2 to 5; for p = 1 a
            partial sort of the largest coefficients.
        """
        price, distance = self._price, gap.unsqueeze(1)
        direction = self._sign * -distance.sign()
        need = (distance.abs() / self._largest).clamp_max_(_huge(x))
        room = _room(x.flatten(1), direction, box)
        if self._p == math.inf:
            size = torch.minimum(_filled(self._rate, room, price * room, need), room)
        elif self._p == 2:
            full_at = room / price.clamp_min(torch.finfo(x.dtype).tiny)
            level = _filled(self._rate, full_at, price * room, need)
            size = torch.minimum(level * price, room)
        else:
            size = room * _chosen(price, price * room, need)
        move = size.mul_(direction)
        return move.view_as(x), norm(move, self._p)


def _room(x: Tensor, direction: Tensor, box: Box | None) -> Tensor:
    """How far each coordinate may move, (B, n)."""
    if box is None:
        return torch.full_like(direction, _huge(x))
    middle, half = (box[0] + box[1]) / 2, (box[1] - box[0]) / 2
    return (middle - x).mul_(direction).add_(half).clamp_min_(0.0)


def _filled(rate: Tensor, full_at: Tensor, whole: Tensor, need: Tensor) -> Tensor:
    """The t with sum_i rate_i min(t, full_at_i) = need, or one that fills all, (B, 1).

    The root of each round depends only on which coordinates are full, and that set only grows: the
    iteration ends as soon as it stays.

    Args:
        rate: (B, n), >= 0.
        full_at: (B, n), >= 0, may be infinite.
        whole: (B, n), rate_i full_at_i.
        need: (B, 1), >= 0 and finite.
    """
    level = _root(need, rate.sum(dim=1, keepdim=True), torch.zeros_like(need))
    steep = _huge(rate) ** 2
    full = torch.empty_like(rate)
    for _ in range(_ROUNDS):
        torch.sub(level, full_at, out=full).mul_(steep).clamp_(0.0, 1.0)
        used = torch.linalg.vecdot(whole, full).unsqueeze(1)
        growth = torch.linalg.vecdot(rate, full.neg_().add_(1.0)).unsqueeze(1)
        root = _root((need - used).clamp_min_(0.0), growth, level)
        if not bool((root > level).any()):
            break
        level = torch.maximum(level, root)
    return level


def _root(need: Tensor, growth: Tensor, otherwise: Tensor) -> Tensor:
    """need / growth, finite; `otherwise` where nothing grows."""
    root = (need / growth).clamp_max_(torch.finfo(need.dtype).max)
    return torch.where(growth > 0, root, otherwise)


def _chosen(price: Tensor, gain: Tensor, need: Tensor) -> Tensor:
    """The share of its room that each coordinate moves, (B, n), dearest coordinates first.

    Args:
        price: (B, n), >= 0.
        gain: (B, n), what a coordinate adds if it moves all its room.
        need: (B, 1), >= 0 and finite.
    """
    useful = price * gain.sign()
    feasible = gain.sum(dim=1, keepdim=True) > need
    count = min(_LARGEST, price.shape[1])
    while True:
        values, places = useful.topk(count, dim=1)
        sums = gain.gather(1, places).cumsum(dim=1)
        reached = feasible & (sums[:, -1:] >= need)
        if count == price.shape[1] or bool((reached == feasible).all()):
            break
        count = min(4 * count, price.shape[1])
    place = (sums < need).sum(dim=1, keepdim=True).clamp_(max=count - 1)
    threshold = values.gather(1, place).masked_fill_(~reached, -1.0)
    share = (useful > threshold).to(price.dtype)
    tied = (useful == threshold).to(price.dtype)
    rest = need - torch.linalg.vecdot(gain, share).unsqueeze(1)
    among = torch.linalg.vecdot(gain, tied).unsqueeze(1)
    part = torch.where(among > 0, rest / among, 0.0).clamp_(0.0, 1.0)
    return share.addcmul_(tied, part)


def _huge(x: Tensor) -> float:
    """Stands for infinity: larger than any move of use, small enough to be multiplied."""
    return float(torch.finfo(x.dtype).max) ** 0.25
