import pytest
import torch
from torch import nn

from certify.nets import SHAPE, graph, inputs, samples
from certify.textbook import Textbook
from holdfast.certify import capture, margin_rows
from holdfast.certify.bounds.linear import CROWN, Dual
from holdfast.certify.substitution.backward import both, lower, widest
from holdfast.certify.substitution.regions import around
from holdfast.certify.substitution.rows import Dense
from holdfast.certify.substitution.schedule import Plan, Shared, relax
from holdfast.threats import Linf


def strided_net():
    """Convolutions with strides and paddings, wide enough for windows to stay windows."""
    model = nn.Sequential(
        nn.Conv2d(2, 3, 3, 2, 1), nn.ReLU(),
        nn.Conv2d(3, 4, 2, 1, 1), nn.ReLU(),
        nn.Conv2d(4, 3, 3, 2, 2), nn.ReLU(),
        nn.Flatten(), nn.Linear(60, 8), nn.ReLU(), nn.Linear(8, 5),
    ).double()  # fmt: skip
    with torch.no_grad():
        for index, tensor in enumerate(model.parameters()):
            tensor.copy_(inputs(1, tuple(tensor.shape), seed=index)[0] - 0.5)
    return model


NETS = {
    "strided": lambda: (capture(strided_net(), (2, 12, 9)), (2, 12, 9)),
    "residual": lambda: (graph("residual"), SHAPE),
}


def known_of(captured, x, threat, *, rigorous=True, plain=False, inner="adaptive"):
    region = around(threat, x, rigorous=rigorous)
    values = captured.constants.bind(x.dtype, x.device)
    return relax(captured, Shared(values, rigorous), region, Plan(inner, plain, 2**23))


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("eps", [0.005, 0.05])
@pytest.mark.parametrize(("method", "adaptive"), [(CROWN, True), (Dual, False)])
def test_the_plain_schedule_is_the_textbook(name, eps, method, adaptive):
    captured, shape = NETS[name]()
    x, rows = inputs(3, shape), margin_rows(torch.tensor([0, 4, 2]), 5).double()
    found = method(schedule="plain").bound(captured, x, Linf(eps, box=None), rows).lower
    wider = eps + 1e-6
    for index in range(3):
        image = x[index : index + 1]
        book = Textbook(captured, image - wider, image + wider, adaptive=adaptive)
        wanted = book.margins(rows[index])
        torch.testing.assert_close(found[index], wanted, atol=1e-8, rtol=0)
        assert (found[index] < wanted).all()
    fast = method(schedule="plain", mode="fast").bound(
        captured, x.float(), Linf(eps, box=None), rows
    )
    torch.testing.assert_close(fast.lower.double(), found, atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("name", NETS)
def test_one_substitution_gives_both_ends(name):
    captured, shape = NETS[name]()
    x = inputs(3, shape)
    relaxed = known_of(captured, x, Linf(0.02)).fixed
    rows, image = Dense(inputs(7, (5,)) - 0.5), torch.tensor([0, 0, 1, 1, 1, 2, 2])
    place = len(captured.nodes) - 1
    least, most = both(relaxed, rows, image, place)
    torch.testing.assert_close(least, lower(relaxed, rows, image, place), atol=1e-10, rtol=0)
    negated = lower(relaxed, Dense(-rows.values), image, place)
    torch.testing.assert_close(most, -negated, atol=1e-10, rtol=0)
    points = samples(*Linf(0.02).hull(x), 200)
    with torch.no_grad():
        logits = captured.forward(points.flatten(0, 1)).view(200, 3, 5)
    values = torch.einsum("nk,snk->sn", rows.values, logits[:, image])
    assert (values >= least).all()
    assert (values <= most).all()


@pytest.mark.parametrize("name", ["conv", "pooled", "residual", "functional"])
def test_every_operation_is_passed_soundly(name):
    """Clamps, pools, concatenations and broadcasts among them."""
    x, y = inputs(3), torch.tensor([0, 4, 2])
    rows = margin_rows(y, 5).double()
    points = samples(*Linf(0.05).hull(x), 400)
    with torch.no_grad():
        logits = graph(name).forward(points.flatten(0, 1)).view(400, 3, 5)
    values = torch.einsum("brk,sbk->sbr", rows, logits)
    for method in (CROWN(), Dual(), CROWN(schedule="plain"), Dual(schedule="plain")):
        found = method.bound(graph(name), x, Linf(0.05), rows).lower
        assert found.isfinite().all()
        assert (values >= found).all()


class Joined(nn.Module):
    """A node read twice, a concatenation, a difference, a broadcast sum."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(4, 3), nn.Linear(6, 5)
        self.scalar = nn.Linear(3, 1)

    def forward(self, x):
        z = torch.relu(self.first(x))
        z = torch.cat([z - x[:, 1:], z * 2.0], dim=1)
        return self.last(z) + self.scalar(z[:, :3])


def test_joins_are_exact_where_nothing_is_relaxed():
    model = Joined().double()
    with torch.no_grad():
        model.first.bias.fill_(9.0)
    x, rows = inputs(3, (4,)), torch.eye(5, dtype=torch.float64)
    threat = Linf(0.1, box=None)
    jacobian = torch.stack(
        [torch.autograd.functional.jacobian(model, row[None])[0, :, 0] for row in x]
    )
    wanted = model(x).detach() - (0.1 + 1e-6) * jacobian.abs().sum(2)
    for method in (CROWN(schedule="plain"), Dual(schedule="plain")):
        found = method.bound(model, x, threat, rows).lower
        torch.testing.assert_close(found, wanted, atol=1e-9, rtol=0)


@pytest.mark.parametrize("method", [CROWN, Dual])
@pytest.mark.parametrize("schedule", ["cheap", "plain"])
def test_rounding_is_paid_for(method, schedule):
    """x + 2^54 - 2^54 - 0.5 on [-1, 1]: the true minimum is -1.5, float64 computes -0.5."""
    model = nn.Sequential(nn.Linear(1, 1), nn.ReLU(), nn.Linear(1, 1)).double()
    with torch.no_grad():
        for layer, bias in ((model[0], 2.0**54), (model[2], -(2.0**54) - 0.5)):
            layer.weight.fill_(1.0)
            layer.bias.fill_(bias)
    x, spec = torch.zeros(1, 1, dtype=torch.float64), torch.ones(1, 1)
    found = method(schedule=schedule).bound(model, x, Linf(1.0, box=None), spec).lower
    assert found.item() <= -1.5


def test_the_widest_row_is_the_largest_layer():
    captured, shape = NETS["strided"]()
    relaxed = known_of(captured, inputs(1, shape), Linf(0.01)).fixed
    rows = Dense(torch.ones(1, 5, dtype=torch.float64))
    assert widest(relaxed, rows, torch.tensor([0]), len(captured.nodes) - 1) == 2 * 12 * 9


def test_a_maximum_is_passed_by_its_lines():
    """Of two inputs of which one is always larger, the maximum is that one, exactly."""
    layers = [nn.Conv1d(1, 1, 1), nn.MaxPool1d(2), nn.Flatten(), nn.Linear(2, 2)]
    model = nn.Sequential(*layers).double()
    model[0].weight.data.fill_(0.8)
    x = torch.tensor([[[0.9, 0.1, 0.2, 0.7]]], dtype=torch.float64)
    spec = torch.tensor([[1.0, -1.0], [-1.0, 1.0]], dtype=torch.float64)
    with torch.no_grad():
        margin = spec @ model(x)[0]
        weight = (spec @ model[3].weight).abs().sum(1) * model[0].weight.abs().sum()
    found = CROWN(schedule="plain").bound(model, x, Linf(0.1, box=None), spec).lower[0]

    torch.testing.assert_close(found, margin - (0.1 + 1e-6) * weight, atol=1e-9, rtol=0)
    ended = Dual(schedule="plain").bound(model, x, Linf(0.1, box=None), spec).lower[0]
    assert (ended <= found + 1e-12).all()
