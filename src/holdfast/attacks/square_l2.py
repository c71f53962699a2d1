"""The moves of the Square Attack in an l2 ball: mass goes from one window to another.

With nu = x_hat - x, two windows W1, W2 of one size at independent places, a bump eta of unit norm
and a random sign rho for each channel i,

    unused  = eps^2 - ||nu||^2
    tmp     = rho eta + nu[W1, i] / ||nu[W1, i]||
    nu[W2, i] = 0,  then  nu[W1, i] = tmp / ||tmp|| (||nu[W1 u W2, i]||^2 + unused / C)^(1/2)

and x_new = clip(x + nu). The norm of nu before the clipping is eps exactly; what clipping loses
comes back as `unused`. A bump is a pyramid: at Chebyshev distance D from the centre of a window,

    sum_{j = D}^{n} 1 / (j + 1)^2,   n = floor(side / 2),

and eta is two of them side by side, or one below the other, with opposite signs. The same with
absolute values for squares is the l1 move, for which p = 1 below.

Source: Andriushchenko, Croce, Flammarion and Hein 2020, arXiv:1912.00049, Alg 3, eq 2 and
Proposition 4.1; Andriushchenko 2024, sec 3.4.4 (there Proposition 3.4.1).
Departures: a rounding excess over eps is taken back, like unused norm with a minus sign; images
that are no square are tiled and covered by rectangles.
"""

from functools import lru_cache

import torch
from torch import Tensor

from holdfast.attacks.rows import Rows
from holdfast.attacks.square_schedule import Plan
from holdfast.attacks.square_update import Draw, Update
from holdfast.attacks.windows import Windows
from holdfast.core.random import Keys
from holdfast.core.tensors import norm, per_example

_TILES = 5
_OPPOSITE = 1e-6
_ROUNDING_L1 = 1 - 1e-6  # many small roundings add up in an l1 norm


def start_l2(rows: Rows, plan: Plan, update: Update) -> Tensor:
    """A perturbation of norm eps, clipped to the box; (b, *E)."""
    move = spread(rows, plan, update, p=2)
    size = norm(move, 2).clamp_min_(torch.finfo(move.dtype).tiny)
    move.mul_(per_example(rows.threat.radius, move) / per_example(size, move))
    return clipped(move.add_(rows.origin), rows)


def propose_l2(rows: Rows, plan: Plan, update: Update, draw: Draw, point: Tensor) -> Tensor:
    """Moves mass between two windows of each `point` (b, *E), in place."""
    return move_mass(rows, plan, update, draw, point, p=2)


def move_mass(
    rows: Rows, plan: Plan, update: Update, draw: Draw, point: Tensor, *, p: int, surplus: int = 1
) -> Tensor:
    """Algorithm 3 for p = 2, and its form for p = 1; changes `point` (b, *E) in place.

    Args:
        surplus: multiplies what the window receives (the released l1 code: C).
    """
    channels, height, width = plan.shape
    image = point.view(-1, channels, height * width)
    origin = rows.origin.reshape(image.shape)
    where = update.windows(draw, plan)
    real = where.real
    clean = where.of(origin)
    moved = where.of(image).sub_(clean)
    first, pixels = slice(None, real.shape[1]), torch.cat([real, real & where.outside_first], 1)

    radius = per_example(rows.threat.radius, image) * (1 if p == 2 else _ROUNDING_L1)
    unused = radius**p - _power(norm((image - origin).flatten(1), p), p)[:, None, None]
    masses = _masses(moved, pixels, p)
    inside, union = masses[:, :, real.shape[1] - 1, None], masses[:, :, -1:]
    available = (union + unused / channels).clamp_min_(0.0)

    eta = _eta(where, rows, plan, update, p, draw)
    bump = ((draw.words >> 63) * 2 + 1)[:, :, None] * eta
    unit = moved[..., first].div_(_root(inside, p).clamp_min_(torch.finfo(image.dtype).tiny))
    new = unit + bump
    size = _root(_masses(new, real, p)[:, :, -1:], p)
    opposite = size < _OPPOSITE
    new = torch.where(opposite, unit - bump, new)
    new.mul_(_root(available, p).mul_(surplus) / size.masked_fill_(opposite, 2.0))

    where.write(image, clean[..., real.shape[1] :], window=1)
    where.write(image, clipped(new.add_(clean[..., first]), rows), window=0)
    return point


def spread(rows: Rows, plan: Plan, update: Update, *, p: int) -> Tensor:
    """The start's perturbation before it is scaled, a new tensor (b, *E)."""
    channels, height, width = plan.shape
    keys = rows.keys.fold("spread")
    if update.spread == "grid":
        move = _grid(keys, rows, plan, update, p)
    elif update.spread == "gaussian":
        move = keys.normal(plan.shape)
    elif update.spread == "uniform":
        move = keys.sign(plan.shape)
    else:
        move = keys.sign((channels, 1, width)).expand(-1, channels, height, width)
    return move.to(rows.origin).reshape(rows.origin.shape).contiguous()


def clipped(point: Tensor, rows: Rows) -> Tensor:
    """The point with the threat's box enforced, in place."""
    return point if rows.threat.box is None else point.clamp_(*rows.threat.box)


def pyramid(height: int, width: int, power: int) -> Tensor:
    """sum_{j = D}^{n} 1 / (j + 1)^power at Chebyshev distance D from the centre, float64.

    Example:
        >>> pyramid(3, 3, 2)[:, 1]
        tensor([0.2500, 1.2500, 0.2500], dtype=torch.float64)
    """
    n = max(height, width) // 2
    terms = torch.arange(1, n + 2, dtype=torch.float64) ** -power
    tails = terms.flip(0).cumsum(0).flip(0)
    row = (torch.arange(height) - height // 2).abs()
    column = (torch.arange(width) - width // 2).abs()
    return tails[torch.maximum(row[:, None], column)]


def bump(height: int, width: int, *, p: int, single: bool, normalize_halves: bool) -> Tensor:
    """eta and its other orientation, (2, height, width) float64, each of unit p-norm.

    Windows of one row or column have one orientation.

    Args:
        p: 2, or 1, for which the terms of the pyramid are 1 / (j + 1)^4.
        single: one pyramid instead of two of opposite signs.
    """
    beside = _halves(height, width, p, single, normalize_halves)
    below = _halves(width, height, p, single, normalize_halves).T
    both = torch.stack([below if width == 1 else beside, beside if height == 1 else below])
    return both / torch.linalg.vector_norm(both, ord=p, dim=(1, 2), keepdim=True)


def _halves(height: int, width: int, p: int, single: bool, normalize: bool) -> Tensor:
    """Two pyramids side by side."""
    power = 2 if p == 2 else 4
    if single:
        return pyramid(height, width, power)
    halves = [pyramid(height, part, power) for part in (width // 2, width - width // 2) if part]
    if normalize:
        halves = [half / torch.linalg.vector_norm(half, ord=p) for half in halves]
    halves[-1] = -halves[-1]
    return torch.cat(halves, dim=1)


def _eta(where: Windows, rows: Rows, plan: Plan, update: Update, p: int, draw: Draw) -> Tensor:
    """The bump of each row's window, (b, 1, S), in a random orientation."""
    if update.bump == "random":
        keys = Keys(rows.memory["stream"]).fold("bump")
        signs = keys.sign((1, plan.shape[1] * plan.shape[2]), rows.step).to(rows.origin)
        signs = where.of(signs)[..., : where.local.shape[1]]
        return signs / _root((where.height * where.width).to(signs), p)[:, :, None]
    single, equal = update.bump == "single", update.normalize_halves
    device = rows.origin.device
    etas = _bumps(plan.sizes, where.padded, p, single, equal, rows.origin.dtype, device)
    return etas[draw.halvings, draw.words[:, -1] & 1][:, None]


@lru_cache(maxsize=256)
def _bumps(
    sizes: tuple[tuple[int, int], ...],
    padded: tuple[int, int],
    p: int,
    single: bool,
    normalize_halves: bool,
    dtype: torch.dtype,
    device: torch.device,
) -> Tensor:
    """The bumps of windows of all sizes, padded as windows are: (sizes, 2, S)."""
    row, column = torch.arange(padded[0]), torch.arange(padded[1])
    etas = []
    for height, width in sizes:
        eta = bump(height, width, p=p, single=single, normalize_halves=normalize_halves)
        etas.append(eta[:, row.clamp(max=height - 1)][:, :, column.clamp(max=width - 1)].flatten(1))
    return torch.stack(etas).to(device, dtype)


def _grid(keys: Keys, rows: Rows, plan: Plan, update: Update, p: int) -> Tensor:
    """5 x 5 tiles of bumps with random signs, centred, (b, C, H, W); fewer in a smaller image."""
    channels, height, width = plan.shape
    down, across = min(_TILES, height), min(_TILES, width)
    tall, wide = height // down, width // across
    signs = keys.sign((channels, down, across))[..., None, None]
    if update.bump == "random":
        tiles = keys.fold("bump").sign((1, down, across, tall, wide))
    else:
        single, equal = update.bump == "single", update.normalize_halves
        both = bump(tall, wide, p=p, single=single, normalize_halves=equal).to(signs)
        tiles = both[keys.fold("turn").integers(2, (1, down, across))]
    move = (signs * tiles).transpose(3, 4).reshape(-1, channels, down * tall, across * wide)
    top, left = (height - down * tall) // 2, (width - across * wide) // 2
    whole = move.new_zeros(len(move), channels, height, width)
    whole[:, :, top : top + down * tall, left : left + across * wide] = move
    return whole


def _masses(values: Tensor, which: Tensor, p: int) -> Tensor:
    """Running sums of |v|^p over some pixels, (b, C, n): padding changes no bit of them."""
    return (values.square() if p == 2 else values.abs()).mul_(which[:, None]).cumsum(dim=2)


def _power(values: Tensor, p: int) -> Tensor:
    return values.square() if p == 2 else values


def _root(values: Tensor, p: int) -> Tensor:
    return values.sqrt() if p == 2 else values.clone()
