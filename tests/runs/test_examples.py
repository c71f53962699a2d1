import math

import numpy as np
import pyarrow.parquet
import pytest
import torch

from holdfast.core.errors import InputError
from holdfast.runs import examples


def test_columns_survive_with_values_and_types(tmp_path):
    file = tmp_path / "examples.parquet"
    examples.write(
        file,
        {
            "index": torch.tensor([7, 3, 5]),
            "margin": np.array([0.5, -0.25, math.nan], dtype=np.float32),
            "broken": torch.tensor([False, True, False]),
            "method": ["pgd", None, "square"],
            "bound": [None, 1.5, 2.5],
            "logits": torch.arange(6.0).view(3, 2).requires_grad_(),
        },
    )
    read = examples.read(file)
    assert list(read) == ["index", "margin", "broken", "method", "bound", "logits"]
    assert read["index"].dtype == np.int64
    assert read["index"].tolist() == [7, 3, 5]
    assert read["margin"].dtype == np.float32
    np.testing.assert_array_equal(read["margin"], np.float32([0.5, -0.25, math.nan]))
    assert read["broken"].tolist() == [False, True, False]
    assert read["method"].tolist() == ["pgd", None, "square"]
    np.testing.assert_array_equal(read["bound"], [math.nan, 1.5, 2.5])
    np.testing.assert_array_equal(np.stack(read["logits"]), [[0, 1], [2, 3], [4, 5]])
    metadata = pyarrow.parquet.read_schema(file).metadata
    assert metadata[b"schema"] == b"holdfast-examples/1"


def test_no_examples_are_a_table_too(tmp_path):
    examples.write(tmp_path / "e", {"index": np.zeros(0, dtype=np.int64)})
    assert examples.read(tmp_path / "e")["index"].shape == (0,)


def test_columns_that_do_not_fit_are_refused_and_nothing_is_written(tmp_path):
    with pytest.raises(InputError, match="differ in length"):
        examples.write(tmp_path / "e", {"index": [1, 2], "margin": [0.5]})
    with pytest.raises(InputError, match=r"columns\['method'\].*one type"):
        examples.write(tmp_path / "e", {"method": [1, "two"]})
    assert not list(tmp_path.iterdir())


def test_a_damaged_file_is_named(tmp_path):
    file = tmp_path / "examples.parquet"
    examples.write(file, {"index": list(range(100))})
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(InputError, match=r"examples\.parquet.*parquet"):
        examples.read(file)


@pytest.mark.parametrize("kind", ["npz", "parquet"])
def test_adversarial_examples_survive_bit_by_bit(kind, tmp_path):
    x = np.random.default_rng(0).random((3, 2, 5, 4), dtype=np.float32)
    x[1] = np.nan
    columns = {
        "index": torch.tensor([7, 3, 5]),
        "y": torch.tensor([0, 1, 0]),
        "outcome": ["broken", "misclassified", "undecided"],
        "size": torch.tensor([0.1, math.nan, 0.2]),
        "margin": np.float32([-1.0, -2.0, 3.0]),
    }
    for points in (x, torch.from_numpy(x)):
        file = tmp_path / f"a.{kind}"
        examples.write_adversarial(file, **columns, x_adv=points)
        read = examples.read_adversarial(file)
        assert set(read) == {*columns, "x_adv"}
        assert read["x_adv"].dtype == np.float32
        np.testing.assert_array_equal(read["x_adv"], x)
        assert read["outcome"].tolist() == columns["outcome"]
        assert read["index"].tolist() == [7, 3, 5]
        np.testing.assert_array_equal(read["size"], np.float32([0.1, math.nan, 0.2]))
    assert [path.name for path in tmp_path.iterdir()] == [f"a.{kind}"]


def test_a_row_of_parquet_is_one_list_and_the_shape_is_kept(tmp_path):
    file = tmp_path / "a.parquet"
    given = {"index": [0, 1], "y": [0, 1], "outcome": ["a", "b"], "size": [0.0, 1.0]}
    points = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    examples.write_adversarial(file, **given, margin=[1.0, 1.0], x_adv=points)
    schema = pyarrow.parquet.read_schema(file)
    assert schema.field("x_adv").type == pyarrow.list_(pyarrow.float32(), 12)
    assert schema.metadata[b"shape"] == b"3 4"
    assert pyarrow.parquet.read_table(file)["x_adv"][1].as_py() == list(range(12, 24))


@pytest.mark.parametrize("kind", ["npz", "parquet"])
def test_where_no_attack_ran_there_are_no_points(kind, tmp_path):
    file = tmp_path / f"a.{kind}"
    given = {"index": [0, 1], "y": [0, 1], "outcome": ["a", "b"], "size": [0.0, 1.0]}
    examples.write_adversarial(file, **given, margin=[1.0, 1.0], x_adv=None)
    assert examples.read_adversarial(file)["x_adv"].shape == (2, 0)


def test_other_files_are_no_adversarial_examples(tmp_path):
    with pytest.raises(InputError, match=r"a\.txt.*name FILE\.npz"):
        examples.read_adversarial(tmp_path / "a.txt")
    examples.write(tmp_path / "b.parquet", {"index": [1]})
    with pytest.raises(InputError, match="holds no adversarial examples"):
        examples.read_adversarial(tmp_path / "b.parquet")
    (tmp_path / "c.npz").write_bytes(b"PK\x03\x04 damaged")
    for name in ("c.npz", "none.npz", "none.parquet"):
        with pytest.raises(InputError, match="cannot be read"):
            examples.read_adversarial(tmp_path / name)
