import numpy as np
import pytest

from holdfast.core.errors import InputError
from holdfast.data.load import load_data

from .conftest import colours, encoded, write_folder, write_parquet

PIXELS = colours(5)


def test_an_archive_by_its_path(tmp_path):
    np.savez(tmp_path / "mine.npz", x=PIXELS, y=[0, 1, 2, 3, 6])
    for path in (tmp_path / "mine.npz", str(tmp_path / "mine.npz")):
        data = load_data(path, limit=3)
        assert (data.name, data.split, data.classes, len(data)) == ("mine", "all", 7, 3)
        assert data.index.tolist() == [0, 1, 2]
        assert data.scale == 255


def test_the_number_of_classes_does_not_depend_on_the_limit(tmp_path):
    np.savez(tmp_path / "mine.npz", x=PIXELS, y=[0, 1, 2, 3, 6])
    assert load_data(tmp_path / "mine.npz", limit=1).classes == 7
    files = [encoded(each) for each in PIXELS]
    path = write_parquet(tmp_path / "mine.parquet", files, [0, 1, 2, 3, 6])
    assert load_data(path, limit=1).classes == 7


def test_floats_have_scale_1(tmp_path):
    np.savez(tmp_path / "mine.npz", x=PIXELS / 255, y=[0, 1, 2, 3, 4])
    data = load_data(tmp_path / "mine.npz")
    assert data.scale == 1
    assert np.array_equal(data.inputs(), (PIXELS.transpose(0, 3, 1, 2) / 255).astype(np.float32))


def test_a_file_of_one_split_goes_by_its_folder(tmp_path):
    files = [encoded(each) for each in PIXELS]
    path = write_parquet(tmp_path / "toys" / "test.parquet", files, [0, 1, 2, 3, 4])
    data = load_data(path)
    assert (data.name, data.split) == ("toys", "test")
    assert (load_data(path.parent).name, load_data(path.parent).split) == ("toys", "test")


def test_a_folder_of_images_by_its_path(tmp_path, monkeypatch):
    write_folder(tmp_path / "pets", {"cat/1.png": PIXELS[0], "dog/1.png": PIXELS[1]})
    monkeypatch.chdir(tmp_path)
    for path in ("pets", "./pets", tmp_path / "pets"):
        data = load_data(path)
        assert (data.names, data.name, data.classes) == (("cat", "dog"), "pets", 2)


def test_a_name_wins_over_a_folder(tmp_path, monkeypatch):
    write_folder(tmp_path / "digits", {"cat/1.png": PIXELS[0]})
    monkeypatch.chdir(tmp_path)
    assert load_data("digits").shape == (1, 8, 8)
    assert load_data("./digits").shape == (3, 7, 6)


def test_what_is_neither_name_nor_path_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="data='mnits': is not known; did you mean 'mnist'"):
        load_data("mnits")
    for path in ("x.npz", "a/b", "x.parquet"):
        with pytest.raises(InputError, match="is not there"):
            load_data(path)
