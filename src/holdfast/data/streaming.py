"""Images that stay in their files: decoded on threads, batch by batch, as they are asked for.

`stream_folder` gives a folder of images the form that all data take, without a copy in memory. The
examples, their order and their indices are those of `load_folder`, and so is every pixel: whatever
is keyed by example, augmentation included, does not notice.
"""

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from holdfast.core.errors import InputError
from holdfast.data.checks import check_limit
from holdfast.data.decode import ResizeCrop
from holdfast.data.folder import StreamedFolder
from holdfast.data.images import ImageData, Rows
from holdfast.data.splits import whole

_CPU = torch.device("cpu")


@dataclass(frozen=True, eq=False)
class Files:
    """The pixels of image files, as if they were one uint8 tensor (N, C, H, W).

    Args:
        source: knows the files, and decodes one.
        rows: (N,) which of its examples these are.
        sizes: (H, W) to which every image is brought, one after the other.
        device: where decoded batches are handed over.
    """

    source: StreamedFolder
    rows: Tensor
    sizes: tuple[tuple[int, int], ...] = ()
    device: torch.device = _CPU
    dtype: torch.dtype = torch.uint8

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, rows: Rows) -> Tensor:
        return self.begin(rows).result()

    @property
    def shape(self) -> tuple[int, ...]:
        """As of a tensor: (N, C, H, W)."""
        channels, height, width = self.source.shape
        return (len(self), channels, *(self.sizes[-1] if self.sizes else (height, width)))

    @property
    def ndim(self) -> int:
        """Four."""
        return len(self.shape)

    def begin(self, rows: Rows) -> "Decoding":
        """Starts to decode these rows; the call returns at once."""
        chosen = self.rows[rows.cpu() if isinstance(rows, Tensor) else rows]
        pending = [_pool().submit(self._decoded, int(row)) for row in chosen]
        return Decoding(pending, self.shape[1:], self.device)

    def _decoded(self, row: int) -> Tensor:
        """One image, (1, C, H, W), on a thread."""
        image = self.source[row][0][None]
        for size in self.sizes:
            image = scaled(image, size)
        return image


@dataclass(frozen=True, eq=False)
class Decoding:
    """Images on their way from files.

    Args:
        pending: of each, (1, C, H, W).
        shape: (C, H, W) of each.
        device: where they are handed over.
    """

    pending: Sequence[Future[Tensor]]
    shape: tuple[int, ...]
    device: torch.device

    def result(self) -> Tensor:
        """The images, uint8 (B, C, H, W), once all are there.

        Raises:
            InputError: a file that cannot be read, or has another size than the first.
        """
        images = torch.empty(len(self.pending), *self.shape, dtype=torch.uint8)
        for place, each in enumerate(self.pending):
            images[place] = each.result()[0]
        if self.device.type == "cpu":
            return images
        return images.pin_memory().to(self.device, non_blocking=True)

    def cancel(self) -> None:
        """Gives up what has not begun."""
        for each in self.pending:
            each.cancel()


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class StreamedData(ImageData):
    """Examples whose images stay in their files.

    `inputs` decodes; `select`, `first`, `to` and `resized` read nothing.

    Args:
        images: the files.

    Guarantee: `inputs` gives the bits that the same examples in memory would give.
    Cost: a decoded image per example asked for, on as many threads as there are cores.
    """

    images: Any

    def inputs(self, rows: Rows | None = None) -> Tensor:
        """The inputs of these rows (all: None), decoded now, as float32 in [0, 1], (B, *E).

        Raises:
            InputError: a row that is not there, a file that cannot be read.
        """
        return super().inputs(slice(None) if rows is None else rows)

    def select(self, rows: Rows) -> "StreamedData":
        """These rows, with their indices; no file is read.

        Raises:
            InputError: a row that is not there.
        """
        chosen = self._rows(rows)
        at = chosen.cpu() if isinstance(chosen, Tensor) else chosen
        return replace(
            self,
            images=replace(self.images, rows=self.images.rows[at]),
            labels=self.labels[chosen],
            index=self.index[chosen],
        )

    def to(self, device: torch.device | str) -> "StreamedData":
        """The same examples, handed over on another device."""
        place = torch.device(device)
        files = replace(self.images, device=place)
        return replace(self, images=files, labels=self.labels.to(place), index=self.index.to(place))

    def resized(self, size: tuple[int, int]) -> "StreamedData":
        """The same examples, each brought to (H, W) after it is decoded; bilinear, antialiased."""
        return replace(self, images=replace(self.images, sizes=(*self.images.sizes, size)))

    def loaded(self) -> ImageData:
        """The same examples in memory."""
        return ImageData(
            images=self.images[:],
            labels=self.labels,
            index=self.index,
            classes=self.classes,
            names=self.names,
            name=self.name,
            split=self.split,
            scale=self.scale,
            title=self.title,
        )

    @cached_property
    def _content(self) -> str:
        """Of the files' names and sizes in bytes, in the place of their pixels."""
        digest = hashlib.sha256(f"{self.shape} {self.images.sizes};".encode())
        for row in self.images.rows.tolist():
            file, label = self.images.source.files[row]
            name = f"{file.parent.name}/{file.name}"
            digest.update(f"{row} {name} {file.stat().st_size} {label};".encode())
        return digest.hexdigest()


def stream_folder(
    root: Path | str, split: str = "test", *, square: int | None = None, limit: int | None = None
) -> StreamedData:
    """The images of a folder with one subfolder per class, read when they are asked for.

    Args:
        split: of a folder that has splits, see `StreamedFolder`.
        square: the shorter side is brought to so many pixels and the centre square cut out, for
            images of different sizes; None: they are of one size.
        limit: the first so many examples.

    Raises:
        InputError: as `StreamedFolder`; too large a limit.
    """
    path = Path(root).expanduser()
    prepare = None if square is None else ResizeCrop(resize=square, crop=square)
    source = StreamedFolder(path, split, prepare=prepare)
    count = len(source) if limit is None else check_limit(limit, len(source))
    return StreamedData(
        images=Files(source, whole(count)),
        labels=torch.tensor([label for _, label in source.files[:count]]),
        index=whole(count),
        classes=source.classes,
        names=source.names,
        name=path.resolve().name,
        split=source.split,
    )


def scaled(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Images (B, C, H, W) in another height and width, in their own type; bilinear, antialiased.

    Raises:
        InputError: no images.
    """
    if images.ndim != 4:
        raise InputError("images", tuple(images.shape), "is no batch of images", "give (B,C,H,W)")
    if tuple(images.shape[-2:]) == tuple(size):
        return images
    found = interpolate(images.float(), size=size, mode="bilinear", antialias=True)
    return found.round().to(images.dtype) if images.dtype == torch.uint8 else found


@cache
def _pool() -> ThreadPoolExecutor:
    """The threads that decode, shared by all data of the process."""
    return ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="holdfast-decode")
