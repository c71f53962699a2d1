"""Folders of images: one subfolder per class, in the order of their names; optionally one folder
per split above them.

A `StreamedFolder` knows the files and decodes one when it is asked for; `load_folder` decodes all
of them into memory.
"""

from pathlib import Path

import torch
from torch import Tensor

from holdfast.core.errors import InputError
from holdfast.data.checks import check_limit
from holdfast.data.decode import Prepare, decode, decode_all, fit, is_jpeg
from holdfast.data.images import Arrays

SPLITS = ("train", "test", "val", "valid", "validation", "extra")
_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".tif", ".tiff"}


class StreamedFolder:
    """The images of a folder, each decoded when it is asked for: a source for `Prefetch`.

    Args:
        root: the folder; its subfolders are the classes, or the splits with the classes below.
        split: which split; a folder without splits is taken whole.
        prepare: brings an image to the size of all (such as `ResizeCrop`); None: they have it.

    Guarantee: the order is that of the class names, then of the file names; an example's place in
        it is its stable index.

    Raises:
        InputError: the folder, the split, the classes or the images are missing.
    """

    scale = 255

    def __init__(self, root: Path | str, split: str = "test", *, prepare: Prepare | None = None):
        folder, self.split = _split_folder(Path(root), split)
        self.prepare = prepare
        classes = sorted(each for each in folder.iterdir() if _is_class(each))
        self.names = tuple(each.name for each in classes)
        self.files = [(file, label) for label, each in enumerate(classes) for file in _images(each)]
        if not self.files:
            problem = "holds no images in subfolders"
            raise InputError("data", str(folder), problem, "give one subfolder per class")
        self._shape = decode(self.files[0][0], str(self.files[0][0]), prepare).shape

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        """The pixels (C, H, W) uint8 and the label of one example.

        Raises:
            InputError: no image, or one of another size than the first.
        """
        file, label = self.files[row]
        pixels = fit(decode(file, str(file), self.prepare), self._shape, str(file))
        return torch.from_numpy(pixels.copy()), label

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape (C, H, W) of every image."""
        return self._shape

    @property
    def classes(self) -> int:
        """How many classes there are."""
        return len(self.names)


def load_folder(root: Path, split: str, limit: int | None = None) -> Arrays:
    """The images of a folder, decoded into memory.

    Args:
        limit: decode the first so many only.

    Raises:
        InputError: as `StreamedFolder`; too large a limit.
    """
    source = StreamedFolder(root, split)
    count = len(source) if limit is None else check_limit(limit, len(source))

    def read(row: int) -> tuple[Path, str]:
        return source.files[row][0], str(source.files[row][0])

    return Arrays(
        images=decode_all(read, count),
        labels=torch.tensor([label for _, label in source.files[:count]]),
        names=source.names,
        split=source.split,
        jpeg=is_jpeg(source.files[0][0]),
        by_name=True,
    )


def _split_folder(root: Path, split: str) -> tuple[Path, str]:
    """The folder of the classes, and the name of its split."""
    if not root.is_dir():
        raise InputError("data", str(root), "is not a folder", "check the path")
    present = [name for name in SPLITS if (root / name).is_dir()]
    if not present:
        return root, "all"
    if split not in present:
        problem = f"has no such folder in {root}"
        raise InputError("split", split, problem, f"give one of {', '.join(present)}")
    return root / split, split


def _is_class(folder: Path) -> bool:
    return folder.is_dir() and not folder.name.startswith(".")


def _images(folder: Path) -> list[Path]:
    files = (file for file in folder.iterdir() if file.suffix.lower() in _SUFFIXES)
    return sorted(file for file in files if file.is_file() and not file.name.startswith("."))
