import pytest
import torch
from PIL import Image

from holdfast.core.errors import InputError
from holdfast.data.cinic10 import NAMES, Cinic10, origins
from holdfast.data.load import load_data


@pytest.fixture
def root(tmp_path):
    """Two files per class and split: one of CIFAR-10, one of ImageNet; pixels tell the class."""
    for part in ("train", "valid", "test"):
        for label, name in enumerate(NAMES):
            folder = tmp_path / "cinic10" / part / name
            folder.mkdir(parents=True)
            origin = "test" if part == "test" else "train"
            for file in (f"cifar10-{origin}-{label}.png", f"n0{label}_1.png"):
                Image.new("RGB", (32, 32), (label, label, label)).save(folder / file)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "split", "count"),
    [
        ("cinic10", "train", 20),
        ("cinic10", "train+valid", 40),
        ("cinic10-enlarged", "train", 40),
        ("cinic10-enlarged", "test", 20),
        ("cinic10-imagenet", "train", 20),
    ],
)
def test_splits_have_their_images_and_labels(root, name, split, count):
    data = load_data(name, split, data_dir=root)
    assert len(data) == count
    assert torch.equal(data.images[:, 0, 0, 0].long(), data.labels)
    assert data.names[3] == "cat"


def test_a_limit_takes_all_classes(root):
    data = load_data("cinic10", "train", data_dir=root, limit=10)
    assert sorted(data.labels.tolist()) == list(range(10))


def test_training_data_hold_no_test_image_of_cifar10(root):
    whole = Cinic10(name="x", enlarged=True)
    assert origins(whole.files("train", root)) == {"cifar10-train": 20, "imagenet": 20}
    assert origins(whole.files("test", root))["cifar10-test"] == 10
    assert set(origins(Cinic10(name="x", origin="imagenet").files("test", root))) == {"imagenet"}


def test_what_is_missing_is_said(root, tmp_path):
    with pytest.raises(InputError, match="did you mean 'valid'"):
        load_data("cinic10", "all", data_dir=root)
    with pytest.raises(InputError, match="cinic10/train/CLASS"):
        load_data("cinic10", "train", data_dir=root / "cinic10" / "train")
    (root / "cinic10" / "valid" / "cat").rename(root / "cinic10" / "valid" / "lion")
    with pytest.raises(InputError, match="has the classes"):
        load_data("cinic10-enlarged", "train", data_dir=root)
