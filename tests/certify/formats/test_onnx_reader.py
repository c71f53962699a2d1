import gzip
import subprocess
import sys

import pytest
import torch

from certify.onnx_nets import constant, make_node, model, onnx, random, reference, saved
from holdfast.certify.bounds.interval import Interval
from holdfast.certify.formats.onnx_reader import load_onnx, read_onnx
from holdfast.certify.operators.ops import Input
from holdfast.certify.operators.structural import ReLU
from holdfast.core.errors import CaptureError, InputError
from holdfast.threats import Linf

LOCAL = [
    *(f"acasxu/ACASXU_run2a_1_{i}_batch_2000.onnx" for i in (1, 2, 3)),
    "mnistfc/mnist-net_256x2.onnx",
    *(f"test/test_{name}.onnx" for name in ("nano", "tiny", "small", "sat", "unsat")),
]


def acas(shape=(1, 1, 1, 5), **settings):
    """A network as in ACAS Xu: subtract an average image, flatten, two layers."""
    constants = [
        constant("mean", random(1, 1, 1, 5)),
        constant("w", random(5, 4, seed=1)),
        constant("b", random(4, seed=2)),
        constant("v", random(4, 3, seed=3)),
    ]
    nodes = [
        make_node("Sub", ["x", "mean"], ["s"]),
        make_node("Flatten", ["s"], ["f"], axis=1),
        make_node("MatMul", ["f", "w"], ["m"]),
        make_node("Add", ["m", "b"], ["a"]),
        make_node("Relu", ["a"], ["r"]),
        make_node("MatMul", ["r", "v"], ["y"]),
    ]
    return model(nodes, list(shape), constants, **settings)


@pytest.mark.parametrize("name", LOCAL)
def test_the_networks_of_the_competition_are_those_of_the_reference(name, data_dir):
    path = data_dir / "vnncomp2021" / name
    graph = read_onnx(path)  # refuses by itself where it differs
    assert isinstance(graph.nodes[0].op, Input)
    assert any(isinstance(node.op, ReLU) for node in graph.nodes)
    assert len(graph.output_shape) == 1


def test_the_graph_keeps_the_batch_and_both_precisions(tmp_path):
    proto = acas()
    graph = read_onnx(saved(proto, tmp_path))
    assert graph.input_shape == (1, 1, 5)
    assert graph.output_shape == (3,)
    x = torch.rand(7, 1, 1, 1, 5)
    assert torch.allclose(graph.forward(x[:, 0]), reference(proto, x), atol=1e-6)
    assert graph.forward(x[:, 0].double()).dtype == torch.float64


@pytest.mark.parametrize("settings", [{"listed": True}, {"shape": ("batch", 1, 1, 5)}])
def test_listed_initialisers_and_a_batch_without_a_size_change_nothing(settings, tmp_path):
    x = torch.rand(3, 1, 1, 5)
    plain = load_onnx(saved(acas(), tmp_path))(x)
    assert torch.equal(load_onnx(saved(acas(**settings), tmp_path))(x), plain)


def test_a_compressed_file_is_read(tmp_path):
    path = tmp_path / "net.onnx.gz"
    path.write_bytes(gzip.compress(acas().SerializeToString()))
    assert load_onnx(path).input_shape == (1, 1, 5)


def test_the_weights_are_live_and_bounded(tmp_path):
    graph = read_onnx(saved(acas(), tmp_path))
    x = torch.rand(3, 1, 1, 5)
    bounds = Interval().bound(graph, x, Linf(0.1, box=None), torch.eye(3))
    inside = graph.forward(x.double() + 0.1 * (2 * torch.rand(3, 1, 1, 5).double() - 1))
    assert bool((bounds.lower <= inside).all())
    assert bool((inside <= bounds.upper).all())
    for value in graph.parameters.values():
        value.zero_()
    assert not graph.forward(x).any()


def test_what_does_not_depend_on_the_input_is_computed_while_reading(tmp_path):
    nodes = [
        make_node("Constant", [], ["two"], value=constant("", [2.0])),
        make_node("Mul", ["two", "w"], ["double"]),
        make_node("Shape", ["x"], ["shape"]),
        make_node("Gather", ["shape", "first"], ["one"], axis=0),
        make_node("Concat", ["one", "rest"], ["wanted"], axis=0),
        make_node("Reshape", ["x", "wanted"], ["flat"]),
        make_node("MatMul", ["flat", "double"], ["y"]),
    ]
    constants = [
        constant("w", random(6, 5)),
        constant("first", [0], "int64"),
        constant("rest", [-1], "int64"),
    ]
    proto = model(nodes, [1, 2, 3], constants)
    network = load_onnx(saved(proto, tmp_path))
    x = torch.rand(4, 1, 2, 3)
    assert torch.allclose(network(x[:, 0]), reference(proto, x), atol=1e-5)
    assert len(network.nodes._modules) == 2


def test_an_operator_without_a_rule_is_named_with_its_place(tmp_path):
    nodes = [make_node("Relu", ["x"], ["r"]), make_node("Det", ["r"], ["y"], name="/body/erf")]
    with pytest.raises(CaptureError, match=r"net.onnx: operator Det '/body/erf' \(Det_1\)"):
        read_onnx(saved(model(nodes, [1, 5]), tmp_path))


def test_an_operator_that_bounds_lack_is_named_by_the_capture(tmp_path):
    nodes = [make_node("Mul", ["x", "x"], ["y"], name="square")]
    with pytest.raises(CaptureError, match=r"nodes\.Mul_0"):
        read_onnx(saved(model(nodes, [1, 5]), tmp_path))


def test_a_difference_from_the_reference_is_refused(tmp_path, monkeypatch):
    from holdfast.certify.formats import onnx_ops

    monkeypatch.setitem(onnx_ops.RULES, "Relu", onnx_ops.RULES["Identity"])
    with pytest.raises(CaptureError, match=r"differs from onnx.reference by"):
        load_onnx(saved(acas(), tmp_path))


@pytest.mark.parametrize("data", [b"", b"no network", b"\x08\x07\x12"])
def test_garbage_is_refused(data, tmp_path):
    path = tmp_path / "net.onnx"
    path.write_bytes(data)
    with pytest.raises((InputError, CaptureError), match=r"net.onnx"):
        read_onnx(path)


def test_every_truncation_of_a_file_is_refused_or_read(tmp_path):
    data = acas().SerializeToString()
    for length in range(0, len(data), 29):
        path = tmp_path / "net.onnx"
        path.write_bytes(data[:length])
        with pytest.raises((InputError, CaptureError)):
            load_onnx(path)


@pytest.mark.parametrize("name", ["missing.onnx", "missing.onnx.gz"])
def test_a_missing_file_is_named(name, tmp_path):
    with pytest.raises(InputError, match="missing"):
        read_onnx(tmp_path / name)


def test_two_inputs_are_refused(tmp_path):
    proto = acas()
    proto.graph.input.append(onnx.helper.make_tensor_value_info("z", 1, [1, 2]))
    with pytest.raises(CaptureError, match=r"inputs \['x', 'z'\]"):
        load_onnx(saved(proto, tmp_path))


@pytest.mark.slow
def test_a_missing_package_names_the_extra():
    code = (
        "import sys; sys.modules['onnx'] = None\n"
        "from holdfast.certify.formats.onnx_reader import load_onnx\n"
        "from holdfast.core.errors import MissingExtra\n"
        "try: load_onnx('x.onnx')\n"
        "except MissingExtra as error: assert 'holdfast[onnx]' in str(error), error\n"
        "else: raise SystemExit('read without onnx')\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("operator", ["Softmax", "LogSoftmax"])
def test_a_last_softmax_is_left_out_where_only_the_order_matters(operator, tmp_path):
    constants = [constant("w", random(5, 3))]
    nodes = [make_node("MatMul", ["x", "w"], ["z"]), make_node(operator, ["z"], ["y"], axis=1)]
    path = saved(model(nodes, [1, 5], constants), tmp_path)
    x = torch.rand(4, 5)
    logits = x @ torch.from_numpy(random(5, 3))
    assert torch.allclose(load_onnx(path, order_only=True)(x), logits, atol=1e-6)
    whole = torch.softmax(logits, 1) if operator == "Softmax" else torch.log_softmax(logits, 1)
    assert torch.allclose(load_onnx(path)(x), whole, atol=1e-6)
    with pytest.raises(CaptureError, match="softmax"):
        read_onnx(path)


def test_a_softmax_over_some_outputs_is_kept(tmp_path):
    path = saved(model([make_node("Softmax", ["x"], ["y"], axis=2)], [1, 2, 3]), tmp_path)
    x = torch.rand(4, 2, 3)
    assert torch.allclose(
        load_onnx(path, order_only=True)(x), torch.softmax(x, 2).flatten(1), atol=1e-6
    )
