import gzip

import numpy as np
import pytest
import torch

from holdfast.core.errors import InputError
from holdfast.data.catalogue import DATASETS
from holdfast.data.load import load_data

from .conftest import colours, encoded, idx_bytes, write_folder, write_parquet

PIXELS = colours(3, 32, 32)
KNOWN = [name for name in DATASETS if name != "digits"]


@pytest.mark.data
def test_mnist(data_dir):
    test, train = (load_data("mnist", split, data_dir=data_dir) for split in ("test", "train"))
    counts = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert test.labels.bincount().tolist() == counts
    counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert train.labels.bincount().tolist() == counts
    assert (train.shape, test.shape, test.scale) == ((1, 28, 28), (1, 28, 28), 255)
    # The mean and deviation of the training pixels, as every published normaliser has them.
    pixels = train.inputs()
    assert abs(pixels.mean() - 0.1307) < 1e-4
    assert abs(pixels.std() - 0.3081) < 1e-4
    assert test.labels[:5].tolist() == [7, 2, 1, 0, 4]
    assert test.index.tolist() == list(range(10000))


@pytest.mark.data
@pytest.mark.parametrize("below", [".", "MNIST", "MNIST/raw"])
def test_mnist_from_the_folders_above_its_files(data_dir, below):
    assert load_data("mnist", data_dir=data_dir / below, limit=3).labels.tolist() == [7, 2, 1]


@pytest.mark.parametrize("name", KNOWN)
def test_names_are_as_many_as_classes_and_in_published_order(name):
    known = DATASETS[name].load()
    assert len(known.names) == len(set(known.names)) == (100 if name == "cifar100" else 10)
    if name.startswith("cifar"):
        assert list(known.names) == sorted(known.names)
    assert known.name == name


def test_a_set_that_came_through_jpeg_says_so(tmp_path):
    files = [encoded(each, "JPEG") for each in PIXELS]
    write_parquet(tmp_path / "cifar10-jpeg" / "test.parquet", files, [0, 1, 9])
    for name in ("cifar10", "cifar10-jpeg"):
        data = load_data(name, data_dir=tmp_path)
        assert (data.name, data.title) == ("cifar10-jpeg", "CIFAR-10 (JPEG)")
    files = [encoded(each) for each in PIXELS]
    write_parquet(tmp_path / "cifar10" / "test.parquet", files, [0, 1, 9])
    assert load_data("cifar10", data_dir=tmp_path).title == "CIFAR-10"
    assert load_data("cifar10-jpeg", data_dir=tmp_path).title == "CIFAR-10 (JPEG)"


def test_folders_are_matched_by_name_not_by_order(tmp_path):
    grey = {"test/Ankle-boot/1.png": 9, "test/T-shirt_top/1.png": 0, "test/Bag/1.png": 8}
    rest = ("Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker")
    grey |= {f"test/{name}/1.png": label for label, name in enumerate(rest, start=1)}
    images = {name: np.full((28, 28), label, dtype=np.uint8) for name, label in grey.items()}
    write_folder(tmp_path / "FashionMNIST", images)
    data = load_data("fashion-mnist", data_dir=tmp_path)
    assert torch.equal(data.images[:, 0, 0, 0].long(), data.labels)
    (tmp_path / "FashionMNIST" / "test" / "Bag").rename(tmp_path / "FashionMNIST" / "test" / "Bug")
    with pytest.raises(InputError, match="data='Bug': is no class of Fashion-MNIST"):
        load_data("fashion-mnist", data_dir=tmp_path)


def test_numbers_as_folder_names_are_labels(tmp_path):
    names = [f"test/{label}/1.png" for label in range(100)]
    images = [np.full((32, 32, 3), label, dtype=np.uint8) for label in range(100)]
    write_folder(tmp_path / "cifar100", dict(zip(names, images, strict=True)))
    data = load_data("cifar100", data_dir=tmp_path)
    assert torch.equal(data.images[:, 0, 0, 0].long(), data.labels)


def test_the_label_10_of_svhn_is_0(tmp_path):
    np.savez(tmp_path / "svhn.npz", x_extra=PIXELS, y_extra=[10, 1, 9])
    data = load_data("svhn", "extra", data_dir=tmp_path)
    assert data.labels.tolist() == [0, 1, 9]
    np.savez(tmp_path / "cifar10.npz", x_test=PIXELS, y_test=[10, 1, 9])
    with pytest.raises(InputError, match="label 10 of example 0: is not one of 10 classes"):
        load_data("cifar10", data_dir=tmp_path)


def test_files_that_are_another_set_are_refused(tmp_path):
    files = [encoded(each) for each in colours(2)]
    write_parquet(tmp_path / "cifar10" / "test.parquet", files, [0, 1])
    with pytest.raises(InputError, match=r"is stored with images of shape \(3, 7, 6\)"):
        load_data("cifar10", data_dir=tmp_path)
    np.savez(tmp_path / "cifar100.npz", x=PIXELS, y=[0, 1, 2])
    with pytest.raises(InputError, match="has no splits in its file"):
        load_data("cifar100", data_dir=tmp_path)
    write_folder(tmp_path / "svhn", {"test/0/1.png": PIXELS[0], "test/1/1.png": PIXELS[1]})
    with pytest.raises(InputError, match="is stored with 2 classes"):
        load_data("svhn", data_dir=tmp_path)


def test_limit_and_split_are_checked(tmp_path):
    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(
        gzip.compress(idx_bytes(np.zeros((4, 28, 28))))
    )
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx_bytes(np.arange(4)))
    assert load_data("mnist", data_dir=tmp_path, limit=3).labels.tolist() == [0, 1, 2]
    with pytest.raises(InputError, match="limit=5: is more than the 4 examples"):
        load_data("mnist", data_dir=tmp_path, limit=5)
    with pytest.raises(InputError, match="split='extra'"):
        load_data("mnist", "extra", data_dir=tmp_path)


def test_a_set_without_a_hub_says_where_it_was_looked_for(nowhere):
    with pytest.raises(InputError, match="is not on this machine; give --data-dir a folder with"):
        load_data("cifar10-jpeg")
