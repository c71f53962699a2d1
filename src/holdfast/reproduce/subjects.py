"""Networks with the examples on which they are attacked.

| subject | network | data |
|---|---|---|
| `Published` | a file of `DATA_DIR/models` | a named set |
| `Trained` | trained on the spot by a recipe, kept in the run | the recipe's test split |
| `Averaged` | post-averaging around another subject's | the same |
| `ImageNet` | of torchvision, timm or a factory; weights from a file or a cache | a folder |

ImageNet lies in `DATA_DIR/imagenet/val/CLASS/*.JPEG` with all 1000 classes; weights that are not in
the package's cache in `DATA_DIR/imagenet/models/ARCH.safetensors`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from holdfast.core.errors import InputError
from holdfast.core.frozen import Model
from holdfast.core.random import permutation
from holdfast.data.decode import ResizeCrop
from holdfast.data.find import data_folder
from holdfast.data.folder import StreamedFolder
from holdfast.data.images import ImageData
from holdfast.data.load import load_data
from holdfast.models.normalize import STATISTICS, Normalize, Normalized
from holdfast.models.randomised import PostAveraged
from holdfast.models.registry import build_model
from holdfast.models.store import load_weights, save_model
from holdfast.training.loop import build_for, train
from holdfast.training.recipe import load_recipe

_CLASSES = 1000


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a subject finds and keeps things.

    Args:
        store: the folder for networks trained on the spot.
        data_dir: where named sets and published networks lie; None: as `load_data`.
    """

    store: Path
    data_dir: Path | None = None

    @property
    def data(self) -> Path:
        """The folder of data.

        Raises:
            InputError: there is none.
        """
        folder = data_folder(self.data_dir)
        if folder is None:
            remedy = "give --data-dir DIR, or set HOLDFAST_DATA"
            raise InputError("data_dir", None, "is needed for published networks", remedy)
        return Path(folder)


@dataclass(frozen=True, eq=False)
class Loaded:
    """A subject in memory: the network in evaluation mode, and the first examples on the CPU."""

    model: Model
    x: Tensor
    y: Tensor
    index: Tensor

    def to(self, device: torch.device) -> "Loaded":
        """The same with the network, where it is a module, on the device."""
        if isinstance(self.model, nn.Module):
            self.model.to(device)
        return self


class Subject(Protocol):
    """A network and the examples on which it is attacked."""

    @property
    def name(self) -> str:
        """What records call it."""

    def load(self, place: Place, images: int) -> Loaded:
        """The network, and the first `images` examples."""


@dataclass(frozen=True, kw_only=True)
class Published:
    """A network that was published as a safetensors file.

    Args:
        name: of the file in `DATA_DIR/models`, without its ending.
        network: the registered architecture.
        data: the named set, whose test split is attacked.
    """

    name: str
    network: str = "mnist_conv"
    data: str = "mnist"

    def load(self, place: Place, images: int) -> Loaded:
        """As the protocol says.

        Raises:
            InputError: the file is missing or does not fit.
        """
        file = place.data / "models" / f"{self.name}.safetensors"
        if not file.is_file():
            remedy = "give --data-dir a folder with models/ that holds it"
            raise InputError("data_dir", str(place.data), f"has no models/{file.name}", remedy)
        net = build_model(self.network)
        load_weights(net, file)
        return _loaded(net, load_data(self.data, data_dir=place.data_dir, limit=images))


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A network that a recipe trains on the spot.

    Args:
        recipe: its name.
        overrides: of its keys.
        label: what records call it; the recipe's name where empty.
    """

    recipe: str
    overrides: tuple[str, ...] = ()
    label: str = ""

    @property
    def name(self) -> str:
        """The label, or the recipe's name."""
        return self.label or self.recipe

    def load(self, place: Place, images: int) -> Loaded:
        """As the protocol says; the weights are kept in the store, and found there again."""
        recipe = load_recipe(self.recipe, self.overrides)
        data = load_data(recipe.data.name, data_dir=place.data_dir, limit=images)
        file = place.store / f"{self.name}.safetensors"
        if file.is_file():
            net = build_for(recipe.model, data, recipe.seed)
            load_weights(net, file)
        else:
            net = train(recipe, data_dir=place.data_dir, device="cpu").model
            save_model(file, net)
        return _loaded(net, data)


@dataclass(frozen=True, kw_only=True)
class Averaged:
    """Post-averaging around a subject's network; see `models.PostAveraged`.

    Args:
        inner: the subject.
        directions, radius, radii: of the spheres, in input units.
    """

    inner: Subject
    directions: int = 15
    radius: float = 6.0
    radii: int = 3

    @property
    def name(self) -> str:
        """The inner name and the defence."""
        return f"{self.inner.name}-post-averaged"

    def load(self, place: Place, images: int) -> Loaded:
        """As the protocol says."""
        inner = self.inner.load(place, images)
        spheres = {"directions": self.directions, "radius": self.radius, "radii": self.radii}
        if not isinstance(inner.model, nn.Module):
            raise InputError("subject", self.inner.name, "is no module", "give a network")
        averaged = PostAveraged(inner.model, **spheres).eval()  # type: ignore[arg-type]
        return Loaded(averaged, inner.x, inner.y, inner.index)


@dataclass(frozen=True, kw_only=True)
class ImageNet:
    """A network for ImageNet from local files; images are resized to the side and cut.

    Args:
        arch: the name in its library, and of its file.
        library: `torchvision`, `timm`, or `package.module:factory`, which takes no arguments and
            whose weights must be in a file.
        side: of its inputs.
    """

    arch: str
    library: str = "torchvision"
    side: int = 224

    @property
    def name(self) -> str:
        """The architecture."""
        return self.arch

    def load(self, place: Place, images: int) -> Loaded:
        """As the protocol says; the images are the first of one fixed random order.

        Raises:
            MissingExtra: torchvision or timm cannot be imported.
            InputError: images or weights are missing.
        """
        net = self._network(place.data / "imagenet" / "models" / f"{self.arch}.safetensors")
        root = place.data / "imagenet"
        if not (root / "val").is_dir():
            remedy = "put the validation images there: imagenet/val/CLASS/*.JPEG"
            raise InputError("data_dir", str(place.data), "has no imagenet/val", remedy)
        folder = StreamedFolder(root, "val", prepare=ResizeCrop(resize=self.side, crop=self.side))
        if len(folder.names) != _CLASSES:
            problem = f"has {len(folder.names)} classes instead of {_CLASSES}"
            raise InputError("data_dir", str(root / "val"), problem, "give all class folders")
        order = permutation(0, "imagenet", size=len(folder))[:images]
        pairs = [folder[int(row)] for row in order]
        x = torch.stack([pixels for pixels, _ in pairs]).float() / 255
        return Loaded(net.eval(), x, torch.tensor([label for _, label in pairs]), order)

    def _network(self, file: Path) -> nn.Module:
        """The network behind its normalisation."""
        options: dict[str, Any] = {}
        if ":" not in self.library:
            options = {"arch": self.arch, "input_shape": (3, self.side, self.side)}
            options["pretrained"] = not file.is_file()
        elif not file.is_file():
            problem = f"has no {file.name}, the weights of {self.library}"
            remedy = "convert them with `holdfast models convert`"
            raise InputError("data_dir", str(file.parent), problem, remedy)
        net = build_model(self.library, **options)
        if file.is_file():
            load_weights(net, file)
        if getattr(net, "transform_input", None) is False:  # Inception v3 of torchvision
            net.transform_input = True  # type: ignore[assignment]
        return Normalized(Normalize(*STATISTICS["imagenet"]), net)


def _loaded(net: nn.Module, data: ImageData) -> Loaded:
    return Loaded(net.eval().requires_grad_(False), data.inputs(), data.labels, data.index)


DIGITS = Trained(
    recipe="digits-standard",
    overrides=("training.epochs=2", "selection.every=2"),
    label="digits-quick",
)
CIFAR = Trained(recipe="cifar10-jpeg-small")
DILATED = Trained(
    recipe="cifar10-jpeg-small",
    overrides=("model.name=holdfast.reproduce.dilated:dilated_conv",),
    label="cifar10-jpeg-dilated",
)
ROBUST_MNIST = Published(name="mnist_conv_fgsm_linf0.3")
STANDARD_MNIST = Published(name="mnist_conv_standard")
RESNET50 = ImageNet(arch="resnet50")
VGG16 = ImageNet(arch="vgg16_bn")
INCEPTION = ImageNet(arch="inception_v3", side=299)
