"""Support functions: the exact sup of <v, x'> over a norm ball around x intersected with a box.

It is <v, x> plus the largest <v, d>, and a coordinate moves in the direction of v_i or not at all,
by at most its cap c_i, the distance from x to the box in that direction. With weights w_i
(||d / w||_p <= 1; a uniform radius is w_i = r):

    p = inf:  sum |v_i| min(w_i, c_i)
    p = 2:    min over lam >= 0 of lam + sum h_i(lam),
              h_i = |v_i| c_i - lam (c_i / w_i)^2   where |v_i| >= 2 lam c_i / w_i^2,
                    v_i^2 w_i^2 / (4 lam)           elsewhere
    p = 1:    fractional knapsack: coordinates in the order of |v_i| w_i take their caps until the
              budget sum d_i / w_i = 1 is spent

Without a box these are sum w |v|, ||w v||_2 and max w |v|. All are differentiable almost everywhere
in v, x and the radius. The l2 value is a dual value: an upper bound for any lam, so a certificate
that uses it stays sound whatever the accuracy of lam.

Source: Wong 2020, sec 3.1.2 (the conjugate of the input set); Liu 2022, sec 3.2 and Eq. 3.14
    (weights, box).
"""

import torch
from torch import Tensor
from torch.nn.functional import pad

from holdfast.threats.box import Box
from holdfast.threats.projections import filling_scale


def linf(v: Tensor, x: Tensor, radius: float | Tensor, box: Box | None) -> Tensor:
    """v (B, R, n), x (B, n), radius a number or broadcasting over x -> (B, R)."""
    weight = _weight(radius, x)
    if box is None:
        return _inner(v, x) + _times(v.abs(), weight.unsqueeze(1)).sum(dim=2)
    up = torch.minimum(weight, (box[1] - x).clamp_min(0.0))
    down = torch.minimum(weight, (x - box[0]).clamp_min(0.0))
    return _inner(v, x) + _inner(v.clamp_min(0.0), up) + _inner((-v).clamp_min(0.0), down)


def l2(v: Tensor, x: Tensor, radius: float | Tensor, box: Box | None) -> Tensor:
    """v (B, R, n), x (B, n), radius a number or broadcasting over x -> (B, R)."""
    weight = _weight(radius, x).unsqueeze(1)
    gain = _times(v.abs(), weight)
    if box is None:
        return _inner(v, x) + torch.linalg.vector_norm(gain, dim=2)
    cap, inverse = _caps(v, x, weight, box)
    with torch.no_grad():
        slope = torch.where(inverse > 0, gain, 0.0)
        largest = slope.amax(dim=2, keepdim=True)
        slope = slope / largest.masked_fill(largest == 0, 1.0)
        lam = 0.5 * largest / filling_scale(slope, cap * inverse)
    square = inverse.square()
    full = v.abs() >= 2 * lam * cap * square
    curvature = torch.where(full, 1.0, 4 * lam * square)
    capped = v.abs() * cap - lam * (cap * inverse).square()
    share = torch.where(full, capped, v.square() / curvature)
    return _inner(v, x) + lam.squeeze(2) + share.sum(dim=2)


def l1(v: Tensor, x: Tensor, radius: float | Tensor, box: Box | None) -> Tensor:
    """v (B, R, n), x (B, n), radius a number or broadcasting over x -> (B, R)."""
    weight = _weight(radius, x).unsqueeze(1)
    gain = _times(v.abs(), weight)
    if box is None:
        return _inner(v, x) + gain.amax(dim=2)
    cap, inverse = _caps(v, x, weight, box)
    order = gain.detach().argsort(dim=2, descending=True, stable=True)
    cost = (cap * inverse).gather(2, order)
    left = (1.0 - pad(cost.cumsum(dim=2)[..., :-1], (1, 0))).clamp_min(0.0)
    share = torch.where(left >= cost, 1.0, left / cost.masked_fill(left >= cost, 1.0))
    return _inner(v, x) + ((v.abs() * cap).gather(2, order) * share).sum(dim=2)


def _weight(radius: float | Tensor, x: Tensor) -> Tensor:
    """The weights w, (1, 1), (B, 1), (1, n) or (B, n)."""
    if isinstance(radius, Tensor) and radius.ndim > 0:
        return radius
    return torch.as_tensor(radius, dtype=x.dtype, device=x.device).view(1, 1)


def _caps(v: Tensor, x: Tensor, weight: Tensor, box: Box) -> tuple[Tensor, Tensor]:
    """The caps c in the direction of v, (B, R, n), and 1 / w; both 0 where the feature is fixed."""
    up = (box[1] - x).clamp_min(0.0).unsqueeze(1)
    down = (x - box[0]).clamp_min(0.0).unsqueeze(1)
    fixed = weight == 0
    cap = torch.where(v > 0, up, down).masked_fill(fixed, 0.0)
    return cap, (1 / weight.masked_fill(fixed, 1.0)).masked_fill(fixed, 0.0)


def _inner(v: Tensor, x: Tensor) -> Tensor:
    """<v_r, x> for each row, (B, R)."""
    return torch.einsum("brn,bn->br", v, x.expand(len(v), x.shape[1]))


def _times(v: Tensor, weight: Tensor) -> Tensor:
    """v w, 0 where v is 0 also where w is infinite."""
    return torch.where(v == 0, 0.0, v * weight)
