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
