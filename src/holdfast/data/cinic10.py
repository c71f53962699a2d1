"""CINIC-10: CIFAR-10 with down-sampled ImageNet images of its ten classes, from local files.

    DATA_DIR/cinic10/{train,valid,test}/CLASS/{cifar10-ORIGIN-NUMBER,nWNID_NUMBER}.png

The official splits have 90,000 images each; "enlarged" training data are train and valid together,
180,000. Two ninths of every split are images of CIFAR-10; its whole test set lies in the test
split, so that training on train and valid leaks nothing into it (`origins` counts).

Source: Darlow, Crowley, Antoniou and Storkey 2018, arXiv:1810.03505; Zhang 2019, sec 3.1 and 5.2.
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import torch

from holdfast.core.errors import InputError, unknown_name
from holdfast.data.checks import check_limit
from holdfast.data.decode import decode_all
from holdfast.data.find import data_folder
from holdfast.data.folder import StreamedFolder
from holdfast.data.images import ImageData
from holdfast.data.sets import CIFAR10
from holdfast.data.splits import evenly, whole

NAMES = CIFAR10.names
SPLITS = ("train", "valid", "test", "train+valid")
_SIDE = 32


@dataclass(frozen=True, kw_only=True)
class Cinic10:
    """The set, or the part of it that comes from ImageNet.

    Args:
        name: how users call it.
        enlarged: whether `train` is train and valid together.
        origin: `imagenet` leaves out the images of CIFAR-10.
    """

    name: str
    enlarged: bool = False
    origin: Literal["all", "imagenet"] = "all"
    splits: ClassVar[tuple[str, ...]] = SPLITS
    names: ClassVar[tuple[str, ...]] = NAMES

    def load(
        self, split: str = "test", *, data_dir: Path | str | None = None, limit: int | None = None
    ) -> ImageData:
        """A split, decoded into memory; labels are those of CIFAR-10.

        Args:
            split: `train`, `valid`, `test` or `train+valid`.
            data_dir: as `find.data_folder` says.
            limit: so many examples, spread evenly over the classes.

        Raises:
            InputError: an unknown split; no such folder; other classes or sizes; a bad limit.
        """
        files = self.files(split, data_dir)
        count = len(files) if limit is None else check_limit(limit, len(files))
        chosen = [files[row] for row in evenly(len(files), count).tolist()]
        images = decode_all(lambda row: (chosen[row][0], str(chosen[row][0])), len(chosen))
        if tuple(images.shape[1:]) != (3, _SIDE, _SIDE):
            problem = f"is stored with images of shape {tuple(images.shape[1:])}"
            raise InputError("data", self.name, problem, "give the files of 32x32 pixels")
        return ImageData(
            images=images,
            labels=torch.tensor([label for _, label in chosen]),
            index=whole(len(chosen)),
            classes=len(NAMES),
            names=NAMES,
            name=self.name,
            split=split,
        )

    def files(self, split: str, data_dir: Path | str | None = None) -> list[tuple[Path, int]]:
        """The image files of a split with their labels, by class and name within each part.

        Raises:
            InputError: as `load`.
        """
        if split not in SPLITS:
            raise unknown_name("split", split, SPLITS)
        root = data_folder(data_dir)
        if root is None or not (root / "cinic10").is_dir():
            remedy = "give --data-dir a folder with cinic10/train/CLASS/*.png"
            where = f"is not in {root}" if root else "is not on this machine"
            raise InputError("data", self.name, where, remedy)
        both = split == "train+valid" or (split == "train" and self.enlarged)
        found: list[tuple[Path, int]] = []
        for part in ("train", "valid") if both else (split,):
            source = StreamedFolder(root / "cinic10", part)
            if source.names != NAMES:
                shown = ", ".join(source.names[:3])
                raise InputError("data", self.name, f"has the classes {shown}, ...", "see cinic10")
            found += source.files
        return [each for each in found if self.origin == "all" or not _of_cifar(each[0])]


def origins(files: list[tuple[Path, int]]) -> Counter[str]:
    """How many files come from `cifar10-train`, `cifar10-test` and `imagenet`, by their names.

    Example:
        >>> origins([(Path("cifar10-train-7.png"), 0), (Path("n0142_3.png"), 0)])
        Counter({'cifar10-train': 1, 'imagenet': 1})
    """
    return Counter(
        "-".join(file.name.split("-")[:2]) if _of_cifar(file) else "imagenet" for file, _ in files
    )


def _of_cifar(file: Path) -> bool:
    return file.name.startswith("cifar10-")


CINIC10 = Cinic10(name="cinic10")
CINIC10_ENLARGED = Cinic10(name="cinic10-enlarged", enlarged=True)
CINIC10_IMAGENET = Cinic10(name="cinic10-imagenet", enlarged=True, origin="imagenet")
