import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from holdfast.core.errors import InputError
from holdfast.data.load import load_data
from holdfast.data.parquet import find_parquet, load_parquet

from .conftest import colours, encoded, write_parquet

PIXELS = colours(5)
FILES = [encoded(each) for each in PIXELS]


@pytest.mark.parametrize("column", ["img", "image"])
def test_images_come_back_exactly(tmp_path, column):
    path = write_parquet(tmp_path / "test.parquet", FILES, [2, 0, 1, 2, 0], column=column)
    arrays = load_parquet([path], "test")
    assert np.array_equal(arrays.images.numpy(), PIXELS.transpose(0, 3, 1, 2))
    assert arrays.labels.tolist() == [2, 0, 1, 2, 0]
    assert (arrays.names, arrays.jpeg, arrays.split) == (None, False, "test")


def test_shards_follow_each_other_and_the_limit_cuts_across(tmp_path):
    write_parquet(tmp_path / "test-00000-of-00002.parquet", FILES[:3], [0, 1, 2])
    write_parquet(tmp_path / "test-00001-of-00002.parquet", FILES[3:], [3, 4])
    write_parquet(tmp_path / "test_other.parquet", FILES[3:], [3, 4])
    paths = find_parquet(tmp_path, "test")
    assert load_parquet(paths, "test").labels.tolist() == [0, 1, 2, 3, 4]
    limited = load_parquet(paths, "test", 4)
    assert limited.labels.tolist() == [0, 1, 2, 3]
    assert np.array_equal(limited.images.numpy(), PIXELS[:4].transpose(0, 3, 1, 2))
    with pytest.raises(InputError, match="limit=6: is more than the 5 examples"):
        load_parquet(paths, "test", 6)
    paths[1].unlink()
    with pytest.raises(InputError, match="has 1 of its 2 shards"):
        find_parquet(tmp_path, "test")


def test_names_stand_in_the_metadata(tmp_path):
    path = write_parquet(tmp_path / "a.parquet", FILES[:2], [0, 1])
    info = {"info": {"features": {"label": {"names": ["cat", "dog"]}}}}
    table = pq.read_table(path)
    for content, names in ((json.dumps(info), ("cat", "dog")), ("{broken", None)):
        pq.write_table(table.replace_schema_metadata({"huggingface": content}), path)
        assert load_parquet([path], "all").names == names


def test_plain_binary_columns_are_read(tmp_path):
    table = pa.table({"image": pa.array(FILES, type=pa.binary()), "fine_label": [0, 1, 2, 3, 4]})
    pq.write_table(table, tmp_path / "a.parquet")
    assert len(load_parquet([tmp_path / "a.parquet"], "all").images) == 5


@pytest.mark.parametrize(
    ("images", "labels", "said"),
    [
        ([*FILES[:2], b"nothing"], [0, 1, 2], "row 2 of .*: is not a readable image"),
        ([FILES[0], None], [0, 1], "lacks the image or label of row 1"),
        (FILES[:2], [0, None], "lacks the image or label of row 1"),
        (FILES[:2], [0, -1], "is negative"),
        (FILES[:2], [0.0, 1.0], "are not whole numbers"),
        ([], [], "is empty"),
        ([FILES[0], encoded(colours(1, 9)[0])], [0, 1], "is 9x6, the first image 7x6"),
    ],
)
def test_bad_rows_are_refused(tmp_path, monkeypatch, images, labels, said):
    monkeypatch.chdir(tmp_path)
    write_parquet(tmp_path / "a.parquet", images, labels)
    with pytest.raises(InputError, match=said):
        load_data("a.parquet")


def test_bad_files_are_refused(tmp_path):
    path = write_parquet(tmp_path / "a.parquet", FILES, [0, 1, 2, 3, 4])
    content = path.read_bytes()
    for broken in (b"", b"PAR1", content[:-7], content[: len(content) // 2], content[40:]):
        path.write_bytes(broken)
        with pytest.raises(InputError, match="cannot be read as parquet"):
            load_parquet([path], "all")
    with pytest.raises(InputError, match="is not there"):
        load_parquet([tmp_path / "b.parquet"], "all")
    pq.write_table(pa.table({"pixels": [1], "label": [0]}), path)
    with pytest.raises(InputError, match="has the columns pixels, label"):
        load_parquet([path], "all")


@pytest.mark.data
def test_first_images_of_cifar10(data_dir):
    train = load_data("cifar10", "train", data_dir=data_dir, limit=2)
    test = load_data("cifar10", data_dir=data_dir, limit=9)
    assert (test.title, test.name, test.shape) == ("CIFAR-10 (JPEG)", "cifar10-jpeg", (3, 32, 32))
    assert [test.names[label] for label in test.labels[:2]] == ["deer", "ship"]
    assert len(train) == 2
    assert 0.1 < test.inputs().mean() < 0.9
    again = load_data(test.name, data_dir=data_dir, limit=9)
    assert again.content_hash() == test.content_hash()


@pytest.mark.data
@pytest.mark.slow
def test_cifar10_is_balanced(data_dir):
    test = load_data("cifar10", data_dir=data_dir)
    assert test.labels.bincount().tolist() == [1000] * 10
