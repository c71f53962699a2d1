import pytest
import torch

from certify.onnx_nets import constant, make_node, model, onnx, random, reference, saved
from holdfast.certify.formats.onnx_reader import load_onnx, read_onnx
from holdfast.core.errors import CaptureError

W, BIAS = constant("w", random(4, 2, 3, 2)), constant("b", random(4, seed=1))
SCALE = [constant(n, abs(random(2, seed=i)) + 0.1) for i, n in enumerate("smpv")]
CASES = {
    "conv": (["x", "w", "b"], {"strides": [2, 1], "pads": [1, 1, 1, 1]}, [W, BIAS]),
    "conv-uneven": (["x", "w", "b"], {"pads": [0, 1, 2, 0], "dilations": [1, 2]}, [W, BIAS]),
    "conv-same": (["x", "w"], {"auto_pad": "SAME_UPPER", "strides": [2, 2]}, [W]),
    "conv-groups": (["x", "w"], {"group": 2}, [constant("w", random(4, 1, 3, 2))]),
}


@pytest.mark.parametrize("name", CASES)
def test_convolutions_are_those_of_the_reference(name, tmp_path):
    inputs, attributes, constants = CASES[name]
    proto = model([make_node("Conv", inputs, ["y"], **attributes)], [1, 2, 7, 6], constants)
    x = torch.rand(3, 1, 2, 7, 6)
    found = load_onnx(saved(proto, tmp_path))(x.squeeze(1))
    assert torch.allclose(found, reference(proto, x), atol=1e-5)


TRANSPOSED = {
    "plain": ({}, [constant("w", random(2, 3, 3, 2))]),
    "strided": (
        {"strides": [2, 3], "pads": [1, 1, 1, 1], "output_padding": [1, 0]},
        [constant("w", random(2, 3, 3, 2)), constant("b", random(3))],
    ),
    "uneven": ({"pads": [0, 1, 2, 0], "dilations": [1, 2]}, [constant("w", random(2, 3, 3, 2))]),
}


@pytest.mark.parametrize("name", TRANSPOSED)
def test_transposed_convolutions_are_those_of_the_reference(name, tmp_path):
    attributes, constants = TRANSPOSED[name]
    inputs = ["x", *(each.name for each in constants)]
    proto = model(
        [make_node("ConvTranspose", inputs, ["y"], **attributes)], [1, 2, 5, 6], constants
    )
    x = torch.rand(3, 1, 2, 5, 6)
    found = load_onnx(saved(proto, tmp_path))(x.squeeze(1))
    assert torch.allclose(found, reference(proto, x), atol=1e-5)


@pytest.mark.parametrize(
    ("operator", "attributes"),
    [
        ("MaxPool", {"kernel_shape": [2, 2], "strides": [2, 2], "pads": [0, 0, 1, 0]}),
        ("AveragePool", {"kernel_shape": [2, 3], "pads": [1, 0, 0, 2]}),
        ("AveragePool", {"kernel_shape": [2, 3], "pads": [1, 0, 0, 2], "count_include_pad": 1}),
        ("GlobalMaxPool", {}),
        ("MaxPool", {"kernel_shape": [2, 3], "strides": [2, 1], "pads": [1, 1, 1, 1]}),
        ("AveragePool", {"kernel_shape": [2, 3], "pads": [1, 1, 1, 1]}),
        ("AveragePool", {"kernel_shape": [2, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1}),
        ("GlobalAveragePool", {}),
    ],
)
def test_pooling_is_that_of_the_reference(operator, attributes, tmp_path):
    proto = model([make_node(operator, ["x"], ["y"], **attributes)], [1, 2, 7, 6])
    x = torch.rand(3, 1, 2, 7, 6)
    found = load_onnx(saved(proto, tmp_path))(x.squeeze(1))
    assert torch.allclose(found, reference(proto, x), atol=1e-5)


def test_a_network_of_many_operators_is_captured(tmp_path):
    nodes = [
        make_node("ConvTranspose", ["x", "w"], ["a"], strides=[2, 2], pads=[0, 0, 1, 0]),
        make_node("Relu", ["a"], ["r"]),
        make_node("AveragePool", ["r"], ["p"], kernel_shape=[2, 3], pads=[1, 0, 0, 2]),
        make_node("MaxPool", ["p"], ["m"], kernel_shape=[2, 2], strides=[2, 2], pads=[0, 0, 1, 1]),
        make_node("Split", ["m"], ["s", "t"], axis=1),
        make_node("Max", ["s", "t"], ["n"]),
        make_node("Gather", ["n", "i"], ["g"], axis=2),
        make_node("Flatten", ["g"], ["y"]),
    ]
    constants = [constant("w", random(2, 4, 3, 2)), constant("i", [2, 0, 1], "int64")]
    proto = model(nodes, [1, 2, 4, 3], constants)
    x = torch.rand(3, 1, 2, 4, 3)
    graph = read_onnx(saved(proto, tmp_path))
    assert torch.allclose(graph.forward(x.squeeze(1)), reference(proto, x), atol=1e-5)


def test_batch_norm_and_padding(tmp_path):
    nodes = [
        make_node("BatchNormalization", ["x", "s", "m", "p", "v"], ["n"], epsilon=0.01),
        make_node("Pad", ["n", "pads"], ["y"]),
    ]
    pads = constant("pads", [0, 0, 1, 2, 0, 0, 3, 0], "int64")
    proto = model(nodes, [1, 2, 7, 6], [*SCALE, pads])
    x = torch.rand(3, 2, 7, 6)
    scale, mean, bias, variance = (torch.tensor(onnx.numpy_helper.to_array(c)) for c in SCALE)
    wanted = torch.nn.functional.batch_norm(x, bias, variance, scale, mean, eps=0.01)
    found = load_onnx(saved(proto, tmp_path))(x).reshape(3, 2, 11, 8)
    assert torch.allclose(found, torch.nn.functional.pad(wanted, (2, 0, 1, 3)), atol=1e-5)


def test_pooling_with_uneven_pads_is_refused(tmp_path):
    node = make_node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], pads=[1, 0, 0, 1])
    with pytest.raises(CaptureError, match=r"MaxPool.*pads \(1, 0, 0, 1\)"):
        load_onnx(saved(model([node], [1, 2, 7, 6]), tmp_path))
