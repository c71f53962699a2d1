import pytest
import torch
from torch import nn

from certify.nets import SHAPE, inputs
from holdfast.certify import capture
from holdfast.certify.affine import BatchNorm, Convolution, Linear, Scale
from holdfast.certify.interval import boxes
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
