import sys
import types

import pytest
import torch
from PIL import Image
from torch import nn

from holdfast.core.errors import InputError, MissingExtra
from holdfast.models import save_model
from holdfast.reproduce.subjects import (
    DIGITS,
    ROBUST_MNIST,
    Averaged,
    ImageNet,
    Place,
    Trained,
)


def small(classes=1000):
    """A factory as a user would name it."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, classes))


@pytest.fixture
def photographs(tmp_path, monkeypatch):
    """A folder of three classes of photographs, and a module with a factory."""
    for at, name in enumerate(("n01", "n02", "n03")):
        folder = tmp_path / "imagenet" / "val" / name
        folder.mkdir(parents=True)
        for number in range(2):
            Image.new("RGB", (40, 50), (80 * at, 10, 10)).save(folder / f"{number}.png")
    module = types.ModuleType("photonets")
    module.small = small
    monkeypatch.setitem(sys.modules, "photonets", module)
    monkeypatch.setattr("holdfast.reproduce.subjects._CLASSES", 3)
    return tmp_path


def test_a_network_is_trained_once(store):
    file = store / "digits-quick.safetensors"
    before = file.stat().st_mtime_ns
    first, again = (DIGITS.load(Place(store=store), images) for images in (5, 3))
    assert file.stat().st_mtime_ns == before
    assert torch.equal(first.x[:3], again.x)
    assert torch.equal(first.model(first.x)[:3], again.model(again.x))
    assert not first.model.training
    accuracy = (first.model(first.x).argmax(1) == first.y).float().mean()
    assert float(accuracy) > 0.5


def test_labels_name_records():
    assert Trained(recipe="digits-pgd").name == "digits-pgd"
    assert Averaged(inner=DIGITS).name == "digits-quick-post-averaged"


def test_a_published_network_is_as_accurate_as_known(data_dir, tmp_path):
    subject = ROBUST_MNIST.load(Place(store=tmp_path, data_dir=data_dir), 50)
    assert subject.x.shape == (50, 1, 28, 28)
    assert float((subject.model(subject.x).argmax(1) == subject.y).float().mean()) > 0.9


def test_post_averaging_draws_anew(store):
    subject = Averaged(inner=DIGITS, directions=2, radius=1.0, radii=2)
    loaded = subject.load(Place(store=store), 4)
    assert not torch.equal(loaded.model(loaded.x), loaded.model(loaded.x))


def test_imagenet_comes_from_local_files(photographs):
    save_model(photographs / "imagenet" / "models" / "net.safetensors", small(3))
    subject = ImageNet(arch="net", library="photonets:small", side=16)
    net = small(3)
    sys.modules["photonets"].small = lambda: net
    loaded = subject.load(Place(store=photographs, data_dir=photographs), 5)
    assert loaded.x.shape == (5, 3, 16, 16)
    assert len(set(loaded.index.tolist())) == 5
    levels = (loaded.x[:, 0].mean((1, 2)) * 255 / 80).round()
    assert levels.tolist() == loaded.y.tolist()
    assert loaded.model(loaded.x).shape == (5, 3)


def test_what_is_missing_for_imagenet_is_named(photographs, monkeypatch):
    place = Place(store=photographs, data_dir=photographs)
    with pytest.raises(InputError, match=r"has no drn\.safetensors"):
        ImageNet(arch="drn", library="photonets:small").load(place, 2)
    save_model(photographs / "imagenet" / "models" / "drn.safetensors", small())
    with monkeypatch.context() as patch:
        patch.setattr("holdfast.reproduce.subjects._CLASSES", 1000)
        with pytest.raises(InputError, match="has 3 classes instead of 1000"):
            ImageNet(arch="drn", library="photonets:small").load(place, 2)
    monkeypatch.setitem(sys.modules, "torchvision.models", None)
    with pytest.raises(MissingExtra, match=r"holdfast\[vision\]"):
        ImageNet(arch="resnet50").load(place, 2)
    (photographs / "none").mkdir()
    bare = Place(store=photographs, data_dir=photographs / "none")
    save_model(bare.data / "imagenet" / "models" / "drn.safetensors", small())
    with pytest.raises(InputError, match="has no imagenet/val"):
        ImageNet(arch="drn", library="photonets:small").load(bare, 2)
