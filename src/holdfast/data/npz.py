"""NumPy archives: `x` and `y`, or `images` and `labels`, or `x_train`, `y_train`, `x_test` ...

Pixels are uint8 from 0 to 255, or floats in [0, 1]. Images may come as (N, H, W) bytes, as
(N, C, H, W), or with the channels last; floats of any other number of axes are inputs as they are.
Nothing pickled is ever opened.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from holdfast.core.errors import InputError, described
from holdfast.data.checks import Box, check_inputs, check_labels
from holdfast.data.images import Arrays

_CHANNELS = (1, 3, 4)


def load_npz(path: Path, split: str) -> Arrays:
    """The examples of a split; of the whole archive where it knows no splits.

    Raises:
        InputError: the file is missing, truncated, not an archive, holds pickles, lacks the
            arrays, or holds inputs or labels that cannot be used.
    """
    try:
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise InputError("data", str(path), "is no archive", "write it with np.savez")
            keys = _keys(archive.files, split, str(path))
            x, y = archive[keys[0]], archive[keys[1]]
    except FileNotFoundError:
        raise InputError("data", str(path), "is not there", "check the path") from None
    except InputError:
        raise
    except Exception as cause:  # foreign bytes: NumPy and zipfile raise whatever they run into
        if "pickle" in str(cause).lower():
            problem, remedy = "holds pickled objects", "write plain arrays with np.savez"
        else:
            problem = f"cannot be read as .npz ({type(cause).__name__})"
            remedy = "write it again with np.savez"
        raise InputError("data", str(path), problem, remedy) from cause
    split = split if keys[0].endswith(f"_{split}") else "all"
    images = to_inputs(x, argument=keys[0])
    labels = check_labels(to_tensor(y, argument=keys[1]), rows=len(images), argument=keys[1])
    return Arrays(images=images, labels=labels, split=split)


def to_inputs(x: Any, *, box: Box | None = (0.0, 1.0), argument: str = "x") -> Tensor:
    """Pixels in the library's layout: uint8 (N, C, H, W), or float32 (N, *E) in the box.

    Arrays with the channels last are turned, tensors are not; bytes (N, H, W) get a channel.

    Raises:
        InputError: as `check_inputs`; bytes that are not images.
    """
    images = to_tensor(x, argument=argument)
    if not isinstance(x, Tensor):
        images = _channels_first(images)
    if images.dtype != torch.uint8:
        return check_inputs(images, box, argument=argument)
    if images.ndim == 3:
        images = images[:, None]
    if images.ndim != 4 or images.numel() == 0:
        shape = described(f"bytes of shape {tuple(images.shape)}")
        raise InputError(argument, shape, "are no images", "give (N, C, H, W) or floats")
    return images


def to_tensor(values: Any, *, argument: str) -> Tensor:
    """A tensor of these values, with memory of its own where they are NumPy's.

    Raises:
        InputError: values that are not numbers.
    """
    if isinstance(values, Tensor):
        return values.detach()
    array = np.array(values, copy=True, order="C")
    if array.dtype.kind not in "buif" or array.dtype.itemsize > 8:
        shown = described(f"an array of type {array.dtype}")
        raise InputError(argument, shown, "is not numbers", "give uint8, int64 or float32")
    return torch.from_numpy(array.astype(array.dtype.newbyteorder("="), copy=False))


def _channels_first(images: Tensor) -> Tensor:
    """Arrays (N, H, W, C) as (N, C, H, W)."""
    last = images.ndim == 4 and images.shape[3] in _CHANNELS and images.shape[1] not in _CHANNELS
    return images.permute(0, 3, 1, 2).contiguous() if last else images


def _keys(present: list[str], split: str, where: str) -> tuple[str, str]:
    pairs = [(f"x_{split}", f"y_{split}"), (f"images_{split}", f"labels_{split}")]
    pairs += [("x", "y"), ("images", "labels")]
    for x, y in pairs:
        if x in present and y in present:
            return x, y
    problem = f"has the arrays {', '.join(present) or 'none'}"
    raise InputError("data", where, problem, f"give x and y, or x_{split} and y_{split}")
