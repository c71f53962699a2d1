from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from holdfast.core.errors import InputError, MissingExtra
from holdfast.data.hub import Hub, load_hub
from holdfast.data.load import load_data

from .conftest import colours, encoded

PIXELS = colours(3, 32, 32)


class Stored:
    """What `datasets.load_dataset` returns, as far as it is used: rows as an Arrow table."""

    def __init__(self, labels=(10, 0, 9)):
        cells = [{"bytes": encoded(each), "path": None} for each in PIXELS]
        self.table = pa.table({"image": cells, "label": list(labels)})

    def __len__(self):
        return self.table.num_rows

    def with_format(self, kind):
        assert kind == "arrow"
        return _Rows(self.table)


class _Rows:
    def __init__(self, table):
        self.table = table

    def __getitem__(self, rows):
        return self.table.slice(0, rows.stop)


@pytest.fixture
def served(monkeypatch, nowhere):
    asked = []

    def load_dataset(*where, split):
        asked.append((*where, split))
        return Stored()

    module = SimpleNamespace(load_dataset=load_dataset)
    monkeypatch.setattr("holdfast.data.hub.optional", lambda name, *, extra: module)
    return asked


def test_a_set_comes_from_the_hub_where_no_local_file_is(served):
    data = load_data("svhn", "extra", limit=2)
    assert served == [("ufldl-stanford/svhn", "cropped_digits", "extra")]
    assert np.array_equal(data.images.numpy(), PIXELS[:2].transpose(0, 3, 1, 2))
    assert data.labels.tolist() == [0, 0]  # the label 10 stands for the digit 0
    assert (data.title, data.split, data.classes) == ("SVHN", "extra", 10)


def test_the_hub_is_not_asked_where_a_folder_is_given(served, tmp_path):
    with pytest.raises(InputError, match=r"has no test split in .*; give --data-dir"):
        load_data("svhn", data_dir=tmp_path)
    assert served == []


def test_the_limit_is_checked(served):
    with pytest.raises(InputError, match="limit=4"):
        load_hub("svhn", Hub("a/b"), "test", 4)


def test_a_failing_hub_names_the_remedy(monkeypatch, nowhere):
    def load_dataset(*where, split):
        raise ConnectionError("a long\nstory")

    module = SimpleNamespace(load_dataset=load_dataset)
    monkeypatch.setattr("holdfast.data.hub.optional", lambda name, *, extra: module)
    with pytest.raises(InputError, match=r"hub failed \(ConnectionError\).*--data-dir") as caught:
        load_data("cifar100")
    assert "\n" not in str(caught.value)


def test_an_absent_client_names_the_extra(monkeypatch, nowhere):
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    with pytest.raises(MissingExtra, match=r"holdfast\[data\]"):
        load_data("cifar100")


@pytest.mark.slow
def test_a_real_dataset_is_read(monkeypatch):
    datasets = pytest.importorskip("datasets")
    from PIL import Image

    features = datasets.Features(
        {"img": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b"])}
    )
    rows = {"img": [Image.fromarray(each) for each in PIXELS], "label": [0, 1, 0]}
    stored = datasets.Dataset.from_dict(rows, features=features)
    monkeypatch.setattr(datasets, "load_dataset", lambda *where, split: stored)
    arrays = load_hub("toy", Hub("a/b"), "test", 2)
    assert np.array_equal(arrays.images.numpy(), PIXELS[:2].transpose(0, 3, 1, 2))
    assert arrays.names == ("a", "b")
