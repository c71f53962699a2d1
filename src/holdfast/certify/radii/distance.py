"""The distance from a point to a half-space within a box, exact for every p-norm.

    minimise ||D||_p   subject to   <a, D> + b <= 0,   low <= D <= high      (low <= 0 <= high)

A coordinate moves against the sign of a or not at all, by at most its cap c_j, the room that the
box leaves. With q the dual of p, the solution is D_j = -sign(a_j) min(t |a_j|^(q-1), c_j), where t
is the least number with

    sum_j |a_j| min(t |a_j|^(q-1), c_j)  =  b.

The left side is increasing, concave and piecewise linear in t. The greedy algorithm, which clips
what leaves the box, fixes it there and solves again for the rest, is Newton's method on it from
below: its iterates rise to the root and end there, after a few rounds. The iterates solve a
relaxation; stopped early, the norm is a lower bound on the distance. For p = 1 coordinates are
spent up to their caps in the order of |a_j|.

Source: Liu 2022, sec 3.3.1, problem 3.14, Eq. 3.15, Alg. 3.4 and Theorem 3.1.
Departures: the text calls the result of an early stop an upper bound, which would not make a
    certificate; it is a lower bound. A half-space that does not meet the box is at distance inf.
"""

import torch
from torch import Tensor

from holdfast.core.tensors import dual_exponent


def distance(
    a: Tensor, b: Tensor, low: Tensor, high: Tensor, p: float, *, rounds: int | None = None
) -> Tensor:
    """The least norm of a move within the box into the half-space <a, D> + b <= 0, (B, R).

    Args:
        a: (B, R, n).
        b: (B, R); where it is not positive the distance is 0.
        low: of the box, (B, n), at most 0; -inf where there is no end.
        high: of the box, (B, n), at least 0.
        p: of the norm, 1 to inf.
        rounds: of the greedy algorithm; None goes on until it ends, which takes at most n.

    Guarantee: exact up to rounding, with `rounds` a lower bound; inf where the half-space does not
        meet the box, NaN where a or b is. Differentiable almost everywhere in a and b.
    Cost: a few passes over a in each round, commonly 2 to 5; a sort for p = 1.

    Example:
        >>> a, b = torch.tensor([[[3.0, -2.0, 1.0, 0.0]]]), torch.tensor([[1.2]])
        >>> low, high = torch.tensor([[-0.1, -1, -1, -1]]), torch.tensor([[0.9, 0.25, 0.5, 0.5]])
        >>> distance(a, b, low, high, torch.inf)
        tensor([[0.4000]])
    """
    exponent = dual_exponent(p) - 1
    gain = a.abs()
    cap = torch.where(a > 0, -low.unsqueeze(1), high.unsqueeze(1)).clamp_min(0.0)
    cap = cap.expand(gain.shape).masked_fill(gain == 0, 0.0)
    b = torch.where(b <= 0, 0.0, b)
    most = (gain.detach() * cap).sum(dim=2)
    if p == 1:
        found = _knapsack(gain, cap, b)
    else:
        some = gain.masked_fill(gain == 0, 1.0)  # a power below 1 has no slope at zero
        rate = (gain > 0).to(gain) if exponent == 0 else some**exponent
        found = _greedy(gain, rate, cap, b, p, rounds)
    return torch.where(most < b, torch.inf, found)


def signed_distance(a: Tensor, b: Tensor, low: Tensor, high: Tensor, p: float) -> Tensor:
    """The distance to the plane <a, D> + b = 0 within the box, negative where b is, (B, R).

    Args:
        a, b, low, high, p: as in `distance`.

    Guarantee: as `distance`; a plane that does not meet the box is at distance inf or -inf.

    Source: Liu 2022, sec 3.3.3.

    Example:
        >>> a, ends = torch.tensor([[[3.0, 4.0]]]), torch.full((1, 2), torch.inf)
        >>> signed_distance(a, torch.tensor([[-10.0]]), -ends, ends, 2.0)
        tensor([[-2.]])
    """
    sign = torch.where(b < 0, -1.0, 1.0).to(b)
    return sign * distance(sign.unsqueeze(2) * a, sign * b, low, high, p)


def _greedy(
    gain: Tensor, rate: Tensor, cap: Tensor, b: Tensor, p: float, rounds: int | None
) -> Tensor:
    """The norm of the solution for p > 1, (B, R); the set of fixed coordinates is a constant."""
    fixed = gain.detach() == 0
    while True:
        spent = (gain * cap.masked_fill(~fixed, 0.0)).sum(dim=2)
        slope = (gain * rate).masked_fill(fixed, 0.0).sum(dim=2)
        t = (b - spent).clamp_min(0.0) / slope.masked_fill(slope == 0, 1.0)
        move = t.unsqueeze(2) * rate
        over = ~fixed & (move.detach() > cap)
        if rounds == 0 or not bool(over.any()):
            return _norm(torch.where(fixed, cap, move), p)
        fixed = fixed | over
        rounds = None if rounds is None else rounds - 1


def _norm(move: Tensor, p: float) -> Tensor:
    """The p-norm along the last axis, with gradient 0 at 0."""
    if p == torch.inf:
        return move.amax(dim=2)
    return torch.linalg.vector_norm(move, ord=p, dim=2)


def _knapsack(gain: Tensor, cap: Tensor, b: Tensor) -> Tensor:
    """The distance for p = 1: coordinates of largest gain first, (B, R)."""
    order = gain.detach().argsort(dim=2, descending=True, stable=True)
    gain, cap = gain.gather(2, order), cap.gather(2, order)
    whole = 2 * b.detach().unsqueeze(2) / gain.detach()  # no coordinate is needed for more
    cap = torch.where(cap < whole, cap, whole).masked_fill(gain == 0, 0.0)
    before = torch.nn.functional.pad((gain * cap).cumsum(dim=2)[..., :-1], (1, 0))
    left = (b.unsqueeze(2) - before).clamp_min(0.0)
    return torch.minimum(left / gain.masked_fill(gain == 0, 1.0), cap).sum(dim=2)
