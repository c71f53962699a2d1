"""How well the updates of Square Attack correlate with a direction v: E|<delta, v>|, exactly.

For P_multiple, and any v,

    ||delta||_2^2 = 4 C eps^2 h^2,   E|<delta, v>| >= sqrt(2) eps (h^2 / HW) ||v||_2,

the second by Khintchine's inequality with Szarek's constant. P has no such floor: with h even, each
of its updates is orthogonal to the checkerboard. On a grid of h x h blocks, and for a v that keeps
its sign on each block, a random block with one sign has

    E|<delta, v>| = 2 eps (h^2 / HW) ||v||_1,

while with a sign per entry it is at most 2 eps (h / sqrt(HW)) ||v||_2, for any v.

Symbols: c, w -> C and H = W; h -> `side`; delta: see `updates`.
Source: Andriushchenko, Croce, Flammarion and Hein 2020, arXiv:1912.00049; Andriushchenko 2024, sec
    3.5.1, 3.8.3, 3.8.4 and 3.8.5; Szarek 1976, On the best constants in the Khinchin inequality.
Departures: images need not be square. The checkerboard is (-1)^(k+l); the printed (-1)^(kl) is not
    orthogonal to P.
"""

import math

import torch
from torch import Tensor

from holdfast.core.errors import InputError, described
from holdfast.toys.updates import Shape, check_side, check_tiles, every_sign


def rademacher_mean(values: Tensor) -> Tensor:
    """E|sum_i s_i a_i| over independent signs s, exactly: (N, n) to (N,) float64.

    Guarantee: between ||a||_2 / sqrt(2) (Szarek 1976) and ||a||_2.
    Cost: N 2^(n - 1) sums.

    Raises:
        InputError: n above 21 or below 1.

    Example:
        >>> rademacher_mean(torch.tensor([[1.0, 1.0], [3.0, 4.0]]))
        tensor([1., 4.], dtype=torch.float64)
    """
    values = values.double()
    signs = every_sign(values.shape[1] - 1).to(values.device)  # the first sign is +1, by symmetry
    return (values[:, :1] + values[:, 1:] @ signs.T).abs().mean(dim=1)


def blocks(direction: Tensor, side: int) -> Tensor:
    """The entries of v in each block of the grid, (blocks, C h h); v is (C, H, W).

    Raises:
        InputError: a side that does not divide H and W.
    """
    channels, height, width = direction.shape
    check_tiles((channels, height, width), side)
    tiled = direction.reshape(channels, height // side, side, width // side, side)
    return tiled.permute(1, 3, 0, 2, 4).flatten(2).flatten(0, 1)


def multiple_constants(shape: Shape, side: int) -> tuple[float, float]:
    """(C, Ctilde) of P_multiple at gamma = 2 eps: c h^2 and h^2 / (sqrt(2) H W).

    Guarantee: E||delta||_2^2 <= gamma^2 C and E|<delta, v>| >= Ctilde gamma ||v||_2 for every v.
    """
    check_side(shape, side)
    channels, height, width = shape
    return float(channels * side**2), side**2 / (math.sqrt(2) * height * width)


def multiple_correlation(direction: Tensor, side: int, eps: float) -> float:
    """The floor sqrt(2) eps (h^2 / HW) ||v||_2 of E|<delta, v>| for P_multiple; v is (C, H, W)."""
    channels, height, width = direction.shape
    _, correlation = multiple_constants((channels, height, width), side)
    return 2 * eps * correlation * float(direction.double().norm())


def single_sign_correlation(direction: Tensor, side: int, eps: float) -> float:
    """E|<delta, v>| = 2 eps (h^2 / HW) ||v||_1 for one sign on a random block of the grid.

    Args:
        direction: v, (C, H, W), without a change of sign inside any block.

    Raises:
        InputError: a side that does not divide H and W, a change of sign inside a block.
    """
    inside = blocks(direction.double(), side)
    if bool((inside.amin(dim=1) * inside.amax(dim=1) < 0).any()):
        shape = described(f"a direction of shape {tuple(direction.shape)}")
        raise InputError("direction", shape, "changes sign inside a block", "use multiple signs")
    return 2 * eps * float(inside.abs().sum()) / len(inside)


def multiple_signs_range(direction: Tensor, side: int, eps: float) -> tuple[float, float]:
    """Bounds on E|<delta, v>| for a sign per entry on a random block of the grid, for any v.

    sqrt(2) eps (h^2 / HW) ||v||_2 from below, 2 eps (h / sqrt(HW)) ||v||_2 from above.
    """
    pixels = direction.shape[1] * direction.shape[2]
    above = 2 * eps * side / math.sqrt(pixels) * float(direction.double().norm())
    return multiple_correlation(direction, side, eps), above


def checkerboard(shape: Shape) -> Tensor:
    """(-1)^(k + l) in every channel, (C, H, W) float64: orthogonal to `square_update` for even
    sides."""
    channels, height, width = shape
    parity = torch.arange(height)[:, None] + torch.arange(width)
    return (1 - 2 * (parity % 2)).double().expand(channels, height, width)
