"""Warping images: where each pixel of a moved image comes from, and bilinear interpolation there.

A point p of an image goes to  q = s R(a) F p + t,  measured from the centre of the image: flipped
left to right (F), rotated counter-clockwise by a, scaled by s, shifted by t. The moved image at q
is the image at p, so each pixel looks up

    p = F R(-a) (q - t) / s,     image(p) = sum over the four neighbours of their value times
                                            (1 - |distance in rows|) (1 - |distance in columns|)

One interpolation serves all of it, so nothing is blurred twice. Coordinates are in pixels and not
scaled to [-1, 1], so the identity, flips and whole-pixel shifts give the values of the image bit by
bit. Nothing is smoothed before it shrinks.

Source: Jaderberg et al. 2015, arXiv:1506.02025, sec 3.2 and 3.3 (the differentiable warp); Engstrom
    et al. 2019, arXiv:1712.02779, sec 3 (rotation about the centre, then translation).
"""

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import grid_sample, pad

Padding = Literal["zeros", "border", "reflect"]


def sources(
    angle: Tensor, shift_x: Tensor, shift_y: Tensor, scale: Tensor, flip: Tensor, like: Tensor
) -> tuple[Tensor, Tensor]:
    """Where each pixel of the moved images comes from, as (rows, columns), each (B, H, W).

    Args:
        angle: degrees, counter-clockwise as the image is shown (row 0 on top); all are (B,).
        shift_x: pixels to the right.
        shift_y: pixels downwards.
        scale: above 1 enlarges.
        flip: bool, mirrored left to right before all else.
        like: (B, C, H, W), whose size counts.

    Example:
        >>> zero, one = torch.zeros(1), torch.ones(1)
        >>> rows, columns = sources(zero, one, zero, one, zero > 0, torch.zeros(1, 1, 2, 3))
        >>> columns[0, 0]
        tensor([-1.,  0.,  1.])
    """
    height, width = like.shape[-2:]
    radians = angle * (math.pi / 180)
    cos, sin = (f(radians).view(-1, 1, 1) for f in (torch.cos, torch.sin))
    scale, mirror = scale.view(-1, 1, 1), torch.where(flip, -1.0, 1.0).to(angle).view(-1, 1, 1)
    middle_y, middle_x = (height - 1) / 2, (width - 1) / 2
    y = (_count_to(height, angle) - middle_y).view(1, -1, 1) - shift_y.view(-1, 1, 1)
    x = (_count_to(width, angle) - middle_x).view(1, 1, -1) - shift_x.view(-1, 1, 1)
    rows = (cos * y + sin * x) / scale + middle_y
    columns = mirror * ((cos * x - sin * y) / scale) + middle_x
    return rows, columns


def _count_to(count: int, like: Tensor) -> Tensor:
    return torch.arange(count, device=like.device, dtype=like.dtype)


def bilinear(x: Tensor, rows: Tensor, columns: Tensor, padding: Padding = "zeros") -> Tensor:
    """The values of images at points between their pixels, (B, C, H', W').

    Args:
        x: (B, C, H, W), in the dtype of the coordinates.
        rows: (B, H', W'), 0 at the middle of the first row.
        columns: the same.
        padding: what lies outside: zeros; the border pixel; or the mirror image about the border
            pixels, which are not repeated.

    Guarantee: exact at whole coordinates; a convex combination of pixels (and 0, for zeros);
        differentiable in x and, almost everywhere, in the coordinates.
    Cost: a copy and one call of `grid_sample`. That counts from -1 to 1, so the image is first
        extended by zeros to sides of 2^k + 1 pixels, where the change of units rounds nothing.
    """
    height, width = x.shape[2:]
    tall, wide = _side(height), _side(width)
    extended = pad(x, (0, wide - width, 0, tall - height))
    rows, columns = _inside(rows, height, padding), _inside(columns, width, padding)
    places = torch.stack([columns * (2 / (wide - 1)) - 1, rows * (2 / (tall - 1)) - 1], dim=-1)
    return grid_sample(extended, places, align_corners=True)


def _side(count: int) -> int:
    """The smallest 2^k + 1 that is at least `count`."""
    return 2 ** max(count - 2, 0).bit_length() + 1


def _inside(place: Tensor, count: int, padding: Padding) -> Tensor:
    """Places outside of an axis, where the padding finds their value; within [0, count - 1] but for
    zeros."""
    if padding == "zeros":
        return place
    if padding == "border" or count == 1:
        return place.clamp(0, count - 1)
    folded = place.remainder(2.0 * (count - 1))
    return torch.where(folded > count - 1, 2.0 * (count - 1) - folded, folded)
