import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

from holdfast.benchmark.replay import OWN, replay
from holdfast.certify.formats.vnnlib import parse_vnnlib
from holdfast.certify.graphs.graph import capture

TEXT = """(declare-const X_0 Real) (declare-const X_1 Real) (declare-const Y_0 Real)
(assert (and (>= X_0 0.7) (<= X_0 1) (>= X_1 0) (<= X_1 0.1)))
(assert (>= Y_0 {limit}))"""


@pytest.fixture(scope="module")
def graph():
    layer = torch.nn.Linear(2, 1, bias=False)
    torch.nn.init.ones_(layer.weight)
    return capture(layer, (2,))


class Session:
    """A runtime that adds up its inputs, and remembers what it was given."""

    seen: list[np.ndarray] = []

    def __init__(self, data, options, providers):
        assert isinstance(data, bytes)

    def get_inputs(self):
        return [SimpleNamespace(name="x", type="tensor(float)", shape=["batch", 2])]

    def run(self, names, feed):
        assert feed["x"].shape == (1, 2)
        Session.seen.append(feed["x"])
        return [feed["x"].sum(axis=1, keepdims=True)]


@pytest.fixture
def runtime(monkeypatch):
    module = ModuleType("onnxruntime")
    module.__version__ = "9.9"
    module.InferenceSession, module.SessionOptions = Session, SimpleNamespace
    Session.seen.clear()
    monkeypatch.setitem(sys.modules, "onnxruntime", module)
    return module


def test_the_runtime_gets_numbers_of_its_precision_inside_the_box(runtime, graph, tmp_path):
    (tmp_path / "net.onnx").write_bytes(b"net")
    x = torch.tensor([0.7, 0.1], dtype=torch.float64)  # nearest floats: below 0.7, above 0.1
    assert float(x[0].float()) < 0.7
    assert float(x[1].float()) > 0.1
    found = replay(tmp_path / "net.onnx", graph, parse_vnnlib(TEXT.format(limit=0.75)), x)
    assert found.executor == "onnxruntime 9.9"
    assert found.confirmed
    assert float(found.x[0]) >= 0.7
    assert float(found.x[1]) <= 0.1
    assert torch.equal(found.x, torch.from_numpy(Session.seen[0][0]).double())
    assert found.excess == pytest.approx(0.75 - 0.8, abs=1e-6)


def test_an_output_that_misses_the_limit_is_not_confirmed(runtime, graph, tmp_path):
    (tmp_path / "net.onnx").write_bytes(b"net")
    x = torch.tensor([0.75, 0.0625], dtype=torch.float64)
    found = replay(tmp_path / "net.onnx", graph, parse_vnnlib(TEXT.format(limit=1.0625)), x)
    assert not found.confirmed
    assert found.excess == pytest.approx(0.25)


def test_an_input_outside_of_every_box_is_not_confirmed(runtime, graph, tmp_path):
    (tmp_path / "net.onnx").write_bytes(b"net")
    x = torch.tensor([0.75, 2.0], dtype=torch.float64)
    found = replay(tmp_path / "net.onnx", graph, parse_vnnlib(TEXT.format(limit=0.8)), x)
    assert not found.confirmed


def test_without_the_runtime_the_own_forward_stands_in(monkeypatch, graph, tmp_path):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    x = torch.tensor([0.75, 0.0625], dtype=torch.float64)
    found = replay(tmp_path / "none.onnx", graph, parse_vnnlib(TEXT.format(limit=0.8)), x)
    assert (found.executor, found.confirmed, found.problem) == (OWN, True, "")
    assert found.output.tolist() == [0.8125]


def test_a_runtime_that_fails_is_said(runtime, monkeypatch, graph, tmp_path):
    def fails(*arguments, **options):
        raise RuntimeError("no kernel\nfor Foo")

    monkeypatch.setattr(runtime, "InferenceSession", fails)
    (tmp_path / "net.onnx").write_bytes(b"net")
    x = torch.tensor([0.75, 0.0625], dtype=torch.float64)
    found = replay(tmp_path / "net.onnx", graph, parse_vnnlib(TEXT.format(limit=0.8)), x)
    assert found.executor == OWN
    assert "onnxruntime cannot run net.onnx (RuntimeError: no kernel for Foo)" in found.problem
