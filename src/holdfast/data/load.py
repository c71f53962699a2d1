"""`load_data`: a split of a data set, by its name or by a path."""

import os
from pathlib import Path

import torch

from holdfast.core.errors import unknown_name
from holdfast.data.catalogue import DATASETS
from holdfast.data.checks import check_labels, check_limit
from holdfast.data.find import read_path
from holdfast.data.folder import SPLITS
from holdfast.data.images import Arrays, ImageData
from holdfast.data.splits import whole


def load_data(
    name_or_path: str | Path,
    split: str = "test",
    *,
    data_dir: Path | str | None = None,
    limit: int | None = None,
) -> ImageData:
    """A split of a data set.

    Args:
        name_or_path: a name of `DATASETS`; or a `.npz` file, a `.parquet` file, or a folder of
            IDX files, parquet files or images. A name wins over a folder that is called the same.
        split: data at a path that know no splits are taken whole, whatever is asked for, and
            their `split` then says `all`.
        data_dir: where a named set lies; None: HOLDFAST_DATA, else `../shared/data`, else the hub.
        limit: the first so many examples in stable order.

    Raises:
        InputError: unknown names; missing, truncated or foreign files; a limit out of range.
        MissingExtra: the hub is needed and its client is not installed.

    Example:
        >>> load_data("digits", limit=3)
        ImageData(digits test: 3 x uint8 (1, 8, 8), 10 classes)
    """
    if isinstance(name_or_path, str) and name_or_path in DATASETS:
        data: ImageData = DATASETS[name_or_path].load().load(split, data_dir=data_dir, limit=limit)
        return data
    if isinstance(name_or_path, str) and not _is_path(name_or_path):
        raise unknown_name("data", name_or_path, DATASETS)
    path = Path(name_or_path).expanduser()
    return _named(read_path(path, split, limit), _name(path.resolve()), limit)


def _is_path(text: str) -> bool:
    return os.sep in text or text.endswith((".npz", ".parquet")) or Path(text).exists()


def _name(path: Path) -> str:
    """What the data at a path are called: a split's own file goes by its folder."""
    if path.is_dir():
        return path.name
    return path.parent.name if path.stem in SPLITS else path.stem


def _named(arrays: Arrays, name: str, limit: int | None) -> ImageData:
    """The arrays of a file as data; the labels say how many classes where the file does not."""
    size = len(arrays.images)
    found = arrays.classes or int(arrays.labels.amax()) + 1
    classes = len(arrays.names) if arrays.names else max(2, found)
    data = ImageData(
        images=arrays.images,
        labels=check_labels(arrays.labels, classes, rows=size),
        index=whole(size),
        classes=classes,
        names=arrays.names or tuple(str(each) for each in range(classes)),
        name=name,
        split=arrays.split,
        scale=255 if arrays.images.dtype == torch.uint8 else 1,
    )
    return data if limit is None else data.first(check_limit(limit, size))
