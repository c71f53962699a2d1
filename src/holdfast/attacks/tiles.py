"""What attacks on coarse perturbations share: the image behind an input, tiles, blocks, cosines.

Score-based attacks save queries by changing an image in few dimensions: a value for each tile of a
coarse grid, copied to the tile's pixels, or one frequency of the discrete cosine transform

    c_0(i) = 1 / sqrt(n),   c_k(i) = sqrt(2 / n) cos(pi k (2 i + 1) / (2 n)),

an orthonormal basis of the vectors of length n, and in two dimensions by products.

Departures: an input of one axis is an image of one row, one of two axes has one channel, and axes
before the last two are channels, so that these attacks work on any input.
"""

import math
from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from holdfast.core.errors import InputError, UnsupportedThreat
from holdfast.threats.protocol import Threat

_NAMES = {1.0: "L1", 2.0: "L2", math.inf: "Linf"}


def image_shape(event: Sequence[int]) -> tuple[int, int, int]:
    """Channels, height and width of an input of this shape."""
    *channels, height, width = 1, 1, *event
    return math.prod(channels), height, width


def as_images(x: Tensor) -> Tensor:
    """The inputs (B, *E) as (B, C, H, W)."""
    return x.reshape(len(x), *image_shape(x.shape[1:]))


def tile_shape(event: Sequence[int], tiles: int) -> tuple[int, int, int]:
    """Channels, rows and columns of a grid of tiles over an input of this shape.

    Args:
        tiles: rows and columns of the grid, at most as many as the image has.
    """
    channels, height, width = image_shape(event)
    return channels, min(tiles, height), min(tiles, width)


def upsample(coarse: Tensor, event: Sequence[int]) -> Tensor:
    """Values of tiles (B, C, h, w), copied to the pixels nearest to each, as inputs (B, *event)."""
    _, height, width = image_shape(event)
    row = torch.arange(height, device=coarse.device) * coarse.shape[2] // height
    column = torch.arange(width, device=coarse.device) * coarse.shape[3] // width
    return coarse[:, :, row][:, :, :, column].reshape(len(coarse), *event)


def cosines(size: int, like: Tensor) -> Tensor:
    """The orthonormal cosine basis (size, size), a row for each frequency, in the dtype of `like`.

    Guarantee: of the same bits on every device: computed on the CPU in float64.
    """
    place = torch.arange(size, dtype=torch.float64)
    wave = torch.cos(math.pi / (2 * size) * place[:, None] * (2 * place + 1))
    wave *= math.sqrt(2 / size)
    wave[0] = 1 / math.sqrt(size)
    return wave.to(like)


def block_numbers(event: Sequence[int], side: Tensor) -> Tensor:
    """The number of the square block that each feature belongs to, (b, C, H, W) int64.

    Blocks are numbered from 0 along the width, then the height, then the channels; the last of a
    row or column may be cut off.

    Args:
        side: (b,) int64, the blocks' side for each row.
    """
    channels, height, width = image_shape(event)
    side = side.view(-1, 1, 1, 1)
    row = torch.arange(height, device=side.device).view(1, 1, -1, 1) // side
    column = torch.arange(width, device=side.device).view(1, 1, 1, -1) // side
    channel = torch.arange(channels, device=side.device).view(1, -1, 1, 1)
    rows, columns = -(-height // side), -(-width // side)
    return (channel * rows + row) * columns + column


def block_corners(event: Sequence[int], side: Tensor, number: Tensor) -> Tensor:
    """The flat position (b, n) of the first feature of the blocks `number` (b, n); see
    `block_numbers`."""
    _, height, width = image_shape(event)
    side = side.view(-1, 1)
    rows, columns = -(-height // side), -(-width // side)
    channel, place = number // (rows * columns), number % (rows * columns)
    return (channel * height + place // columns * side) * width + place % columns * side


def block_count(event: Sequence[int], side: Tensor) -> Tensor:
    """How many blocks of this side (b,) an input has, (b,)."""
    channels, height, width = image_shape(event)
    return channels * -(-height // side) * -(-width // side)


def check_ball(threat: Threat, exponents: Collection[float], attack: str) -> None:
    """Refuses threats other than balls of these exponents and of finite radius.

    Raises:
        UnsupportedThreat: another threat.
        InputError: an infinite radius.
    """
    if getattr(threat, "p", None) not in exponents:
        wanted = " or ".join(_NAMES[p] for p in exponents)
        raise UnsupportedThreat(
            f"{attack} does not search {threat}; give {wanted}, or use Square or SPSA"
        )
    if not isinstance(threat.reach, Tensor) and math.isinf(threat.reach):
        raise InputError("radius", threat.reach, f"is none {attack} fills", "give a finite radius")
