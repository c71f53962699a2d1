import inspect

import pytest
import torch
import torch.nn.functional as F

from certify.nets import Function, inputs, samples
from holdfast.certify.bounds.interval import boxes
from holdfast.certify.graphs.graph import capture
from holdfast.certify.operators.activations import Arctan, LeakyReLU, Sigmoid, Tanh
from holdfast.certify.operators.affine import (
    BatchNorm,
    Convolution,
    Linear,
    Padding,
    Scale,
    Shift,
    TransposedConvolution,
)
from holdfast.certify.operators.aten import RULES, VIEWS
from holdfast.certify.operators.ops import Input, Joint, LinearMap, Op, OrderStatistic, Scalar
from holdfast.certify.operators.relaxation import lines_of, selection_of
from holdfast.certify.operators.selections import Maximum, MaxPool, Minimum
from holdfast.certify.operators.structural import (
    Add,
    Clamp,
    Concatenate,
    Negate,
    ReLU,
    Reshape,
    Structural,
    Subtract,
)
from holdfast.certify.rounding import Box
from holdfast.core.errors import CaptureError

ATEN = torch.ops.aten
IMAGE, LINE, FLAT, VIDEO = (2, 7, 6), (2, 7), (6,), (2, 3, 4, 5)


def weight(*shape):
    return inputs(1, shape, seed=5)[0].float() - 0.5


T2, T1, T3 = weight(2, 3, 3, 2), weight(2, 3, 2), weight(2, 1, 2, 2, 2)
W2, W1, W3, WL = weight(4, 2, 3, 2), weight(4, 1, 3), weight(3, 2, 2, 2, 2), weight(5, 6)
CHANNELS = weight(2, 1, 1)
MEAN, VARIANCE = weight(2), weight(2).abs() + 0.1
TWO, FOUR, FIVE, SIX, JOINED = weight(2), weight(4), weight(5), weight(6), weight(1, 2, 7, 6)

CASES = {
    "linear": (lambda x: F.linear(x, WL, FIVE), FLAT),
    "conv1d": (lambda x: F.conv1d(x, W1, FOUR, 2, 1, 2, 2), LINE),
    "conv2d": (lambda x: F.conv2d(x, W2, FOUR, (2, 1), (1, 0), (1, 2)), IMAGE),
    "conv3d": (lambda x: F.conv3d(x, W3, None, 2, 1), VIDEO),
    "conv_transpose1d": (lambda x: F.conv_transpose1d(x, T1, None, 2, 1, 1), LINE),
    "conv_transpose2d": (
        lambda x: F.conv_transpose2d(x, T2, SIX, (2, 1), (1, 0), (1, 0), 2, (1, 2)),
        IMAGE,
    ),
    "conv_transpose3d": (lambda x: F.conv_transpose3d(x, T3, None, 2), VIDEO),
    "batch_norm": (lambda x: F.batch_norm(x, MEAN, VARIANCE, TWO, TWO), IMAGE),
    "add": (lambda x: x + (1 + x) + CHANNELS, IMAGE),
    "sub": (lambda x: (x - CHANNELS) - (x - 0.25), IMAGE),
    "subtract": (lambda x: torch.subtract(CHANNELS, x), IMAGE),
    "rsub": (lambda x: torch.rsub(x, CHANNELS) + (1 - x), IMAGE),
    "mul": (lambda x: x * CHANNELS * -3.0, IMAGE),
    "multiply": (lambda x: torch.multiply(CHANNELS, x), IMAGE),
    "div": (lambda x: x / CHANNELS / 0.7, IMAGE),
    "divide": (lambda x: torch.divide(x, CHANNELS), IMAGE),
    "neg": (lambda x: -x, FLAT),
    "relu": (lambda x: torch.relu(x - 0.5), FLAT),
    "relu6": (lambda x: F.relu6(x * 12 - 3), FLAT),
    "hardtanh": (lambda x: F.hardtanh(x, 0.2, 0.6), FLAT),
    "leaky_relu": (lambda x: F.leaky_relu(x - 0.5, 0.03), FLAT),
    "abs": (lambda x: (x - 0.5).abs(), FLAT),
    "sigmoid": (lambda x: torch.sigmoid(4 * x - 2), FLAT),
    "tanh": (lambda x: torch.tanh(4 * x - 2), FLAT),
    "atan": (lambda x: torch.atan(x - 0.5), FLAT),
    "hardsigmoid": (lambda x: F.hardsigmoid(9 * x - 4), FLAT),
    "maximum": (lambda x: torch.maximum(x, 0.7 - x).maximum(CHANNELS), IMAGE),
    "minimum": (lambda x: torch.minimum(CHANNELS, torch.minimum(x[:, :1], 0.7 - x)), IMAGE),
    "clamp": (lambda x: x.clamp(0.3, 0.5) + x.clamp(max=0.5), FLAT),
    "clamp_min": (lambda x: torch.clamp_min(x, 0.5), FLAT),
    "clamp_max": (lambda x: torch.clamp_max(x, 0.5), FLAT),
    "mean": (lambda x: x.mean((-1, 2), keepdim=True), IMAGE),
    "sum": (lambda x: x.sum(1), IMAGE),
    "avg_pool1d": (lambda x: F.avg_pool1d(x, 3, padding=1), LINE),
    "avg_pool2d": (lambda x: F.avg_pool2d(x, (3, 2), 2, 1, True, False), IMAGE),
    "avg_pool3d": (lambda x: F.avg_pool3d(x, 2), VIDEO),
    "adaptive_avg_pool3d": (lambda x: F.adaptive_avg_pool3d(x, 2), VIDEO),
    "adaptive_avg_pool1d": (lambda x: F.adaptive_avg_pool1d(x, 3), LINE),
    "adaptive_avg_pool2d": (lambda x: F.adaptive_avg_pool2d(x, (3, None)), IMAGE),
    "max_pool1d": (lambda x: F.max_pool1d(x, 2), LINE),
    "max_pool2d": (lambda x: F.max_pool2d(x, 3, 2, 1, ceil_mode=True), IMAGE),
    "max_pool3d": (lambda x: F.max_pool3d(x, 2, 1), VIDEO),
    "permute": (lambda x: x.permute(0, 2, 3, 1), IMAGE),
    "transpose": (lambda x: x.transpose(1, -1), IMAGE),
    "slice": (lambda x: x[:, :, 1:5:2], IMAGE),
    "select": (lambda x: x[:, 1] - x.select(1, -2), IMAGE),
    "cat": (lambda x: torch.cat([x, -x], 1), IMAGE),
    "concat": (lambda x: torch.concat([x, x], -1), FLAT),
    "pad": (lambda x: F.pad(F.pad(x, (1, 2)), (2, -1, 0, 1), value=-0.7), IMAGE),
    "constant_pad_nd": (lambda x: ATEN.constant_pad_nd(x, [1, -1]), IMAGE),
    "view": (lambda x: x.view(x.size(0), -1), IMAGE),
    "reshape": (lambda x: x.reshape(-1, 2, 42), IMAGE),
    "flatten": (lambda x: x.flatten(1), IMAGE),
    "unflatten": (lambda x: x.unflatten(1, (2, 3)), FLAT),
    "squeeze": (lambda x: x[:, :1].squeeze(1), IMAGE),
    "unsqueeze": (lambda x: x.unsqueeze(-1), FLAT),
    "_unsafe_view": (lambda x: ATEN._unsafe_view(x, [x.shape[0], 3, 2]), FLAT),
    "contiguous": (lambda x: x.transpose(1, 2).contiguous(), IMAGE),
    "clone": (lambda x: x.clone(), FLAT),
    "alias": (lambda x: ATEN.alias(x), FLAT),
    "detach": (lambda x: x.detach(), FLAT),
    "dropout": (lambda x: F.dropout(x, 0.5, training=False), FLAT),
    "feature_dropout": (lambda x: F.dropout2d(x, 0.5, training=False), IMAGE),
    "alpha_dropout": (lambda x: F.alpha_dropout(x, 0.5, training=False), FLAT),
    "to": (lambda x: x.to(torch.float32), FLAT),
    "_to_copy": (lambda x: ATEN._to_copy(x, dtype=torch.float32), FLAT),
    "type_as": (lambda x: x.type_as(x), FLAT),
}


def test_every_rule_has_a_case():
    assert set(CASES) == set(RULES)
    assert set(RULES) > VIEWS


@pytest.mark.parametrize("name", CASES)
def test_operation(name, monkeypatch):
    """Forward, intervals and transpose of every operation of the table."""
    function, shape = CASES[name]
    called = []
    rule = RULES[name]
    monkeypatch.setitem(RULES, name, lambda call: called.append(call.name) or rule(call))
    graph = capture(Function(function), shape)
    assert name in called
    x = inputs(3, shape)
    torch.testing.assert_close(graph.forward(x.float()), function(x.float()), atol=1e-5, rtol=1e-5)
    _contains_samples(graph, x)
    _exact_at_a_point(graph, x)
    _transposes(graph, x)
    _pushes(graph)
    _has_lines(graph, x)
    _agrees_in_float32(graph, x)


def _contains_samples(graph, x):
    width = inputs(3, tuple(x.shape[1:]), seed=7) * 0.5
    for scale in (1.0, 1e-6, 1e6, 1e-310):
        lo, hi = scale * (x - width), scale * (x + width)
        lo[0], hi[2] = hi[0], lo[2]
        box = boxes(graph, Box(lo, hi), rigorous=True)[-1]
        fast = boxes(graph, Box(lo, hi), rigorous=False)[-1]
        assert (box.lower <= fast.lower).all()
        assert (box.upper >= fast.upper).all()
        points = samples(lo, hi, 40)
        values = graph.forward(points.flatten(0, 1)).unflatten(0, (40, 3))
        assert ((box.lower <= values) & (values <= box.upper)).all()


def _exact_at_a_point(graph, x):
    box, value = boxes(graph, Box(x, x), rigorous=True)[-1], graph.forward(x)
    torch.testing.assert_close(box.lower, value, atol=1e-13, rtol=1e-13)
    torch.testing.assert_close(box.upper, value, atol=1e-13, rtol=1e-13)


def _transposes(graph, x):
    """<W z, v> = <z, W' v> and |W z| <= |W| |z|, node by node."""
    constants = graph.constants.bind(torch.float64, torch.device("cpu"))
    for node in graph.nodes[1:]:
        if not isinstance(node.op, LinearMap):
            continue
        shape = graph.nodes[node.inputs[0]].shape
        z = inputs(3, shape, seed=11) - 0.5
        image = node.op.linear(z, constants)
        v = inputs(3, tuple(image.shape[1:]), seed=13) - 0.5
        pulled = node.op.pull(v, constants, shape)
        torch.testing.assert_close((image * v).sum(), (z * pulled).sum(), atol=1e-11, rtol=1e-11)
        assert (image.abs() <= node.op.absolute(z.abs(), constants) + 1e-13).all()


def _has_lines(graph, x):
    """What is not linear has a transpose, a selection or lines that enclose its samples."""
    found = boxes(graph, Box(x - 0.3, x + 0.3), rigorous=True)
    for node in graph.nodes[1:]:
        before = [found[place] for place in node.inputs]
        if isinstance(node.op, LinearMap):
            continue
        if isinstance(node.op, Joint):
            _joint_transposes(node, graph)
            continue
        points = [samples(*box, 20, seed=5) for box in before]
        values = node.op.forward([each.flatten(0, 1) for each in points], None)
        values = values.unflatten(0, (20, 3))
        if isinstance(node.op, OrderStatistic):
            lower, upper = _selected(node.op, before, points)
        else:
            lines = lines_of(node.op, *before)
            lower = lines.lower_slope * points[0] + lines.lower_intercept
            upper = lines.upper_slope * points[0] + lines.upper_intercept
        assert ((lower <= values + 1e-13) & (values <= upper + 1e-13)).all()


def _selected(op, before, points):
    """The selected lines at points."""
    selection = selection_of(op, before)
    joined = torch.cat([each.flatten(2) for each in points], 2)
    ends = []
    for place, line in ((selection.lower_place, 0), (selection.upper_place, 2)):
        at = place.flatten(1).expand(len(joined), -1, -1)
        slope, intercept = selection.lines[line : line + 2]
        ends.append(slope * joined.gather(2, at).view(-1, *place.shape) + intercept)
    return ends


def _pushes(graph):
    """Lower forms go where coefficients are positive, upper ones where they are negative."""
    constants = graph.constants.bind(torch.float64, torch.device("cpu"))
    for node in graph.nodes[1:]:
        shapes = [graph.nodes[place].shape for place in node.inputs]
        ends = [
            [inputs(2, shape, seed=seed + i) - 0.5 for seed in (21, 31)]
            for i, shape in enumerate(shapes)
        ]  # in any order
        if isinstance(node.op, LinearMap):
            low, high = node.op.push(*ends[0], constants)
            once, twice = node.op.push(ends[0][0], ends[0][0], constants)
            assert once is twice
            torch.testing.assert_close(once, node.op.linear(ends[0][0], constants))
        elif isinstance(node.op, Joint):
            low, high = node.op.push([Box(*each) for each in ends], constants)
        else:
            continue
        wanted = [torch.zeros_like(low), torch.zeros_like(low)]
        for index in range(len(shapes)):
            weight = _dense(node.op, shapes, index, constants)
            for place, (first, last) in enumerate((ends[index], ends[index][::-1])):
                parts = (
                    first.flatten(1) @ weight.clamp(min=0),
                    last.flatten(1) @ weight.clamp(max=0),
                )
                wanted[place] += sum(parts).view_as(low)
        torch.testing.assert_close(low, wanted[0], atol=1e-12, rtol=1e-12)
        torch.testing.assert_close(high, wanted[1], atol=1e-12, rtol=1e-12)


def _dense(op, shapes, index, constants):
    """The matrix of a linear map of one of its inputs, (in, out)."""
    count = torch.Size(shapes[index]).numel()
    table = [torch.zeros(count, *shape, dtype=torch.float64) for shape in shapes]
    table[index] = torch.eye(count, dtype=torch.float64).view(count, *shapes[index])
    image = op.linear(table[0], constants) if isinstance(op, LinearMap) else op.forward(table, None)
    return image.flatten(1)


def _agrees_in_float32(graph, x):
    """Intervals and lines in both precisions."""
    wide, narrow = (
        boxes(graph, Box((x - 0.2).to(dtype), (x + 0.2).to(dtype)), rigorous=False)
        for dtype in (torch.float64, torch.float32)
    )
    for node in graph.nodes:
        for first, second in zip(narrow[node.place], wide[node.place], strict=True):
            assert first.dtype == torch.float32
            torch.testing.assert_close(first.double(), second, atol=1e-4, rtol=1e-4)
        if isinstance(node.op, Scalar):
            pair = (lines_of(node.op, table[node.inputs[0]]) for table in (narrow, wide))
            for first, second in zip(*pair, strict=True):
                torch.testing.assert_close(first.double(), second, atol=1e-3, rtol=1e-3)


def test_every_operation_stands_in_a_case():
    """Each class of the room that can stand in a graph is checked by `test_operation`."""
    found, classes = set(), [Op]
    while classes:
        each = classes.pop()
        classes += each.__subclasses__()
        if each.__module__.startswith("holdfast.") and not inspect.isabstract(each):
            found.add(each)
    named = {
        "linear": Linear, "conv2d": Convolution, "conv_transpose2d": TransposedConvolution,
        "batch_norm": BatchNorm, "mul": Scale, "rsub": Shift, "pad": Padding, "neg": Negate,
        "add": Add, "sub": Subtract, "cat": Concatenate, "view": Reshape, "sum": Structural,
        "relu": ReLU, "clamp": Clamp, "leaky_relu": LeakyReLU, "sigmoid": Sigmoid, "tanh": Tanh,
        "atan": Arctan, "max_pool2d": MaxPool, "maximum": Maximum, "minimum": Minimum,
    }  # fmt: skip
    assert found == {*named.values(), Input}
    for name in ("pad", "minimum"):
        function, shape = CASES[name]
        graph = capture(Function(function), shape)
        assert named[name] in {type(node.op) for node in graph.nodes}


def _joint_transposes(node, graph):
    """<z_1 + z_2, v> = <z_1, v_1> + <z_2, v_2> and the like."""
    shapes = [graph.nodes[place].shape for place in node.inputs]
    z = [inputs(3, shape, seed=11 + i) - 0.5 for i, shape in enumerate(shapes)]
    image = node.op.forward(z, None)
    v = inputs(3, tuple(image.shape[1:]), seed=13) - 0.5
    pulled = node.op.pulls(v, shapes)
    back = sum((each * form).sum() for each, form in zip(z, pulled, strict=True))
    torch.testing.assert_close((image * v).sum(), back, atol=1e-11, rtol=1e-11)
    assert [tuple(each.shape[1:]) for each in pulled] == shapes


REFUSED = {
    "no lines and no interval": (lambda x: x.exp(), "exp"),
    "maximum over a dimension": (lambda x: x.amax(1), "amax"),
    "maximum with indices": (lambda x: x.max(1).values, "max"),
    "product of data": (lambda x: x * x, "mul"),
    "quotient by data": (lambda x: torch.div(CHANNELS, x + 1), "div"),
    "floor division": (lambda x: torch.div(x, 2.0, rounding_mode="floor"), "div"),
    "alpha": (lambda x: torch.add(x, x, alpha=2), "add.*alpha"),
    "mean of everything": (lambda x: x.mean(), "mean.*mixes examples"),
    "mean over the batch": (lambda x: x - x.mean(0), "mean.*mixes examples"),
    "no statistics": (lambda x: F.batch_norm(x, None, None, training=True), "batch statistics"),
    "batch statistics": (
        lambda x: F.batch_norm(x, MEAN, VARIANCE, training=True),
        "batch_norm.*batch statistics",
    ),
    "dropout in evaluation": (lambda x: F.dropout(x), "dropout.*training"),
    "rounding": (lambda x: x.half().float(), "to.*float16"),
    "padding by infinity": (lambda x: F.pad(x, (1, 1), value=torch.inf), "pad.*finite"),
    "reflection": (lambda x: F.pad(x, (1, 1, 1, 1), mode="reflect"), "pad"),
    "limits as tensors": (lambda x: x.clamp(min=CHANNELS), "clamp.*numbers"),
    "crossed limits": (lambda x: x.clamp(1.0, 0.0), "clamp.*above"),
    "divisor": (lambda x: F.avg_pool2d(x, 2, divisor_override=-3), "avg_pool2d.*negative"),
    "joined constant": (
        lambda x: torch.cat([x, JOINED.expand(x.shape[0], 2, 7, 6)], 1),
        "cat|batch",
    ),
    "batch size": (lambda x: x * x.shape[0], "mul.*batch size"),
    "a limit that is wider": (lambda x: x[:, :1].maximum(CHANNELS), "maximum.*more numbers"),
    "weight from data": (lambda x: F.linear(x, x[0, 0]), "mixes|linear"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_bounded_is_named(case):
    function, message = REFUSED[case]
    with pytest.raises(CaptureError, match=message) as caught:
        capture(Function(function), IMAGE)
    assert "\n" not in str(caught.value)
