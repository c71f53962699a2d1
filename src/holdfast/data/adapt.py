"""`as_data`: whatever a user has at hand, as `ImageData`.

A `DataLoader` is read once, in the order that it gives, and an example's index is its place in that
order; the state of the global random generators is put back afterwards.
"""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from holdfast.core.errors import InputError, described
from holdfast.data.checks import Box, check_inputs, check_labels, check_limit
from holdfast.data.images import ImageData
from holdfast.data.load import load_data
from holdfast.data.npz import to_inputs, to_tensor
from holdfast.data.splits import whole

_REMEDY = "give (x, y) tensors, a Dataset, a DataLoader, a name, or a path"


def as_data(
    obj: Any,
    *,
    limit: int | None = None,
    device: torch.device | str | None = None,
    box: Box | None = (0.0, 1.0),
    split: str = "test",
    data_dir: Path | str | None = None,
    classes: int | None = None,
) -> ImageData:
    """The data as `ImageData`, checked.

    Args:
        obj: a pair (x, y) of tensors or arrays; a torch Dataset of such pairs; a DataLoader; a
            name or a path (`load_data`); an ImageData. Inputs are floats (N, *E), or uint8
            (N, C, H, W) in levels from 0 to 255.
        limit: the first so many examples.
        device: where the result lies; None: where it is.
        box: the range of valid inputs; None: any finite value.
        split: of a name or a path.
        data_dir: where named sets lie.
        classes: how many classes; None: as the data say, else the largest label + 1 (of a loader:
            of what the limit lets be read).

    Raises:
        InputError: an object of another kind; empty data; inputs that are NaN, infinite or
            outside the box; labels that are not classes; numbers that differ; a bad limit.

    Example:
        >>> as_data((torch.full((3, 5), 0.5), torch.tensor([0, 2, 1])))
        ImageData(tensors all: 3 x float32 (5,), 3 classes)
    """
    if limit is not None:
        check_limit(limit, sys.maxsize)
    if isinstance(obj, str | Path):
        data = load_data(obj, split, data_dir=data_dir, limit=limit)
    elif isinstance(obj, ImageData):
        data = obj.first(limit)
    else:
        data = _from_pair(*_pair(obj, limit), limit, box, _names(obj), classes)
    if data.images.dtype == torch.float32:
        check_inputs(data.images, box)
    elif box is not None and not (box[0] <= 0 and box[1] >= 1):
        raise InputError("box", box, "does not hold images in [0, 1]", "leave it at (0, 1)")
    if classes is not None and classes != data.classes:
        check_labels(data.labels, classes)
        data = replace(data, classes=classes, names=tuple(map(str, range(classes))))
    return data if device is None else data.to(device)


def _from_pair(
    x: Any,
    y: Tensor,
    limit: int | None,
    box: Box | None,
    names: tuple[str, ...] | None,
    classes: int | None,
) -> ImageData:
    largest = int(y.amax()) if y.numel() and not y.is_complex() else 0
    if limit is not None and x.ndim and len(x) and y.shape == x.shape[:1]:
        x, y = x[: check_limit(limit, len(x))], y[:limit]
    images = to_inputs(x, box=box)
    labels = check_labels(y, classes, rows=len(images)).to(images.device)
    count = classes or max(2, largest + 1)
    if names is not None and classes is None and len(names) >= count:
        count = len(names)
    else:
        names = tuple(map(str, range(count)))
    return ImageData(
        images=images,
        labels=labels,
        index=whole(len(images)).to(images.device),
        classes=count,
        names=names,
        name="tensors",
        split="all",
        scale=255 if images.dtype == torch.uint8 else 1,
    )


def _pair(obj: Any, limit: int | None) -> tuple[Any, Tensor]:
    """Inputs and labels of a pair, a Dataset or a DataLoader."""
    if isinstance(obj, TensorDataset):
        obj = obj.tensors
    if isinstance(obj, tuple | list):
        if len(obj) != 2:
            shown = described(f"{len(obj)} items")
            raise InputError("data", shown, "are not a pair of inputs and labels", "give (x, y)")
        return _numbers(obj[0]), to_tensor(obj[1], argument="y")
    if isinstance(obj, DataLoader):
        with torch.random.fork_rng(devices=[]):
            return _collect((_two(batch) for batch in obj), limit)
    if isinstance(obj, Dataset) or (hasattr(obj, "__getitem__") and hasattr(obj, "__len__")):
        with torch.random.fork_rng(devices=[]):
            return _collect((_example(item) for item in _items(obj)), limit)
    raise InputError("data", described(type(obj).__name__), "is no kind of data", _REMEDY)


def _collect(batches: Iterable[tuple[Tensor, Tensor]], limit: int | None) -> tuple[Tensor, Tensor]:
    """All batches as one, read only as far as the limit needs."""
    inputs: list[Tensor] = []
    labels: list[Tensor] = []
    have = 0
    for x, y in batches:
        if inputs and (x.shape[1:] != inputs[0].shape[1:] or x.dtype != inputs[0].dtype):
            shown = described(f"{x.dtype} of shape {tuple(x.shape[1:])} after {have} examples")
            first = f"{inputs[0].dtype} of shape {tuple(inputs[0].shape[1:])}"
            raise InputError("x", shown, f"differs from the first, {first}", "make them equal")
        if len(x) != len(y):
            shown = described(f"{len(y)} labels")
            raise InputError("y", shown, f"do not fit {len(x)} inputs", "give one label each")
        inputs.append(x)
        labels.append(y)
        have += len(x)
        if limit is not None and have >= limit:
            break
    if not inputs:
        raise InputError("data", described("no examples"), "is empty", "give at least one example")
    return torch.cat(inputs), torch.cat(labels)


def _numbers(x: Any) -> Any:
    """An array as it is, anything else as a tensor."""
    return x if isinstance(x, np.ndarray) and x.ndim else to_tensor(x, argument="x")


def _items(dataset: Any) -> Iterator[Any]:
    """The items in order, each read once."""
    if isinstance(dataset, IterableDataset):
        return iter(dataset)
    return (dataset[row] for row in range(len(dataset)))


def _two(item: Any) -> tuple[Tensor, Tensor]:
    if not isinstance(item, tuple | list) or len(item) != 2:
        shown = described(f"items of type {type(item).__name__}")
        raise InputError("data", shown, "are not pairs of input and label", "give (x, y)")
    return to_tensor(item[0], argument="x"), to_tensor(item[1], argument="y")


def _example(item: Any) -> tuple[Tensor, Tensor]:
    """One example of a Dataset, as a batch of one."""
    x, y = _two(item)
    if y.ndim != 0:
        shown = described(f"a label of shape {tuple(y.shape)}")
        raise InputError("y", shown, "is not one number", "give a class number per example")
    return x[None], y[None]


def _names(obj: Any) -> tuple[str, ...] | None:
    """The classes' names, where a Dataset tells them as torchvision's do."""
    source = obj.dataset if isinstance(obj, DataLoader) else obj
    names = getattr(source, "classes", None) or getattr(source, "names", None)
    if isinstance(names, list | tuple | np.ndarray) and all(isinstance(n, str) for n in names):
        return tuple(names)
    return None
