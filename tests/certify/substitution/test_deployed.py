import pytest
import torch
from torch import nn

from certify.nets import graph, inputs, net
from holdfast.certify import CROWN, AlphaCrown, CrownIBP, Dual, Interval, capture, margin_rows
from holdfast.certify.bounds.interval import boxes
from holdfast.certify.rounding import Box
from holdfast.certify.substitution.deployed import float32_moves
from holdfast.core.errors import InputError
from holdfast.threats import L2, Linf

METHODS = [Interval, Dual, CROWN, CrownIBP, AlphaCrown]


def trap(offset: float) -> nn.Sequential:
    """z = x + 2^24 and z - 2^24 - offset: on [-1, 1] the minimum is -1 - offset."""
    model = nn.Sequential(nn.Linear(1, 1), nn.ReLU(), nn.Linear(1, 1))
    with torch.no_grad():
        model[0].weight.fill_(1.0)
        model[0].bias.fill_(2.0**24)
        model[2].weight.fill_(1.0)
        model[2].bias.fill_(-(2.0**24) - offset)
    return model


class Halves(nn.Module):
    """x + 2^24 - 2^24 - 0.5 with the offsets 2^24 and 0.5 as float32 holds them."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(1, 1), nn.Linear(1, 1)
        with torch.no_grad():
            for layer, bias in ((self.first, 2.0**24), (self.second, -(2.0**24))):
                layer.weight.fill_(1.0)
                layer.bias.fill_(bias)

    def forward(self, x):
        return self.second(torch.relu(self.first(x - 0.5)))


@pytest.mark.parametrize("method", METHODS)
def test_the_published_trap(method):
    """The true minimum is -1.5; the network's own float32 pass gives -2."""
    model, x = Halves(), torch.zeros(1, 1)
    with torch.no_grad():
        assert model(torch.tensor([[-1.0]])).item() == -2.0
    threat, spec = Linf(1.0, box=None), torch.ones(1, 1)
    found = {
        mode: method(mode=mode).bound(model, x, threat, spec) for mode in ("rigorous", "deployed")
    }
    assert found["rigorous"].lower.item() <= -1.5
    assert -12 < found["deployed"].lower.item() <= -2.0
    assert found["deployed"].sound


SLOW = [(AlphaCrown, "residual"), (CROWN, "residual"), (AlphaCrown, "pooled")]
CASES = [(m, n) for m in METHODS for n in ("conv", "pooled", "residual") if (m, n) not in SLOW]


@pytest.mark.parametrize(
    ("method", "name"), [*CASES, *(pytest.param(*case, marks=pytest.mark.slow) for case in SLOW)]
)
def test_float32_passes_stay_above_and_the_price_is_small(method, name):
    x, rows = inputs(3).float(), margin_rows(torch.tensor([0, 4, 2]), 5)
    for threat in (Linf(0.004), L2(0.03)):
        found = method(mode="deployed").bound(graph(name), x, threat, rows).lower
        if method is not Interval:
            whole = method(schedule="plain").bound(graph(name), x, threat, rows).lower
            assert (found > whole - 5e-2).all()
            assert (found != whole).all()
        model, point = net(name).float(), x.clone()
        for _ in range(4):
            point.requires_grad_()
            with torch.enable_grad():
                value = (rows * model(point).unsqueeze(1)).sum(2)
                (gradient,) = torch.autograd.grad(value.sum(), point)
            margins = torch.einsum("brk,bk->br", rows.double(), model(point).double())
            assert (margins.detach() >= found).all()
            step = threat.steepest(-gradient, threat.radius)
            point = threat.project((point + step).detach(), x)


def test_every_order_of_a_sum_is_covered():
    """A sum of 300 products of mixed size, added up in 40 orders and by halves."""
    layer = nn.Linear(300, 1)
    with torch.no_grad():
        spread = 2.0 ** (20 * inputs(1, (300,), seed=4)[0] - 10)
        layer.weight.copy_(((inputs(1, (300,), seed=5)[0] - 0.5) * spread).float()[None])
    captured = capture(nn.Sequential(layer), (300,))
    x = inputs(1, (300,)).float()
    box = Box(x.double(), x.double())
    values = captured.constants.bind(torch.float64, x.device)
    node = captured.nodes[-1]
    move = float32_moves(node, [box], box, values).item()
    exact = (layer.weight.double() @ x[0].double() + layer.bias.double()).item()
    products, found = layer.weight[0].detach() * x[0], [layer(x).item()]
    for seed in range(40):
        order = inputs(1, (300,), seed=20 + seed)[0].argsort()
        total = torch.zeros(())
        for product in products[order]:
            total = total + product
        found.append((total + layer.bias[0].detach()).item())
    errors = [abs(each - exact) for each in found]
    assert 0 < max(errors) <= move
    assert move < 1e3 * max(errors)


def test_what_moves_no_number_has_no_rounding():
    x = inputs(2)
    walked = boxes(graph("conv"), Box(x, x), rigorous=True)
    values = graph("conv").constants.bind(x.dtype, x.device)
    for node in graph("conv").nodes[1:]:
        inputs_of = [walked[index] for index in node.inputs]
        move = float32_moves(node, inputs_of, walked[node.place], values)
        weighted = type(node.op).__name__ in ("Convolution", "Linear", "Clamp")
        assert (move is not None) == weighted
        if move is not None:
            assert move.shape[1:] == node.shape
            assert (move > 0).all()


def test_what_is_not_known_is_refused():
    with pytest.raises(InputError, match=r"^first_layer="):
        Interval(mode="deployed", first_layer="support").bound(
            graph("conv"), inputs(1), Linf(0.1), torch.eye(5)
        )
