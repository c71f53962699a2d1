"""The random updates of Square Attack as distributions: drawn by keys, or enumerated.

An update is 2 eps times a random sign on a random support, 0 elsewhere; images have C channels and
H x W pixels, h is the side. The attack draws from P: a square inside the image, one sign per
channel. Its analysis draws from P_multiple: a square that wraps around the image, one sign per
entry. Its ablations are the other pairs of a support and signs.

Symbols: c, w -> C and H = W; h -> `side`; P -> `square_update`; P_multiple -> `multiple_update`.
Source: Andriushchenko, Croce, Flammarion and Hein 2020, arXiv:1912.00049;
    Andriushchenko 2024, Algorithms 2 and 4, sec 3.4.3, 3.5.3 and 3.8.4.
Departures: images need not be square. Algorithm 4 draws the corner from {0..w}, which counts one
    position twice on a torus; here it is {0..w-1}. Sides of rectangles are rounded and clipped to
    the image.
"""

from typing import Protocol

import torch
from torch import Tensor

from holdfast.core.errors import InputError
from holdfast.core.random import Keys

Shape = tuple[int, int, int]
_MOST_SIGNS = 20


class Support(Protocol):
    """Draws the pixels that an update changes, (B, 1, H, W) bool."""

    def __call__(self, keys: Keys, shape: Shape, side: int, step: int | Tensor = 0) -> Tensor:
        """The supports of one draw; `shape` is (C, H, W)."""


class Signs(Protocol):
    """Draws the signs of an update, float64, in a shape that broadcasts to (B, C, H, W)."""

    def __call__(self, keys: Keys, shape: Shape, step: int | Tensor = 0) -> Tensor:
        """The signs of one draw; `shape` is (C, H, W)."""


def square_update(
    keys: Keys, shape: Shape, side: int, eps: float, step: int | Tensor = 0
) -> Tensor:
    """A draw from P: a square inside the image, one sign per channel, (B, C, H, W) float64.

    Args:
        shape: (C, H, W).
        side: side of the square, 1 to min(H, W).
        eps: radius of the threat; entries are -2 eps, 0 and 2 eps.
        step: the number of the draw, one for all or one per example (B,).

    Raises:
        InputError: a side that does not fit, a negative eps.

    Example:
        >>> delta = square_update(Keys.of(0, [4, 9]), (3, 8, 7), side=2, eps=0.05)
        >>> (delta != 0).flatten(1).sum(dim=1)
        tensor([12, 12])
    """
    return update(keys, shape, side, eps, square, channel_signs, step)


def multiple_update(
    keys: Keys, shape: Shape, side: int, eps: float, step: int | Tensor = 0
) -> Tensor:
    """A draw from P_multiple: a square that wraps around the image, one sign per entry.

    Args, result and errors are those of `square_update`.
    """
    return update(keys, shape, side, eps, cyclic_square, entry_signs, step)


def update(
    keys: Keys,
    shape: Shape,
    side: int,
    eps: float,
    support: Support,
    signs: Signs,
    step: int | Tensor = 0,
) -> Tensor:
    """2 eps times a sign on a random support, (B, C, H, W) float64, for any pair of the two.

    Args, result and errors are those of `square_update`.
    """
    if eps < 0:
        raise InputError("eps", eps, "is negative", "give a radius from 0")
    check_side(shape, side)
    where = support(keys.fold("support"), shape, side, step)
    return (2 * eps * signs(keys.fold("signs"), shape, step) * where).expand(-1, *shape)


def square(keys: Keys, shape: Shape, side: int, step: int | Tensor = 0) -> Tensor:
    """A square with its corner uniform over the (H - h + 1)(W - h + 1) places inside."""
    _, height, width = shape
    return _box(keys, shape, torch.tensor([[side, side]]), height - side, width - side, step)


def cyclic_square(keys: Keys, shape: Shape, side: int, step: int | Tensor = 0) -> Tensor:
    """A square with its corner uniform over all H W pixels; it wraps around the edges."""
    _, height, width = shape
    return _box(keys, shape, torch.tensor([[side, side]]), height - 1, width - 1, step)


def grid_block(keys: Keys, shape: Shape, side: int, step: int | Tensor = 0) -> Tensor:
    """One block, uniformly, of the grid that tiles the image with h x h squares.

    Raises:
        InputError: a side that does not divide H and W.
    """
    check_tiles(shape, side)
    _, height, width = shape
    chosen = keys.fold("block").integers(height * width // side**2, (1, 1), step)
    rows = torch.arange(height, device=chosen.device)[:, None] // side
    columns = torch.arange(width, device=chosen.device) // side
    return (rows * (width // side) + columns == chosen)[:, None]


def rectangle(keys: Keys, shape: Shape, side: int, step: int | Tensor = 0) -> Tensor:
    """A rectangle inside the image with sides round(a h) and round(b h), a and b Exp(1).

    The expected area is h^2 before sides are rounded and clipped to [1, H] and [1, W].
    """
    _, height, width = shape
    factors = -torch.log1p(-keys.fold("sides").uniform((2,), step).double())
    most = torch.tensor([height, width], device=factors.device)
    sides = (factors * side).round().long().clamp_min(1).minimum(most)
    return _box(keys, shape, sides, height - sides[:, :1], width - sides[:, 1:], step)


def random_pixels(keys: Keys, shape: Shape, side: int, step: int | Tensor = 0) -> Tensor:
    """h^2 different pixels, every set of them equally likely."""
    _, height, width = shape
    rank = keys.fold("pixels").permutation(height * width, step)
    return (rank < side**2).view(-1, 1, height, width)


def single_sign(keys: Keys, shape: Shape, step: int | Tensor = 0) -> Tensor:
    """One sign for the whole update, (B, 1, 1, 1)."""
    return keys.sign((1, 1, 1), step).double()


def channel_signs(keys: Keys, shape: Shape, step: int | Tensor = 0) -> Tensor:
    """One sign per channel, (B, C, 1, 1)."""
    return keys.sign((shape[0], 1, 1), step).double()


def entry_signs(keys: Keys, shape: Shape, step: int | Tensor = 0) -> Tensor:
    """One sign per pixel and channel, (B, C, H, W)."""
    return keys.sign(shape, step).double()


def every_square_update(shape: Shape, side: int, eps: float) -> Tensor:
    """All equally likely values of `square_update`, (N, C, H, W) float64.

    Cost: N = (H - h + 1)(W - h + 1) 2^C.
    """
    signs = every_sign(shape[0])[:, :, None, None]
    return _every(shape, side, eps, signs, shape[1] - side + 1, shape[2] - side + 1)


def every_multiple_update(shape: Shape, side: int, eps: float) -> Tensor:
    """All equally likely values of `multiple_update`, (N, C, H, W) float64.

    Cost: N = H W 2^(C h^2).
    """
    check_side(shape, side)
    signs = every_sign(shape[0] * side**2).view(-1, shape[0], side, side)
    return _every(shape, side, eps, signs, shape[1], shape[2])


def every_sign(count: int) -> Tensor:
    """All vectors of `count` signs, (2^count, count) float64.

    Raises:
        InputError: more than 20 signs.
    """
    if not 0 <= count <= _MOST_SIGNS:
        raise InputError("count", count, "signs cannot be enumerated", f"use 0 to {_MOST_SIGNS}")
    codes = torch.arange(2**count)[:, None] >> torch.arange(count)
    return (2 * (codes & 1) - 1).double()


def check_side(shape: Shape, side: int) -> None:
    """Refuses a side that does not fit an image (C, H, W).

    Raises:
        InputError: a side outside 1 to min(H, W).
    """
    if not 1 <= side <= min(shape[1:]):
        raise InputError("side", side, f"does not fit {shape}", f"give 1 to {min(shape[1:])}")


def check_tiles(shape: Shape, side: int) -> None:
    """Refuses a side whose squares do not tile an image (C, H, W).

    Raises:
        InputError: a side that does not divide H and W.
    """
    check_side(shape, side)
    if shape[1] % side or shape[2] % side:
        raise InputError("side", side, f"does not tile {shape}", "give a divisor of both sides")


def _box(
    keys: Keys,
    shape: Shape,
    sides: Tensor,
    last_row: int | Tensor,
    last_column: int | Tensor,
    step: int | Tensor,
) -> Tensor:
    """Boxes of sides (B or 1, 2) with corners uniform in {0..last}; they wrap around."""
    _, height, width = shape
    row = keys.fold("row").integers(last_row + 1, (1,), step)
    column = keys.fold("column").integers(last_column + 1, (1,), step)
    sides = sides.to(row.device)
    rows = (torch.arange(height, device=row.device) - row) % height < sides[:, :1]
    columns = (torch.arange(width, device=row.device) - column) % width < sides[:, 1:]
    return (rows[:, :, None] & columns[:, None, :])[:, None]


def _every(shape: Shape, side: int, eps: float, signs: Tensor, rows: int, columns: int) -> Tensor:
    """2 eps times each of the signs (S, C, h or 1, h or 1) at each corner in rows x columns."""
    check_side(shape, side)
    patch = torch.zeros(len(signs), *shape, dtype=torch.float64)
    patch[:, :, :side, :side] = 2 * eps * signs
    moved = [patch.roll((r, s), dims=(2, 3)) for r in range(rows) for s in range(columns)]
    return torch.cat(moved)
