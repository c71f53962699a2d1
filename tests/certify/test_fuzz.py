"""Damaged properties and networks: read or refused in one line, and never with a wrong verdict."""

import random
from contextlib import suppress

import numpy as np
import pytest
import torch

from certify.onnx_nets import constant, make_node, model, onnx
from holdfast.benchmark.verify import Splitting, verify
from holdfast.benchmark.verify_attack import BoxDescent
from holdfast.certify.formats.onnx_reader import load_onnx
from holdfast.certify.formats.sexpr import Atom, Document
from holdfast.certify.formats.vnnlib import parse_vnnlib
from holdfast.certify.graphs.graph import capture
from holdfast.core.errors import CaptureError, InputError
from holdfast.core.results import Verdict

WORDS = [
    "X_0",
    "X_1",
    "Y_0",
    "Y_1",
    "Y_2",
    "X_2",
    "Y_9",
    "and",
    "or",
    "<=",
    ">=",
    "=",
    "+",
    "-",
    "*",
]
WORDS += [
    "(",
    ")",
    ";",
    "; a remark\n",
    "\r\n",
    "0",
    "-0.5",
    ".25",
    "1e-3",
    "1e308",
    "1e999",
    "nan",
]
WORDS += [
    "inf",
    "--1",
    "1..2",
    "\0",
    "\N{SNOWMAN}",
    "(assert",
    "(or (<= X_0 0) (>= X_0 0.5))",
    "Real",
]
HEAD = "".join(f"(declare-const {name} Real)\n" for name in ("X_0", "X_1", "Y_0", "Y_1", "Y_2"))
BOXES = [
    "(assert (>= X_0 -1))\n(assert (<= X_0 1))\n(assert (and (>= X_1 0) (<= X_1 0.5)))\n",
    "(assert (and (>= X_1 -0.5) (<= X_1 1)))\n(assert (or (and (>= X_0 -1) (<= X_0 -0.25))\n"
    "  (and (>= X_0 0.25) (<= X_0 1))))\n",
    "(assert (and (<= -1 X_0 ) (>= 1 X_0)(= X_1 0.25)))\r\n",
]
UNSAFE = [
    "(assert (>= Y_0 1.75))",
    "(assert (or (and (>= Y_0 Y_1) (>= Y_1 0.5)) (and (<= Y_2 -2))))",
    "(assert (<= (+ Y_0 (* 2 Y_1) -0.25) (- Y_2 1)))",
    "(assert (or (>= Y_2 3) (and (or (<= Y_1 -0.5) (>= Y_1 1.4)) (<= Y_0 0.1))))",
]


class Bent(torch.nn.Module):
    """Y_0 = relu(X_0 + X_1), Y_1 = relu(X_0 - X_1), Y_2 = X_0 - 2 Y_1."""

    def __init__(self):
        super().__init__()
        self.first, self.second = torch.nn.Linear(2, 4), torch.nn.Linear(4, 3)
        with torch.no_grad():
            self.first.weight.copy_(torch.tensor([[1.0, 1], [1, -1], [1, 0], [-1, 0]]))
            self.second.weight.copy_(torch.tensor([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, -2, 1, -1]]))
            self.first.bias.zero_()
            self.second.bias.zero_()

    def forward(self, x):
        return self.second(torch.relu(self.first(x)))


def exactly(x):
    """The same by hand, for points (B, 2)."""
    first, second = np.maximum(x[:, 0] + x[:, 1], 0), np.maximum(x[:, 0] - x[:, 1], 0)
    return np.stack([first, second, x[:, 0] - 2 * second], axis=1)


def damaged(draw, text):
    """A text with one to three words inserted, replaced or cut out, or without its end."""
    for _ in range(draw.randint(1, 3)):
        at = draw.randrange(len(text))
        kind = draw.randrange(5)
        if kind == 0:
            text = text[:at] + f" {draw.choice(WORDS)} " + text[at:]
        elif kind == 1:
            text = text[:at] + draw.choice(WORDS) + text[at + draw.randrange(12) :]
        elif kind == 2:
            text = text[:at] + text[at + draw.randrange(1, 30) :]
        elif kind == 3:
            lines = text.splitlines(keepends=True)
            lines.insert(draw.randrange(len(lines)), draw.choice(lines))
            text = "".join(lines)
        elif draw.random() < 0.3:
            text = text[:at]
    return text or "("


def truth(part, point):
    """The value of an expression at a point, read directly."""
    if isinstance(part, Atom):
        return point[part.text] if part.text in point else float(part.text)
    values = [truth(each, point) for each in part.parts[1:]]
    if part.head in ("<=", ">=", "="):
        low, high = values
        return {"<=": low <= high, ">=": low >= high, "=": low == high}[part.head]
    if part.head == "*":
        return float(np.prod(values))
    if part.head == "-":
        return -values[0] if len(values) == 1 else values[0] - sum(values[1:])
    if part.head == "/":
        return values[0] / values[1]
    return {"and": all, "or": any, "+": sum}[part.head](values)


@pytest.fixture(scope="module")
def graph():
    return capture(Bent(), (2,))


@pytest.fixture(scope="module")
def grid():
    side = np.linspace(-1.25, 1.25, 41)
    x = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    return x, exactly(x)


@pytest.mark.parametrize("seed", range(12))
def test_damaged_properties_are_refused_or_decided_as_they_read(seed, graph, grid):
    """Twenty damaged files each: a verdict agrees with the file, evaluated on a grid by hand."""
    draw = random.Random(seed)
    attack, splitting = BoxDescent(steps=8, restarts=2, samples=32), Splitting(most_boxes=400)
    for _ in range(20):
        text = damaged(draw, HEAD + draw.choice(BOXES) + draw.choice(UNSAFE))
        try:
            asked = parse_vnnlib(text)
            asked.check_network((2,), (3,))
        except InputError:
            continue
        found = verify(graph, asked, timeout=5.0, falsifier=attack, splitting=splitting)
        forms = [form.parts[1] for form in Document("t", text).forms() if form.head == "assert"]
        names = ("X_0", "X_1", "Y_0", "Y_1", "Y_2")
        if found.verdict is Verdict.VIOLATED:
            x = found.counterexample.numpy()[None]
            point = dict(zip(names, [*x[0], *exactly(x)[0]], strict=True))
            assert all(truth(form, point) for form in forms), text
        elif found.verdict is Verdict.HOLDS:
            x, y = grid
            values = torch.from_numpy(np.concatenate([x, y], axis=1))
            unsafe = asked.violated(values[:, :2], values[:, 2:])
            assert not bool(unsafe.any()), text
            for row in values[:: max(1, len(values) // 40)].tolist():
                point = dict(zip(names, row, strict=True))
                assert not all(truth(form, point) for form in forms), text


def network():
    """A file with a convolution, a pool, a reshape by a computed shape and a last layer."""
    rng = np.random.default_rng(0)
    constants = [
        constant("w", rng.normal(size=(3, 2, 2, 2))),
        constant("b", rng.normal(size=3)),
        constant("v", rng.normal(size=(12, 4))),
        constant("rest", [-1], "int64"),
        constant("zero", [0], "int64"),
    ]
    nodes = [
        make_node("Conv", ["x", "w", "b"], ["c"], pads=[0, 0, 1, 1]),
        make_node("Relu", ["c"], ["r"]),
        make_node("MaxPool", ["r"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        make_node("Shape", ["p"], ["d"]),
        make_node("Gather", ["d", "zero"], ["n"]),
        make_node("Concat", ["n", "rest"], ["s"], axis=0),
        make_node("Reshape", ["p", "s"], ["f"]),
        make_node("Gemm", ["f", "v"], ["y"], alpha=0.5),
    ]
    return model(nodes, [1, 2, 4, 4], constants)


def broken_bytes(draw, data):
    data = bytearray(data)
    for _ in range(draw.randint(1, 4)):
        at = draw.randrange(len(data))
        if draw.random() < 0.7:
            data[at] = draw.randrange(256)
        else:
            del data[at : at + draw.randrange(1, 20)]
    return bytes(data[: draw.randrange(len(data))] if draw.random() < 0.1 else data)


def broken_graph(draw, proto):
    """The file with a few nodes, names, numbers or shapes changed."""
    nodes, constants = proto.graph.node, proto.graph.initializer
    operators = [
        "Relu",
        "Split",
        "Slice",
        "Squeeze",
        "Transpose",
        "Clip",
        "Pad",
        "Expand",
        "Resize",
    ]
    operators += ["Max", "Pow", "PRelu", "Softmax", "ReduceMean", "AveragePool", "ConvTranspose"]
    for _ in range(draw.randint(1, 3)):
        node, number = draw.choice(nodes), draw.choice([-3, -1, 0, 1, 2, 3, 7, 2**40])
        kind = draw.randrange(9)
        if kind == 0 and len(nodes) > 1:
            nodes.remove(node)
        elif kind == 1:
            node.op_type = draw.choice([*operators, "", "NoSuch"])
        elif kind == 2 and node.input:
            node.input[draw.randrange(len(node.input))] = draw.choice(
                ["x", "r", "v", "", "zero", "y"]
            )
        elif kind == 3:
            name = draw.choice(["pads", "kernel_shape", "strides", "axis", "axes", "perm", "group"])
            value = [number] * draw.randint(1, 4) if draw.random() < 0.7 else number
            node.attribute.append(onnx.helper.make_attribute(name, value))
        elif kind == 4:
            each = draw.choice(constants)
            each.dims[draw.randrange(len(each.dims))] = number
        elif kind == 5:
            each = draw.choice(constants)
            each.data_type = draw.choice([0, 1, 2, 7, 10, 11, 99])
        elif kind == 6:
            shape = proto.graph.input[0].type.tensor_type.shape
            shape.dim[draw.randrange(4)].dim_value = draw.choice([-1, 0, 1, 2, 3])
        elif kind == 7:
            proto.opset_import[0].version = draw.choice([-1, 0, 1, 6, 9, 18, 999])
        else:
            node.output[0] = draw.choice(["x", "y", "", "r", "q"])
    return proto


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("kind", ["bytes", "graph"])
def test_damaged_networks_are_refused_or_equal_the_reference(kind, seed, tmp_path):
    """What is read has been compared with the reference implementation; all else is one line."""
    draw, data = random.Random(seed), network().SerializeToString()
    path = tmp_path / "net.onnx"
    for _ in range(12):
        if kind == "bytes":
            path.write_bytes(broken_bytes(draw, data))
        else:
            path.write_bytes(broken_graph(draw, network()).SerializeToString())
        with suppress(InputError, CaptureError):
            load_onnx(path)


def test_the_sound_network_is_read(tmp_path):
    (tmp_path / "net.onnx").write_bytes(network().SerializeToString())
    assert load_onnx(tmp_path / "net.onnx").input_shape == (2, 4, 4)
