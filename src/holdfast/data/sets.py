"""The named data sets: their classes, shapes, local folders and addresses on the hub."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from holdfast.core.errors import InputError, unknown_name
from holdfast.data.checks import check_labels
from holdfast.data.find import data_folder, read_set
from holdfast.data.hub import Hub, load_hub
from holdfast.data.images import Arrays, ImageData
from holdfast.data.splits import whole

_TENS = tuple(str(digit) for digit in range(10))


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


@dataclass(frozen=True, kw_only=True)
class KnownSet:
    """A published data set.

    Args:
        name: how users call it.
        title: how reports call it.
        shape: (C, H, W) of one image.
        names: of the classes, in the order of the labels.
        folders: what its folder of local files may be called.
        foreign: names of folders that hold another set under the same file names.
        idx: whether it is distributed as IDX files.
        hub: its address, or None where it has none.
        splits: the splits that it has.
        ten_is_zero: whether the label 10 of the original files stands for 0.
    """

    name: str
    title: str
    shape: tuple[int, int, int]
    names: tuple[str, ...]
    folders: tuple[str, ...]
    foreign: tuple[str, ...] = ()
    idx: bool = False
    hub: Hub | None = None
    splits: tuple[str, ...] = ("train", "test")
    ten_is_zero: bool = False

    def load(
        self, split: str = "test", *, data_dir: Path | str | None = None, limit: int | None = None
    ) -> ImageData:
        """A split, from local files where they are there, else from the hub.

        Args:
            data_dir: the only folder to look in; None: as `find.data_folder` says, then the hub.
            limit: the first so many examples only.

        Raises:
            InputError: an unknown split; found nowhere; files that are not this set; a bad limit.
            MissingExtra: the hub is needed and `datasets` is not installed.
        """
        if split not in self.splits:
            raise unknown_name("split", split, self.splits)
        root = data_folder(data_dir)
        arrays = None
        if root is not None:
            arrays = read_set(
                root, split, limit, folders=self.folders, foreign=self.foreign, idx=self.idx
            )
        if arrays is None and data_dir is None and self.hub is not None:
            arrays = load_hub(self.name, self.hub, split, limit)
        if arrays is None:
            raise self._nowhere(split, root)
        return self._checked(arrays, split).first(limit)

    def _nowhere(self, split: str, root: Path | None) -> InputError:
        forms = f"{split}.parquet, {split}/CLASS/*.png or {self.folders[0]}.npz"
        if self.idx:
            forms = f"raw/*-idx3-ubyte.gz, {forms}"
        problem = f"has no {split} split in {root}" if root else "is not on this machine"
        remedy = f"give --data-dir a folder with {self.folders[0]}/: {forms}"
        return InputError("data", self.name, problem, remedy)

    def _checked(self, arrays: Arrays, split: str) -> ImageData:
        """The data under this set's name, if they can be its own."""
        images = arrays.images
        if arrays.split != split:
            raise InputError("data", self.name, "has no splits in its file", "use x_train, x_test")
        if tuple(images.shape[1:]) != self.shape:
            problem = f"is stored with images of shape {tuple(images.shape[1:])}"
            raise InputError("data", self.name, problem, f"give files of {self.shape}")
        labels = self._labels(arrays)
        lossy = arrays.jpeg and not self.name.endswith("-jpeg")
        return ImageData(
            images=images,
            labels=labels,
            index=whole(len(images)),
            classes=len(self.names),
            names=self.names,
            name="cifar10-jpeg" if lossy and self.name == "cifar10" else self.name,
            split=split,
            scale=255 if images.dtype == torch.uint8 else 1,
            title=f"{self.title} (JPEG)" if lossy else self.title,
        )

    def _number(self, folder: str) -> int:
        """The label of a folder's name: the class's name, or its number."""
        plain = [_plain(name) for name in self.names]
        if _plain(folder) in plain:
            return plain.index(_plain(folder))
        if folder.isdecimal() and int(folder) < len(plain):
            return int(folder)
        raise InputError("data", folder, f"is no class of {self.title}", "rename the folder")

    def _labels(self, arrays: Arrays) -> torch.Tensor:
        """The labels in this set's own numbering."""
        labels, found = arrays.labels, arrays.names
        if self.ten_is_zero:
            labels = torch.where(labels == 10, 0, labels)
        if found is not None and len(found) != len(self.names):
            problem = f"is stored with {len(found)} classes"
            raise InputError("data", self.name, problem, f"give files of {len(self.names)}")
        if found is not None and arrays.by_name:
            labels = torch.tensor([self._number(name) for name in found])[labels]
        return check_labels(labels, len(self.names), rows=len(arrays.images))


def _plain(name: str) -> str:
    """A class's name without case and punctuation."""
    return "".join(letter for letter in name.lower() if letter.isalnum())


MNIST = KnownSet(
    name="mnist",
    title="MNIST",
    shape=(1, 28, 28),
    names=_TENS,
    folders=("MNIST", "mnist"),
    foreign=("FashionMNIST", "fashion-mnist", "fashion_mnist"),
    idx=True,
    hub=Hub("ylecun/mnist"),
)

FASHION_MNIST = KnownSet(
    name="fashion-mnist",
    title="Fashion-MNIST",
    shape=(1, 28, 28),
    names=(
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
    folders=("FashionMNIST", "fashion-mnist", "fashion_mnist"),
    foreign=("MNIST", "mnist"),
    idx=True,
    hub=Hub("zalando-datasets/fashion_mnist"),
)

CIFAR10 = KnownSet(
    name="cifar10",
    title="CIFAR-10",
    shape=(3, 32, 32),
    names=_words("airplane automobile bird cat deer dog frog horse ship truck"),
    folders=("cifar10", "CIFAR10", "cifar-10", "cifar10-jpeg"),
    foreign=("cifar100", "CIFAR100", "cifar-100", "svhn", "SVHN"),
    hub=Hub("uoft-cs/cifar10"),
)

CIFAR10_JPEG = replace(
    CIFAR10,
    name="cifar10-jpeg",
    title="CIFAR-10 (JPEG)",
    folders=("cifar10-jpeg",),
    foreign=("cifar10", "CIFAR10", "cifar-10", *CIFAR10.foreign),
    hub=None,
)

CIFAR100 = KnownSet(
    name="cifar100",
    title="CIFAR-100",
    shape=(3, 32, 32),
    names=_words(
        """apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus
        butterfly camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch
        crab crocodile cup dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo
        keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle mountain
        mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain
        plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk
        skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone
        television tiger tractor train trout tulip turtle wardrobe whale willow_tree wolf woman
        worm"""
    ),
    folders=("cifar100", "CIFAR100", "cifar-100"),
    foreign=(*CIFAR10.folders, "svhn", "SVHN"),
    hub=Hub("uoft-cs/cifar100"),
)

SVHN = KnownSet(
    name="svhn",
    title="SVHN",
    shape=(3, 32, 32),
    names=_TENS,
    folders=("svhn", "SVHN"),
    foreign=(*CIFAR10.folders, *CIFAR100.folders),
    hub=Hub("ufldl-stanford/svhn", "cropped_digits"),
    splits=("train", "test", "extra"),
    ten_is_zero=True,
)
