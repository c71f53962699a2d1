"""Which shape of an update changes most outputs of a convolution: squares, by an exact count.

A filter of size s x s sees the whole of an update where its window lies inside the update's
support; there, and only there, the change of its output can reach eps ||filter||_1. Among all sets
of k pixels with k >= s^2 and s >= 2, the largest number of such windows is

    N* = (a - s + 1)(b - s + 1) + max(r - s + 1, 0),
    a = floor(sqrt(k)),  b = floor(k / a),  r = k - a b,

reached by an a x b rectangle with the r remaining pixels in a row along a side: for k = l^2 by the
square.

Source: Andriushchenko, Croce, Flammarion and Hein 2020, arXiv:1912.00049;
    Andriushchenko 2024, Proposition 3.5.2 and sec 3.8.6; enumeration: Redelmeier 1981, Counting
    polyominoes: yet another attack.
Departures: the proof takes b - a in {0, 1}; at k = a^2 + 2a the formula's b is a + 2, with the same
    count.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from holdfast.core.errors import InputError

Cell = tuple[int, int]


def most_windows(area: int, size: int) -> int:
    """N*: the largest number of size x size windows inside a set of `area` pixels.

    Args:
        area: k, at least size^2.
        size: s, side of the filter, at least 2.

    Raises:
        InputError: a size below 2, an area below size^2.

    Example:
        >>> most_windows(9, 2), most_windows(8, 2)
        (4, 3)
    """
    if size < 2:
        raise InputError("size", size, "is no window", "give at least 2")
    if area < size**2:
        raise InputError("area", area, "holds no window", f"give at least {size**2}")
    a = math.isqrt(area)
    b, r = divmod(area, a)
    return (a - size + 1) * (b - size + 1) + max(r - size + 1, 0)


def count_windows(support: Tensor, size: int) -> Tensor:
    """How many size x size windows lie wholly inside a set of pixels, (*, H, W) bool to (*,)
    int64."""
    rows = _runs(support, size, dim=-2)
    return _runs(rows, size, dim=-1).flatten(-2).sum(dim=-1)


def polyominoes(area: int) -> Iterator[tuple[Cell, ...]]:
    """Every edge-connected set of `area` cells once, up to translation.

    The cells (row, column) of each are in the half plane from (0, 0) on: rows from 0, and columns
    from 0 in row 0.

    Cost: 1, 2, 6, 19, 63, 216, 760, 2725, 9910, 36446 sets for areas 1 to 10.

    Example:
        >>> sum(1 for _ in polyominoes(4))
        19
    """
    yield from _grow([], [(0, 0)], {(0, 0)}, area)


def raster(cells: tuple[Cell, ...]) -> Tensor:
    """A set of cells as the smallest image that holds it, (H, W) bool."""
    corners = torch.tensor(cells)
    places = corners - corners.amin(dim=0)
    image = torch.zeros(*(places.amax(dim=0) + 1).tolist(), dtype=torch.bool)
    image[places[:, 0], places[:, 1]] = True
    return image


def _grow(
    taken: list[Cell], untried: list[Cell], seen: set[Cell], area: int
) -> Iterator[tuple[Cell, ...]]:
    """Redelmeier's recursion: each untried cell is taken once, and never again after that."""
    untried = list(untried)
    while untried:
        cell = untried.pop()
        grown = [*taken, cell]
        if len(grown) == area:
            yield tuple(grown)
            continue
        fresh = [each for each in _neighbours(cell) if each not in seen]
        yield from _grow(grown, untried + fresh, seen.union(fresh), area)


def _neighbours(cell: Cell) -> Iterator[Cell]:
    """The cells of the half plane that share an edge with this one."""
    row, column = cell
    for near in ((row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)):
        if near >= (0, 0):
            yield near


def _runs(support: Tensor, size: int, dim: int) -> Tensor:
    """Where `size` neighbours along `dim` are all inside."""
    if support.shape[dim] < size:
        return support.narrow(dim, 0, 0)
    return support.unfold(dim, size, 1).all(dim=-1)
