import pytest
import torch
import torch.nn.functional as F
from torch import nn

from certify.nets import SHAPE, Ball2, Function, Hull, inputs, samples
from holdfast.certify import Interval, capture
from holdfast.certify.bounds.interval import boxes
from holdfast.certify.operators.affine import (
    BatchNorm,
    Convolution,
    Linear,
    Padding,
    Scale,
    TransposedConvolution,
)
from holdfast.certify.rounding import Box


def test_batch_norm_folds_to_the_same_bounds_as_a_folded_network():
    conv, norm = nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4)
    with torch.no_grad():
        norm.running_mean.copy_(torch.linspace(-1, 1, 4))
        norm.running_var.copy_(torch.linspace(0.2, 2, 4))
        norm.weight.copy_(torch.linspace(-1, 2, 4))
    model = nn.Sequential(conv, norm, nn.ReLU()).double().eval()
    folded = nn.Sequential(nn.utils.fuse_conv_bn_eval(model[0], model[1]), nn.ReLU())
    x = inputs(3)
    first, second = (
        boxes(capture(each, SHAPE), Box(x - 0.1, x + 0.1), rigorous=True)[-1]
        for each in (model, folded)
    )
    torch.testing.assert_close(first.lower, second.lower, atol=1e-12, rtol=0)
    torch.testing.assert_close(first.upper, second.upper, atol=1e-12, rtol=0)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Linear(6, 4),
        nn.Conv2d(2, 4, 3, stride=2, padding=1, dilation=2, groups=2),
        nn.BatchNorm2d(2).eval(),
        nn.ConvTranspose2d(2, 4, (3, 2), 2, 1, 1, groups=2),
    ],
)
def test_the_interval_of_a_layer_is_attained_by_the_best_corner(layer):
    """Each output is lowest where every input goes against the sign of its weight."""
    layer = layer.double()
    x = inputs(3)
    box = Box(x - 0.1, x + 0.2)
    found = boxes(capture(layer, SHAPE), box, rigorous=True)[-1]
    jacobian = torch.autograd.functional.jacobian(layer, x[:1]).squeeze(0).squeeze(-4)
    outputs = jacobian.shape[: -len(SHAPE)]
    for place in [tuple(0 for _ in outputs), tuple(size - 1 for size in outputs)]:
        row = jacobian[place]
        worst = torch.where(row > 0, box.lower, box.upper)
        best = torch.where(row > 0, box.upper, box.lower)
        for corner, end in ((worst, found.lower), (best, found.upper)):
            value = layer(corner)[(slice(None), *place)]
            torch.testing.assert_close(end[(slice(None), *place)], value, atol=1e-12, rtol=0)
        assert (found.lower[(slice(None), *place)] <= layer(worst)[(slice(None), *place)]).all()


def test_layers_print_what_they_are():
    ops = [
        capture(nn.Sequential(layer, nn.Flatten()), SHAPE).nodes[1].op
        for layer in (nn.Linear(6, 4, bias=False), nn.Conv2d(2, 4, 3, padding="same"))
    ]
    assert isinstance(ops[0], Linear)
    assert ops[0].bias is None
    assert isinstance(ops[1], Convolution)
    assert ops[1].padding == "same"


def test_batch_norm_without_weights_scales_and_shifts():
    layer = nn.BatchNorm2d(2, affine=False).eval()
    layer.running_mean.copy_(torch.tensor([0.3, -0.2]))
    graph, x = capture(layer, SHAPE), inputs(3).float()
    assert isinstance(graph.nodes[1].op, BatchNorm)
    torch.testing.assert_close(graph.forward(x), layer(x))


def test_a_division_by_zero_bounds_nothing():
    class Divide(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("by", torch.tensor([2.0, -0.5]))

        def forward(self, x):
            return x / self.by

    model = Divide()
    graph = capture(model, (2,))
    assert graph.nodes[1].op == Scale(graph.nodes[1].op.factor, divide=True)
    model.by[1] = 0
    box = boxes(graph, Box(-torch.ones(1, 2), torch.ones(1, 2)), rigorous=False)[-1]
    assert box.lower[0, 0] == -0.5
    assert not box.lower[0, 1].isfinite()


CONSTANTS = {
    "int8": torch.tensor([-128, 3, 2], dtype=torch.int8),
    "uint8": torch.tensor([128, 3, 2], dtype=torch.uint8),
    "int64": torch.tensor([-(2**63), 3, 2]),
    "mask": torch.tensor([True, False, True]),
}


@pytest.mark.parametrize("name", CONSTANTS)
@pytest.mark.parametrize("method", ["hull", "support"])
def test_whole_numbers_and_masks_are_factors_and_offsets(name, method):
    """|-128| is -128 in int8, and a mask has no absolute value."""
    constant = CONSTANTS[name]
    functions = [lambda x: x * constant, lambda x: x + constant, lambda x: (x * constant).relu()]
    if name != "mask":
        functions += [lambda x: x - constant, lambda x: constant - x, lambda x: x / constant]
    x = inputs(2, (3,))
    for function in functions:
        bounds = Interval(first_layer=method).bound(
            capture(Function(function), (3,)), x, Ball2(0.1), torch.eye(3)
        )
        lowest, highest = function(x - 0.1), function(x + 0.1)
        low, high = torch.minimum(lowest, highest), torch.maximum(lowest, highest)
        slack = 1e-12 * (1 + high.abs() + low.abs())
        assert (bounds.lower <= low).all()
        assert (bounds.upper >= high).all()
        assert (low - bounds.lower <= slack).all()
        assert (bounds.upper - high <= slack).all()


class Widening(nn.Module):
    """A first map to fewer features, a constant that broadcasts over more, and a last layer."""

    def __init__(self, first, function, features, *middle):
        super().__init__()
        self.first, self.function = first, function
        self.rest = nn.Sequential(*middle, nn.Flatten(), nn.Linear(features, 4))

    def forward(self, x):
        return self.rest(self.function(self.first(x)))


C5 = torch.tensor([0.3, -1.0, 2.0, 0.0, 0.7])
MEAN, STD = torch.tensor([0.2, 0.4, 0.5]).view(3, 1, 1), torch.tensor([0.5, 0.3, 2.0]).view(3, 1, 1)
WIDENING = {
    "sum": (lambda: Widening(nn.Linear(6, 1), lambda x: x + C5, 5), (6,)),
    "difference": (lambda: Widening(nn.Linear(6, 1), lambda x: x - C5, 5), (6,)),
    "reversed": (lambda: Widening(nn.Linear(6, 1), lambda x: C5 - x, 5), (6,)),
    "rsub": (lambda: Widening(nn.Linear(6, 1), lambda x: torch.rsub(x, C5), 5), (6,)),
    "relu": (lambda: Widening(nn.Linear(6, 1), lambda x: x + C5, 5, nn.ReLU()), (6,)),
    "channels": (lambda: Widening(nn.Identity(), lambda x: (x - MEAN) / STD, 126), (1, 7, 6)),
    "convolution": (
        lambda: Widening(nn.Identity(), lambda x: (x - MEAN) / STD, 40, nn.Conv2d(3, 2, 3)),
        (1, 7, 6),
    ),
}


@pytest.mark.parametrize("name", WIDENING)
@pytest.mark.parametrize("method", ["hull", "support"])
def test_constants_broadcast_over_features(name, method):
    """Samples stay inside; without a nonlinearity the bounds on logits are attained."""
    build, shape = WIDENING[name]
    model = build()
    with torch.no_grad():
        for index, weight in enumerate(model.parameters()):
            weight.copy_(inputs(1, tuple(weight.shape), seed=index)[0] - 0.5)
    x = inputs(2, shape)
    threat = Hull(0.1) if method == "hull" else Ball2(0.1)
    graph = capture(model, shape)
    bounds = Interval(first_layer=method).bound(graph, x, threat, torch.eye(4))
    points = samples(x - 0.1, x + 0.1, 60)
    if method == "support":
        points = x + (points - x) / (len(x[0].flatten()) ** 0.5)
    double = model.double()
    with torch.no_grad():
        values = double(points.flatten(0, 1)).view(60, 2, 4)
    assert (values >= bounds.lower).all()
    assert (values <= bounds.upper).all()
    if name in ("relu", "convolution") or method == "hull":
        return
    gradient = torch.autograd.functional.jacobian(lambda z: double(z)[0], x[:1]).flatten(1)
    torch.testing.assert_close(
        bounds.upper[0] - bounds.lower[0], 0.2 * gradient.norm(dim=1), atol=1e-6, rtol=1e-6
    )


@pytest.mark.parametrize("padding", [(1, 0), "same"])
def test_a_convolution_is_pulled_back_as_autograd_does(padding):
    """Also where the stride leaves rows of the input unread."""
    stride = 1 if padding == "same" else (3, 2)
    layer = nn.Conv2d(2, 4, 3, stride, padding, groups=2).double()
    graph, x = capture(layer, SHAPE), inputs(3).requires_grad_()
    rows = inputs(3, graph.output_shape, seed=4) - 0.5
    values = graph.constants.bind(torch.float64, x.device)
    (expected,) = torch.autograd.grad(layer(x), x, rows)
    pulled = graph.nodes[1].op.pull(rows, values, SHAPE)
    torch.testing.assert_close(pulled, expected, rtol=0, atol=1e-13)
    (weight,) = torch.autograd.grad(pulled.square().sum(), layer.weight)
    assert weight.abs().sum() > 0


def test_a_transposed_convolution_counts_the_weights_of_a_group():
    layer = nn.ConvTranspose2d(6, 4, 3, groups=2)
    graph = capture(layer, (6, 2, 3))
    assert isinstance(graph.nodes[1].op, TransposedConvolution)
    assert graph.nodes[1].op.terms(graph.constants.bind(torch.float64, torch.device("cpu"))) == 27


def test_padding_with_a_number_is_exact_inside_and_in_the_padding():
    captured = capture(Function(lambda x: F.pad(x, (1, -2, 0, 1), value=-0.7)), SHAPE)
    assert isinstance(captured.nodes[-1].op, Padding)
    x = inputs(3)
    lower, upper = boxes(captured, Box(x - 0.1, x + 0.1), rigorous=True)[-1]
    inside = F.pad(torch.ones_like(x), (1, -2, 0, 1)).bool()
    assert lower[~inside].tolist() == pytest.approx([-0.7] * int((~inside).sum()), abs=1e-13)
    assert (lower[~inside] < upper[~inside]).all()
    kept = F.pad(x, (1, -2, 0, 1))[inside]
    torch.testing.assert_close(lower[inside], kept - 0.1, atol=1e-12, rtol=0)
    torch.testing.assert_close(upper[inside], kept + 0.1, atol=1e-12, rtol=0)
