"""Parquet files of images in the Hugging Face layout.

One column holds the encoded image, as a struct `{bytes, path}` or as plain binary, named `img` or
`image`; another the class number, named `label` (or `fine_label`). The classes' names stand in the
schema's metadata.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from holdfast.core.errors import InputError, described
from holdfast.data.checks import check_labels, check_limit
from holdfast.data.decode import decode_all, is_jpeg
from holdfast.data.images import Arrays

_IMAGES = ("img", "image")
_LABELS = ("label", "fine_label")


def find_parquet(folder: Path, split: str) -> list[Path]:
    """The files of a split in this folder, in order: `test.parquet`, or shards `test-0000...`.

    Raises:
        InputError: a shard is missing.
    """
    whole = folder / f"{split}.parquet"
    if whole.is_file():
        return [whole]
    shards = sorted(folder.glob(f"{split}-*.parquet"))
    numbered = re.search(r"-of-(\d+)\.parquet$", shards[0].name) if shards else None
    if numbered and len(shards) != int(numbered[1]):
        problem = f"has {len(shards)} of its {int(numbered[1])} shards"
        raise InputError("data", str(folder / split), problem, "fetch the missing files")
    return shards


def load_parquet(paths: Sequence[Path], split: str, limit: int | None = None) -> Arrays:
    """The images and labels of these files, one after the other.

    Args:
        limit: decode the first so many only.

    Raises:
        InputError: a file is missing, truncated or not parquet; a column is missing; an image
            cannot be decoded; too large a limit.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        files = [pq.ParquetFile(path) for path in paths]
        total = sum(file.metadata.num_rows for file in files)
        if total == 0:
            raise InputError("data", str(paths[0]), "is empty", "give at least one example")
        wanted = total if limit is None else check_limit(limit, total)
        columns = _columns(files[0].schema_arrow.names, str(paths[0]))
        table = pa.Table.from_batches(_first(files, list(columns), wanted))
        labels = [label for file in files for label in _labels(file, columns[1])]
    except FileNotFoundError as cause:
        raise InputError("data", str(paths[0]), "is not there", "check the path") from cause
    except (pa.ArrowException, OSError) as cause:
        reason = f"cannot be read as parquet ({type(cause).__name__})"
        raise InputError("data", str(paths[0]), reason, "fetch the file again") from cause
    arrays = from_table(table, files[0].schema_arrow.metadata, split, str(paths[0]))
    return replace(arrays, classes=int(max(labels)) + 1)


def from_table(table: Any, metadata: dict[bytes, bytes] | None, split: str, where: str) -> Arrays:
    """The images and labels of an Arrow table; `metadata` is that of its schema.

    Raises:
        InputError: as `load_parquet`.
    """
    images, labels = _columns(table.column_names, where)
    cells = [_bytes(cell) for cell in table.column(images).to_pylist()]
    numbers = table.column(labels).to_pylist()
    encoded = [cell for cell in cells if cell is not None]
    if not cells:
        raise InputError("data", where, "is empty", "give at least one example")
    if len(encoded) < len(cells) or None in numbers:
        row = (cells if None in cells else numbers).index(None)
        raise InputError("data", where, f"lacks the image or label of row {row}", "remove the row")

    def read(row: int) -> tuple[bytes, str]:
        return encoded[row], f"row {row} of {where}"

    return Arrays(
        images=decode_all(read, len(encoded)),
        labels=check_labels(_numbers(numbers, where)),
        names=_names(metadata, labels),
        split=split,
        jpeg=is_jpeg(encoded[0]),
    )


def _first(files: Sequence[Any], columns: list[str], wanted: int) -> list[Any]:
    """The record batches that hold the first rows."""
    found: list[Any] = []
    for file in files:
        for batch in file.iter_batches(batch_size=4096, columns=columns):
            found.append(batch.slice(0, wanted))
            wanted -= found[-1].num_rows
            if wanted == 0:
                return found
    return found


def _labels(file: Any, column: str) -> list[Any]:
    """All labels of a file, for the number of classes must not depend on a limit."""
    values = file.read(columns=[column]).column(column).to_pylist()
    return [value for value in values if isinstance(value, int | float)]


def _columns(present: Sequence[str], where: str) -> tuple[str, str]:
    images = next((name for name in _IMAGES if name in present), None)
    labels = next((name for name in _LABELS if name in present), None)
    if images is None or labels is None:
        problem = f"has the columns {', '.join(present)}"
        raise InputError("data", where, problem, "give `image` (or `img`) and `label`")
    return images, labels


def _bytes(cell: Any) -> bytes | None:
    found = cell.get("bytes") if isinstance(cell, dict) else cell
    return found if isinstance(found, bytes) else None


def _numbers(values: list[Any], where: str) -> torch.Tensor:
    if not all(isinstance(value, int) and not isinstance(value, bool) for value in values):
        shown = described(f"the labels of {where}")
        raise InputError("data", shown, "are not whole numbers", "give class numbers from 0")
    return torch.tensor(values, dtype=torch.int64)


def _names(metadata: dict[bytes, bytes] | None, column: str) -> tuple[str, ...] | None:
    """The classes' names from the schema's metadata; None where it has none that can be read."""
    try:
        info = json.loads((metadata or {})[b"huggingface"])["info"]
        return tuple(str(name) for name in info["features"][column]["names"])
    except (KeyError, TypeError, ValueError):
        return None
