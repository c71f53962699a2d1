import numpy as np
import pytest

from holdfast.core.errors import InputError
from holdfast.data.decode import ResizeCrop
from holdfast.data.folder import StreamedFolder, load_folder

from .conftest import colours, encoded, write_folder

PIXELS = colours(4)


@pytest.fixture
def pets(tmp_path):
    names = ("dog/2.png", "cat/b.png", "cat/a.png", "dog/1.PNG")
    write_folder(tmp_path, dict(zip(names, PIXELS, strict=True)))
    (tmp_path / "dog" / "notes.txt").write_text("not an image")
    (tmp_path / ".cache").mkdir()
    return tmp_path


def test_classes_and_files_are_in_the_order_of_their_names(pets):
    arrays = load_folder(pets, "test")
    assert (arrays.names, arrays.split) == (("cat", "dog"), "all")
    assert arrays.labels.tolist() == [0, 0, 1, 1]
    assert np.array_equal(arrays.images.numpy(), PIXELS[[2, 1, 3, 0]].transpose(0, 3, 1, 2))


def test_streamed_and_loaded_agree(pets):
    source, arrays = StreamedFolder(pets), load_folder(pets, "test")
    assert (len(source), source.shape, source.classes, source.scale) == (4, (3, 7, 6), 2, 255)
    for row in range(4):
        pixels, label = source[row]
        assert np.array_equal(pixels, arrays.images[row])
        assert label == arrays.labels[row]


def test_limit_takes_the_first(pets):
    assert load_folder(pets, "test", 3).labels.tolist() == [0, 0, 1]
    with pytest.raises(InputError, match="limit=5"):
        load_folder(pets, "test", 5)


def test_splits_stand_above_the_classes(tmp_path):
    write_folder(tmp_path, {"train/a/1.png": PIXELS[0], "val/a/1.png": PIXELS[1]})
    assert load_folder(tmp_path, "val").split == "val"
    with pytest.raises(
        InputError, match=r"split='test': has no such folder.*give one of train, val"
    ):
        load_folder(tmp_path, "test")


def test_prepare_brings_images_to_one_size(tmp_path):
    write_folder(tmp_path, {"a/1.png": colours(1, 20, 30)[0], "a/2.png": colours(1, 25, 18)[0]})
    with pytest.raises(InputError, match="is 25x18, the first image 20x30"):
        load_folder(tmp_path, "test")
    source = StreamedFolder(tmp_path, prepare=ResizeCrop(resize=10, crop=8))
    assert [tuple(source[row][0].shape) for row in (0, 1)] == [(3, 8, 8), (3, 8, 8)]


def test_bad_folders_are_refused(tmp_path):
    with pytest.raises(InputError, match="is not a folder"):
        load_folder(tmp_path / "none", "test")
    with pytest.raises(InputError, match="holds no images in subfolders"):
        load_folder(tmp_path, "test")
    write_folder(tmp_path, {"a/1.png": PIXELS[0]})
    (tmp_path / "a" / "2.png").write_bytes(encoded(PIXELS[1])[:60])
    with pytest.raises(InputError, match="is not a readable image"):
        load_folder(tmp_path, "test")
