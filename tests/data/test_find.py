import gzip

import numpy as np
import pytest

from holdfast.core.errors import InputError
from holdfast.data.find import data_folder, read_path, read_set

from .conftest import colours, encoded, idx_bytes, write_folder, write_parquet

PIXELS = colours(3)
FILES = [encoded(each) for each in PIXELS]


def store_idx(folder, first):
    folder.mkdir(parents=True, exist_ok=True)
    images = np.full((2, 28, 28), first, dtype=np.uint8)
    (folder / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx_bytes(images)))
    (folder / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx_bytes(np.arange(2))))
    return folder


def test_precedence(nowhere, monkeypatch):
    assert data_folder() is None
    (nowhere / "shared" / "data").mkdir(parents=True)
    assert data_folder() == nowhere / "shared" / "data"
    (nowhere / "env").mkdir()
    monkeypatch.setenv("HOLDFAST_DATA", str(nowhere / "env"))
    assert data_folder() == nowhere / "env"
    assert data_folder(nowhere) == nowhere
    monkeypatch.setenv("HOLDFAST_DATA", str(nowhere / "gone"))
    with pytest.raises(InputError, match=r"HOLDFAST_DATA=.*is not a folder"):
        data_folder()
    with pytest.raises(InputError, match=r"data_dir=.*is not a folder"):
        data_folder(nowhere / "gone")


def test_the_folder_beside_the_checkout_is_found(nowhere, monkeypatch):
    (nowhere / "a" / "shared" / "data").mkdir(parents=True)
    monkeypatch.setattr(
        "holdfast.data.find.__file__", str(nowhere / "a/main/src/holdfast/data/find.py")
    )
    assert data_folder() == nowhere / "a" / "shared" / "data"


@pytest.mark.parametrize("place", ["MNIST/raw", "MNIST", "raw", "."])
def test_idx_is_found_in_every_place(tmp_path, place):
    store_idx(tmp_path / place, 3)
    found = read_set(tmp_path, "test", None, folders=("MNIST",), idx=True)
    assert found.images[0, 0, 0, 0] == 3
    assert read_set(tmp_path, "train", None, folders=("MNIST",), idx=True) is None


@pytest.mark.parametrize("root", [".", "MNIST", "MNIST/raw"])
def test_another_sets_files_are_not_taken_for_ones_own(tmp_path, root):
    store_idx(tmp_path / "MNIST" / "raw", 3)
    names = {"folders": ("FashionMNIST",), "foreign": ("MNIST",), "idx": True}
    assert read_set(tmp_path / root, "test", None, **names) is None
    store_idx(tmp_path / "FashionMNIST" / "raw", 5)
    assert read_set(tmp_path, "test", None, **names).images[0, 0, 0, 0] == 5


@pytest.mark.parametrize("place", ["toy", "toy/data", "toy/plain_text", "."])
def test_parquet_is_found_in_every_place(tmp_path, place):
    write_parquet(tmp_path / place / "test-00000-of-00001.parquet", FILES, [0, 1, 2])
    assert len(read_set(tmp_path, "test", None, folders=("toy",)).images) == 3
    assert len(read_set(tmp_path, "test", 2, folders=("toy",)).images) == 2


def test_archives_and_folders_of_images_are_found(tmp_path):
    assert read_set(tmp_path, "test", None, folders=("toy",)) is None
    np.savez(tmp_path / "toy.npz", x_test=PIXELS, y_test=np.arange(3))
    assert len(read_set(tmp_path, "test", None, folders=("toy",)).images) == 3
    write_folder(tmp_path / "toy", {"test/a/1.png": PIXELS[0]})
    assert len(read_set(tmp_path, "test", None, folders=("toy",)).images) == 1


def test_paths(tmp_path):
    idx = store_idx(tmp_path / "idx", 4)
    assert read_path(idx, "test", None).split == "test"
    with pytest.raises(InputError, match=r"split='train': is not in .*; give one of test"):
        read_path(idx, "train", None)
    whole = write_parquet(tmp_path / "whole" / "a.parquet", FILES, [0, 1, 2])
    assert read_path(whole, "test", None).split == "all"
    assert len(read_path(whole.parent, "train", 2).images) == 2
    test = write_parquet(tmp_path / "split" / "test.parquet", FILES, [0, 1, 2])
    assert read_path(test, "train", None).split == "test"
    images = write_folder(tmp_path / "images", {"a/1.png": PIXELS[0]})
    assert read_path(images, "test", None).names == ("a",)


def test_paths_that_hold_nothing_are_refused(tmp_path):
    with pytest.raises(InputError, match="is not there"):
        read_path(tmp_path / "a.npz", "test", None)
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(InputError, match="is no kind of data file known"):
        read_path(tmp_path / "a.txt", "test", None)
    with pytest.raises(InputError, match="holds no images in subfolders"):
        read_path(tmp_path, "test", None)
