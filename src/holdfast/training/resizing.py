"""Images of another size: the whole set resized, and squares cut at random and resized.

A random square covers 8 to 100 % of the image's area, and its sides differ by a factor of 3/4 to
4/3 before it is resized; one that does not fit is shrunk until it does.

Source: Szegedy et al. 2014, arXiv:1409.4842 (random area and aspect ratio), as in Wong 2020, sec
    4.2.3.
Departures: in the published code a window that does not fit is drawn again, up to ten times.
"""

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from holdfast.core.errors import InputError, described
from holdfast.core.random import Keys
from holdfast.data.images import ImageData
from holdfast.data.streaming import StreamedData, scaled

AREA = (0.08, 1.0)
RATIO = (3 / 4, 4 / 3)
_CHUNK = 256


def resized(data: ImageData, side: int) -> ImageData:
    """The images with their shorter side brought to so many pixels; bilinear, antialiased. Those
    that are streamed stay in their files.

    Raises:
        InputError: no images.
    """
    _check(data.images)
    height, width = data.shape[-2:]
    ratio = side / min(height, width)
    size = (max(1, round(height * ratio)), max(1, round(width * ratio)))
    if size == (height, width):
        return data
    if isinstance(data, StreamedData):
        return data.resized(size)
    images = torch.empty(*data.images.shape[:2], *size, dtype=data.images.dtype, device=data.device)
    for start in range(0, len(data), _CHUNK):
        images[start : start + _CHUNK] = scaled(data.images[start : start + _CHUNK], size)
    return replace(data, images=images)


def random_resized_crop(x: Tensor, keys: Keys, side: int) -> Tensor:
    """Windows of random place, area and ratio, brought to (B, C, side, side); bilinear.

    Args:
        x: (B, C, H, W).
        keys: of the examples.

    Guarantee: a function of each image and its key; values stay within those of the image.
    """
    _check(x)
    height, width = x.shape[-2:]
    draw = keys.fold("crop").uniform((4,)).to(x)
    area = (AREA[0] + (AREA[1] - AREA[0]) * draw[:, 0]) * height * width
    low, high = (math.log(each) for each in RATIO)
    ratio = (low + (high - low) * draw[:, 1]).exp()
    wide = (area * ratio).sqrt().clamp(1, width)
    tall = (area / ratio).sqrt().clamp(1, height)
    left, top = draw[:, 2] * (width - wide), draw[:, 3] * (height - tall)
    steps = (torch.arange(side, device=x.device, dtype=x.dtype) + 0.5) / side
    across = 2 * (left[:, None] + steps * wide[:, None]) / width - 1
    down = 2 * (top[:, None] + steps * tall[:, None]) / height - 1
    grid = torch.stack(
        [across[:, None, :].expand(-1, side, -1), down[:, :, None].expand(-1, -1, side)], dim=-1
    )
    return grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _check(images: Any) -> None:
    if images.ndim != 4:
        shown = described(f"a tensor of shape {tuple(images.shape)}")
        raise InputError("training.phases", shown, "is no batch of images", "leave sizes out")
