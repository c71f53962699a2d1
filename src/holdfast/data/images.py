"""The one form that data take: inputs, labels, and a stable index for every example.

Images are kept as they were stored, in integer levels of one byte, and become floats in [0, 1] only
for the rows that are asked for. The index names an example for good: its place in the original
split, whatever subset, order or shard it is met in; randomness, cached perturbations and difficulty
are keyed by it.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from holdfast.core.errors import InputError, described
from holdfast.data.checks import check_limit
from holdfast.data.splits import epoch_order

Rows = Tensor | slice | Sequence[int]
Batch = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True, kw_only=True)
class Arrays:
    """What a file held, before it is known which set and split it is.

    Args:
        images: uint8 (N, C, H, W), or float32 (N, *E).
        labels: (N,) int64.
        names: the classes' names where the file gives them.
        classes: how many there are in the whole file, where only part of it was read.
        split: `all` where the file knows no splits.
        jpeg: the images were stored with loss.
        by_name: the classes are numbered in the order of their names.
    """

    images: Tensor
    labels: Tensor
    names: tuple[str, ...] | None = None
    classes: int | None = None
    split: str = "all"
    jpeg: bool = False
    by_name: bool = False


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class ImageData:
    """N examples of one split of one data set, in memory.

    Args:
        images: uint8 (N, C, H, W) levels from 0 to `scale`, or float32 (N, *E) with scale 1.
        labels: (N,) int64, from 0 to `classes` - 1.
        index: (N,) int64, the examples' places in the original split.
        classes: how many classes there are.
        names: the classes' names, one per class.
        name: what `load_data` calls the set, or the name of the file.
        split: `train`, `test`, `val`, `extra`; `all` where the source knows no splits.
        scale: the level that stands for 1.0: 255, 16 (digits) or 1 (floats).
        title: how reports call the set; the name where empty.

    Raises:
        InputError: lengths, types or numbers of names that do not fit each other.
    """

    images: Tensor
    labels: Tensor
    index: Tensor
    classes: int
    names: tuple[str, ...]
    name: str
    split: str
    scale: int = 255
    title: str = ""

    def __post_init__(self) -> None:
        if not self.title:
            object.__setattr__(self, "title", self.name)
        rows = len(self.images)
        for argument, column in (("labels", self.labels), ("index", self.index)):
            found = described(f"{column.dtype} of shape {tuple(column.shape)}")
            if column.shape != (rows,) or column.dtype != torch.int64:
                raise InputError(argument, found, f"does not fit {rows} images", "give (N,) int64")
        if self.images.dtype not in (torch.uint8, torch.float32):
            raise InputError("images", self.images.dtype, "is no type of images", "give float32")
        if len(self.names) != self.classes:
            raise InputError("names", self.names, f"is not {self.classes} names", "name each class")

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        kind = f"{str(self.images.dtype).removeprefix('torch.')} {self.shape}"
        return f"ImageData({self.title} {self.split}: {len(self)} x {kind}, {self.classes} classes)"

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one input."""
        return tuple(self.images.shape[1:])

    @property
    def device(self) -> torch.device:
        """Where the tensors lie."""
        return self.images.device

    def inputs(self, rows: Rows | None = None) -> Tensor:
        """The inputs of these rows (all: None) as float32 in [0, 1], (B, *E).

        Raises:
            InputError: a row that is not there.
        """
        images = self.images if rows is None else self.images[self._rows(rows)]
        if images.dtype == torch.uint8:
            return images.to(torch.float32).div_(self.scale)
        return images

    def select(self, rows: Rows) -> "ImageData":
        """These rows, with their indices: a mask (N,), row numbers, or a slice.

        Raises:
            InputError: a row that is not there.
        """
        chosen = self._rows(rows)
        return replace(
            self,
            images=self.images[chosen],
            labels=self.labels[chosen],
            index=self.index[chosen],
        )

    def first(self, limit: int | None) -> "ImageData":
        """The first `limit` examples in stable order; all for None.

        Raises:
            InputError: `limit` below 1 or above the number of examples.
        """
        return self if limit is None else self.select(slice(check_limit(limit, len(self))))

    def to(self, device: torch.device | str) -> "ImageData":
        """The same examples on another device."""
        return replace(
            self,
            images=self.images.to(device),
            labels=self.labels.to(device),
            index=self.index.to(device),
        )

    def loaded(self) -> "ImageData":
        """The same examples in memory: these, unless they are streamed."""
        return self

    def content_hash(self) -> str:
        """SHA-256 of images, labels and index, in hexadecimal; the same on every device, computed
        once."""
        return self._content

    def batches(
        self,
        batch_size: int,
        *,
        seed: int = 0,
        epoch: int = 0,
        shuffle: bool = False,
        start: int = 0,
        drop_last: bool = False,
    ) -> Iterator[Batch]:
        """Batches (x (B, *E) float32 in [0, 1], y (B,), index (B,)) of one epoch.

        Args:
            seed: of the order; the order is a function of seed and epoch only.
            shuffle: in stable order where false.
            start: how many batches to leave out at the beginning, to resume within an epoch.
            drop_last: leave out a last batch that is smaller.
        """
        size = len(self)
        order = epoch_order(size, seed=seed, epoch=epoch) if shuffle else torch.arange(size)
        for rows in cut(order, batch_size, start=start, drop_last=drop_last):
            rows = rows.to(self.device)
            yield self.inputs(rows), self.labels[rows], self.index[rows]

    @cached_property
    def _content(self) -> str:
        digest = hashlib.sha256()
        for part in (self.images, self.labels, self.index):
            digest.update(f"{part.dtype} {tuple(part.shape)} {self.scale};".encode())
            digest.update(part.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
        return digest.hexdigest()

    def _rows(self, rows: Rows) -> Tensor | slice:
        if isinstance(rows, slice):
            return rows
        rows = torch.as_tensor(rows, device=self.device)
        if rows.dtype == torch.bool:
            if rows.shape == (len(self),):
                return rows
            shape = described(f"a mask of shape {tuple(rows.shape)}")
            raise InputError("rows", shape, "does not fit", f"give a mask of {len(self)}")
        if rows.ndim != 1 or (rows.numel() and (rows.is_floating_point() or rows.is_complex())):
            shape = described(f"{rows.dtype} of shape {tuple(rows.shape)}")
            raise InputError("rows", shape, "are no row numbers", "give (B,) whole numbers")
        if rows.numel() and not (rows.amin() >= 0 and rows.amax() < len(self)):
            found = described(f"rows {int(rows.amin())} to {int(rows.amax())}")
            raise InputError("rows", found, "are not all there", f"give 0 to {len(self) - 1}")
        return rows.to(torch.int64)


def cut(order: Tensor, batch_size: int, *, start: int = 0, drop_last: bool = False) -> list[Tensor]:
    """The rows of each batch of an epoch, from batch `start`.

    Raises:
        InputError: `batch_size` below 1, or `start` below 0.
    """
    if batch_size < 1:
        raise InputError("batch_size", batch_size, "is below 1", "give a whole number from 1")
    if start < 0:
        raise InputError("start", start, "is negative", "give a number of batches from 0")
    parts = list(torch.split(order, batch_size))
    if drop_last and parts and len(parts[-1]) < batch_size:
        parts.pop()
    return parts[start:]
