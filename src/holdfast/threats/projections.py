"""Euclidean projections onto a norm ball around x, intersected with a box that contains x.

With a = x_adv - x and caps c_i, the distance to the box in the direction of a_i, the problem

    minimise ||d - a||_2   subject to   ||d / w||_p <= 1,   |d_i| <= c_i,   sign d_i = sign a_i

has a solution that depends on one multiplier per example:

    p = inf:  |d_i| = min(|a_i|, w_i, c_i)                       (no multiplier: separable)
    p = 2:    |d_i| = min(|a_i| / (1 + mu / w_i^2), c_i)
    p = 1:    |d_i| = min(max(|a_i| - mu / w_i, 0), c_i)

mu = 0 where that is already inside, else the root of ||d / w|| = 1. A uniform radius is w_i = r;
the code names 1 / w_i `inverse`. Multipliers and sums are float64; the result is rounded towards x,
so that it is inside the ball also after rounding.

Source: Duchi et al. 2008 and Wong 2020, sec 5.3.3 (l1; its printed algorithm moves interior points
outwards: here mu >= 0, so they stay), Liu 2022, sec 3.2 (weights) and Alg 3.4 (the active-set
iteration of `filling_scale`). Departure: the published attacks project onto the ball and then clip
to the box, which is feasible but not the nearest point; that is `exact=False`.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from holdfast.threats.box import Box
from holdfast.threats.radius import flattened

_ITERATIONS = 200
_PRECISION = 1e-14
_ROUNDING = 1e-15


def linf(x_adv: Tensor, x: Tensor, radius: float | Tensor, box: Box | None) -> Tensor:
    """The nearest point of the Linf ball and the box, (B, *E); differentiable in x_adv and x.

    Cost: 4 elementwise kernels; 8 more where inputs are large enough for float32 to round a bound
    past the tolerance of membership.
    """
    low, high = x - radius, x + radius
    if x.element_size() <= 4 and (box is None or max(map(abs, box)) > 8):
        low = torch.where(x - low > radius, torch.nextafter(low, x), low)
        high = torch.where(high - x > radius, torch.nextafter(high, x), high)
    nearest = torch.clamp(x_adv, low, high)
    return nearest if box is None else nearest.clamp_(*box)


@torch.no_grad()
def l2(
    x_adv: Tensor, x: Tensor, radius: float | Tensor, box: Box | None, *, exact: bool = True
) -> Tensor:
    """The nearest point of the L2 ball and the box, (B, *E); not differentiable.

    Args:
        radius: a number or a tensor that broadcasts over x; one that varies within an example is
            the weights w.
        exact: False projects onto the ball and then clips to the box.
    """
    x_adv = _held(x_adv, x, radius)
    move, length, cap = _problem(x_adv, x, box if exact else None)
    weight = _weight(radius, x)
    if weight.shape[1] == 1:
        scale = filling_scale(length, cap, weight.square())
        size, outside = torch.minimum(length * scale, cap), scale < 1
    else:
        inverse = _inverse(weight)
        mu = _weighted_l2_multiplier(length, cap, inverse)
        size, outside = torch.minimum(length / (1 + mu * inverse.square()), cap), mu > 0
    return _placed(x_adv, x, size.copysign_(move), outside, box)


@torch.no_grad()
def l1(
    x_adv: Tensor, x: Tensor, radius: float | Tensor, box: Box | None, *, exact: bool = True
) -> Tensor:
    """The nearest point of the L1 ball and the box, (B, *E); not differentiable.

    Args:
        radius: a number or a tensor that broadcasts over x; one that varies within an example is
            the weights w.
        exact: False projects onto the ball and then clips to the box.

    Example:
        >>> x = torch.zeros(1, 3)
        >>> l1(torch.tensor([[3.0, -1.0, 0.5]]), x, 2.0, None)
        tensor([[2., 0., 0.]])
    """
    x_adv = _held(x_adv, x, radius)
    move, length, cap = _problem(x_adv, x, box if exact else None)
    mu, price = _l1_multiplier(length, cap, _inverse(_weight(radius, x)))
    size = torch.minimum((length - mu * price).clamp_min_(0.0), cap)
    return _placed(x_adv, x, size.copysign_(move), mu > 0, box)


def filling_scale(slope: Tensor, cap: Tensor, budget: float | Tensor = 1.0) -> Tensor:
    """The t with sum_i min(t slope_i, cap_i)^2 = budget, or inf where no t reaches it; (..., 1).

    As a function of t^2 the sum is increasing, concave and piecewise linear. Newton's method from
    below is then monotone: coordinates found at their cap stay there, the others give the next t.
    It ends at the exact root after a few rounds, and each round at least halves the residual or the
    slope.

    Args:
        slope: (..., n), >= 0.
        cap: >= 0, broadcasts over `slope`.
        budget: >= 0, a number or broadcasting over (..., 1).
    """
    slope_square, cap_square = slope.square(), cap.square()
    filled_at = torch.where(slope > 0, cap / slope, torch.inf)
    growth = slope_square.sum(dim=-1, keepdim=True)
    scale = (budget / growth).sqrt_().masked_fill_(growth == 0, torch.inf)
    for _ in range(_ITERATIONS):
        full = filled_at <= scale
        used = torch.where(full, cap_square, 0.0).sum(dim=-1, keepdim=True)
        growth = slope_square.masked_fill(full, 0.0).sum(dim=-1, keepdim=True)
        root = ((budget - used).clamp_min_(0.0) / growth).sqrt_()
        root = root.masked_fill_(growth == 0, torch.inf)
        if not bool((root > scale).any()):
            break
        scale = torch.maximum(scale, root)
    return scale


def _weighted_l2_multiplier(length: Tensor, cap: Tensor, inverse: Tensor) -> Tensor:
    """mu >= 0 of the weighted L2 projection, (B, 1); Newton on 1 / ||d / w||, which is close to
    linear in mu."""
    square = inverse.square()

    def evaluate(mu: Tensor) -> tuple[Tensor, Tensor]:
        shrink = 1 + mu * square
        size = length / shrink
        free = size < cap
        size = torch.minimum(size, cap)
        value = (size * inverse).square_().sum(dim=1, keepdim=True)
        decay = ((square * size).square_() / shrink * free).sum(dim=1, keepdim=True)
        return value, mu + value * (value.sqrt() - 1) / decay

    weighted = torch.where(inverse > 0, length / inverse, 0.0)
    return _root(evaluate, torch.linalg.vector_norm(weighted, dim=1, keepdim=True))


def _l1_multiplier(length: Tensor, cap: Tensor, inverse: Tensor) -> tuple[Tensor, Tensor]:
    """mu >= 0 of the L1 projection, (B, 1), and the price of a unit move, the |d_i| being
    min(max(|a_i| - mu price_i, 0), c_i); a uniform price is 1.

    The sum is piecewise linear in mu, so Newton ends at the exact root.
    """
    highest = inverse.amax(dim=1, keepdim=True)
    highest = highest.masked_fill(highest == 0, 1.0)
    price, budget = (inverse / highest).expand_as(length), 1 / highest

    def evaluate(mu: Tensor) -> tuple[Tensor, Tensor]:
        size = length - mu * price
        free, full = (size > 0) & (size < cap), size >= cap
        spent = (torch.minimum(size.clamp_min_(0.0), cap) * price).sum(dim=1, keepdim=True)
        reach = torch.where(full, cap, length * free).mul_(price).sum(dim=1, keepdim=True)
        decay = (price.square() * free).sum(dim=1, keepdim=True)
        return spent / budget, (reach - budget) / decay

    high = torch.where(price > 0, length / price, 0.0).amax(1, keepdim=True)
    return _root(evaluate, high), price


def _root(evaluate: Callable[[Tensor], tuple[Tensor, Tensor]], high: Tensor) -> Tensor:
    """The smallest mu in [0, high] at which a decreasing function is at most 1, (B, 1).

    Newton steps, replaced by bisection where they leave the bracket, until the value is 1 or the
    next step is lost in rounding. An example stops on its own, so its answer does not depend on the
    others.

    Args:
        evaluate: mu (B, 1) -> the value, and the mu that Newton's method would try next.
    """
    low, mu = torch.zeros_like(high), torch.zeros_like(high)
    high = high * (1 + _PRECISION)
    value, newton = evaluate(mu)
    active = value > 1
    for _ in range(_ITERATIONS):
        if not bool(active.any()):
            break
        low = torch.where(active & (value > 1), mu, low)
        high = torch.where(active & (value < 1), mu, high)
        bracketed = (newton > low) & (newton < high)
        target = torch.where(bracketed, newton, (low + high) / 2)
        moved = active & (target != mu)
        mu = torch.where(moved, target, mu)
        value, newton = evaluate(mu)
        rounding = (newton - mu).abs() <= _ROUNDING * mu
        active = moved & ~rounding & ((value - 1).abs() > _PRECISION)
    return mu


def _problem(x_adv: Tensor, x: Tensor, box: Box | None) -> tuple[Tensor, Tensor, Tensor]:
    """The move a, |a| and the caps c, flat and in float64."""
    start = x.flatten(1).to(torch.float64)
    move = x_adv.flatten(1).to(torch.float64) - start
    if box is None:
        return move, move.abs(), torch.full_like(move[:1, :1], torch.inf)
    cap = torch.where(move > 0, box[1] - start, start - box[0]).clamp_min_(0.0)
    return move, move.abs(), cap


def _weight(radius: float | Tensor, x: Tensor) -> Tensor:
    """The weights w, (1, 1), (B, 1), (1, n) or (B, n), in float64."""
    weight = torch.as_tensor(flattened(radius, x), dtype=torch.float64, device=x.device)
    return weight if weight.ndim == 2 else weight.view(1, 1)


def _inverse(weight: Tensor) -> Tensor:
    """1 / w; a fixed feature (w = 0) counts nothing, as it does not move."""
    return (1 / weight).masked_fill_(weight == 0, 0.0)


def _held(x_adv: Tensor, x: Tensor, radius: float | Tensor) -> Tensor:
    """The point with the fixed features (radius 0) put back."""
    if isinstance(radius, Tensor):
        return torch.where(radius == 0, x, x_adv)
    return x_adv if radius > 0 else x


def _placed(x_adv: Tensor, x: Tensor, move: Tensor, outside: Tensor, box: Box | None) -> Tensor:
    """x + move rounded towards x, where the point was outside the ball; the point itself elsewhere;
    both clipped to the box."""
    move = move.to(x.dtype).view_as(x)
    placed = x + move
    beyond = (placed - x).abs() > move.abs()
    placed = torch.where(beyond, torch.nextafter(placed, x), placed)
    outside = outside.view(-1, *(1,) * (x.ndim - 1))
    nearest = torch.where(outside, placed, x_adv)
    return nearest if box is None else nearest.clamp_(*box)
