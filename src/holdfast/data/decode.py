"""From image files to pixels: bytes in, uint8 (C, H, W) out, many at a time on threads.

Pillow decodes with the interpreter lock released, so threads are enough. Grey stays one channel,
everything else becomes RGB. All images of a set have the size of its first one.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from holdfast.core.errors import InputError, described
from holdfast.core.recipes import Count, hyperparameters

Prepare = Callable[[Image.Image], Image.Image]
Pixels = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]
_GREY = ("1", "L")
_CHUNK = 64


@hyperparameters
class ResizeCrop:
    """Resize the shorter side, then cut out the centre.

    The classical preprocessing of large photographs. It is a choice of the model and changes what
    a radius means, so it is an explicit argument, never a default.

    Args:
        resize: the shorter side afterwards, in pixels.
        crop: side of the square cut from the centre.
    """

    resize: Count = 256
    crop: Count = 224

    def __post_init__(self) -> None:
        if self.crop > self.resize:
            raise InputError("crop", self.crop, "is above resize", f"give at most {self.resize}")

    def __call__(self, image: Image.Image) -> Image.Image:
        """The prepared image; bilinear, with antialiasing."""
        ratio = self.resize / min(image.size)
        width, height = (round(side * ratio) for side in image.size)
        left, top = (width - self.crop) // 2, (height - self.crop) // 2
        resized = image.resize((width, height), Image.Resampling.BILINEAR)
        return resized.crop((left, top, left + self.crop, top + self.crop))


def decode(source: bytes | Path, where: str, prepare: Prepare | None = None) -> Pixels:
    """The pixels (C, H, W) of one image file; C is 1 for grey, else 3.

    Args:
        where: how an error names the image.

    Raises:
        InputError: the bytes are no image, or a truncated one; the file is missing.
    """
    try:
        with Image.open(BytesIO(source) if isinstance(source, bytes) else source) as image:
            image.load()
            plain = image.convert("L" if image.mode in _GREY else "RGB")
    except Exception as cause:  # foreign bytes: Pillow's readers raise whatever they run into
        reason = f"is not a readable image ({type(cause).__name__})"
        raise InputError("data", described(where), reason, "remove or replace it") from cause
    if prepare is not None:
        plain = prepare(plain)
    pixels = np.asarray(plain, dtype=np.uint8)
    return pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def decode_all(
    read: Callable[[int], tuple[bytes | Path, str]], count: int, prepare: Prepare | None = None
) -> Tensor:
    """All images of a set, uint8 (N, C, H, W).

    Args:
        read: row -> (bytes or path, how an error names it).

    Raises:
        InputError: an image that cannot be read, has another size than the first, or has colours
            where the first has none.
    """
    first = decode(*read(0), prepare)
    images = np.empty((count, *first.shape), dtype=np.uint8)

    def fill(start: int) -> None:
        for row in range(start, min(start + _CHUNK, count)):
            source, where = read(row)
            images[row] = fit(decode(source, where, prepare), first.shape, where)

    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        for _ in pool.map(fill, range(0, count, _CHUNK)):
            pass
    return torch.from_numpy(images)


def fit(pixels: Pixels, shape: tuple[int, ...], where: str) -> Pixels:
    """The pixels in the shape of the set; a grey image joins a set of colour ones."""
    if pixels.shape[1:] != shape[1:]:
        sizes = f"is {_size(pixels.shape)}, the first image {_size(shape)}"
        remedy = "bring all images to one size"
        raise InputError("data", described(where), sizes, remedy)
    if pixels.shape[0] > shape[0]:
        problem = "has colours, the first image has none"
        raise InputError("data", described(where), problem, "make all images grey, or all RGB")
    return np.broadcast_to(pixels, shape)


def is_jpeg(source: bytes | Path) -> bool:
    """Whether a file begins as JPEG does."""
    if isinstance(source, Path):
        with source.open("rb") as file:
            source = file.read(3)
    return source[:3] == b"\xff\xd8\xff"


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[2]}"
