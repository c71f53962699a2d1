"""IDX, the format of MNIST: a big-endian header of sizes, then the values; plain or gzipped.

Header: two zero bytes, a type code, the number of axes, then one 32-bit size per axis.
Source: LeCun, Cortes and Burges, The MNIST database, section "File formats".
"""

import gzip
import math
import struct
import zlib
from io import BufferedIOBase
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from holdfast.core.errors import InputError
from holdfast.data.checks import check_labels
from holdfast.data.images import Arrays

_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_PREFIX = {"train": "train", "test": "t10k"}
_AGAIN = "fetch the file again"


def read_idx(path: Path | str) -> Tensor:
    """The values of an IDX file, in its shape and type.

    Raises:
        InputError: the file is missing, is not IDX, or is shorter or longer than its header says.
    """
    path = Path(path)
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rb") as file:
            kind, shape = _header(file.read(4), file.read(4 * 255), path)
            size = math.prod(shape) * kind.itemsize
            file.seek(4 + 4 * len(shape))
            content = _read(file, size + 1)
    except FileNotFoundError:
        raise InputError("data", str(path), "is not there", "check the path") from None
    except (OSError, EOFError, zlib.error) as cause:
        reason = f"cannot be read ({type(cause).__name__})"
        raise InputError("data", str(path), reason, _AGAIN) from cause
    if len(content) != size:
        problem = "is shorter than its header says" if len(content) < size else "is too long"
        raise InputError("data", str(path), problem, _AGAIN)
    values = np.frombuffer(content, dtype=kind).reshape(shape)
    return torch.from_numpy(values.astype(kind.newbyteorder("=")))


def find_idx(folder: Path, split: str) -> tuple[Path, Path] | None:
    """The files of images and labels of a split in this folder; None where there are no images.

    Raises:
        InputError: images without labels.
    """
    images = _file(folder, split, "images", 3)
    if images is None:
        return None
    labels = _file(folder, split, "labels", 1)
    if labels is None:
        raise InputError("data", str(images), "has no file of labels beside it", "add it")
    return images, labels


def load_idx(images: Path, labels: Path, split: str) -> Arrays:
    """Images (N, 1, H, W) and labels of one split.

    Raises:
        InputError: as `read_idx`; not images and labels; numbers that differ.
    """
    x, y = read_idx(images), read_idx(labels)
    if x.dtype != torch.uint8 or x.ndim != 3 or len(x) == 0:
        raise InputError("data", str(images), "holds no grey images", "give bytes of (N, H, W)")
    if y.dtype != torch.uint8 or y.ndim != 1:
        raise InputError("data", str(labels), "holds no labels", "give bytes of (N,)")
    if len(x) != len(y):
        problem = f"has {len(y)} labels for {len(x)} images"
        raise InputError("data", str(labels), problem, "fetch both files again")
    return Arrays(images=x[:, None], labels=check_labels(y), split=split)


def _file(folder: Path, split: str, what: str, axes: int) -> Path | None:
    if split not in _PREFIX:
        return None
    for mark in ("-", "."):
        for end in ("", ".gz"):
            path = folder / f"{_PREFIX[split]}-{what}{mark}idx{axes}-ubyte{end}"
            if path.is_file():
                return path
    return None


def _read(file: BufferedIOBase, size: int) -> bytes:
    """At most `size` bytes, in parts: a false header must not claim memory."""
    parts: list[bytes] = []
    while size > 0 and (part := file.read(min(size, 1 << 24))):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _header(magic: bytes, rest: bytes, path: Path) -> tuple[np.dtype[np.generic], tuple[int, ...]]:
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _TYPES or magic[3] == 0:
        raise InputError("data", str(path), "does not begin as IDX does", _AGAIN)
    axes = magic[3]
    if len(rest) < 4 * axes:
        raise InputError("data", str(path), "ends within its header", _AGAIN)
    return np.dtype(_TYPES[magic[2]]), struct.unpack(f">{axes}I", rest[: 4 * axes])
