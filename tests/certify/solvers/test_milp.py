import pytest
import torch
from torch import nn

from certify.nets import deep_net, graph, inputs, samples, small_net
from certify.programming import enumerated, hull, tiny
from holdfast.certify import CROWN, certified, margin_rows
from holdfast.certify.solvers.highs import Status
from holdfast.certify.solvers.lp import LP
from holdfast.certify.solvers.milp import MILP
from holdfast.core.errors import CaptureError, UnsupportedThreat
from holdfast.core.recipes import build
from holdfast.threats import L1, L2, Linf

PAIR = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
OPTIMUM = MILP(plain=True, until="optimum", tolerance=1e-6)


class Folded(nn.Module):
    """Absolute values, a leaky ReLU, a maximum, a minimum, a concatenation and a clamp."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(2, 5), nn.Linear(10, 2)

    def forward(self, x):
        z = self.first(x)
        both = torch.maximum(z.abs(), 0.7 - z), torch.minimum(nn.functional.leaky_relu(z, 0.2), -z)
        return self.last(torch.cat(both, dim=1).clamp(-0.5, 0.6))


def folded():
    """The network with keyed weights."""
    net, generator = Folded().double(), torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return net


@pytest.mark.parametrize("seed", range(3))
def test_it_is_the_least_over_all_patterns_of_signs(seed):
    net, x = tiny(seed), inputs(1, (3,), seed)
    answers = OPTIMUM.solve(net, x, Linf(0.4, box=None), PAIR)
    for row, found in zip(PAIR.double(), answers.bounds.lower[0].tolist(), strict=True):
        assert found == pytest.approx(enumerated(net, row, *hull(x, 0.4)), abs=3e-6)
    assert answers.bounds.exact
    assert not answers.bounds.sound


@pytest.mark.parametrize(
    ("net", "x", "eps"),
    [(small_net(), (0.5, 0.5), eps) for eps in (0.3, 0.8)]
    + [(deep_net(), (0.6, 0.2), eps) for eps in (0.05, 0.2)],
)
def test_golden_examples(net, x, eps):
    x = torch.tensor([x]).double()
    answers = OPTIMUM.solve(net, x, Linf(eps, box=None), PAIR)
    for row, found in zip(PAIR.double(), answers.bounds.lower[0].tolist(), strict=True):
        assert found == pytest.approx(enumerated(net, row, *hull(x, eps)), abs=3e-6)
    linear = LP(plain=True).bound(net, x, Linf(eps, box=None), PAIR).lower
    assert (linear <= answers.bounds.lower + 2e-6).all()


def test_the_smallest_adversarial_radius_of_golden_example_a():
    """It is 2.25 / 6 = 0.375, attained in the linear piece of the input."""
    x, spec = torch.tensor([[0.5, 0.5]]), PAIR[:1]
    inside, outside = (
        MILP().solve(small_net(), x, Linf(r, box=None), spec) for r in (0.374, 0.376)
    )
    assert certified(inside.bounds).all()
    assert (outside.value < 0).all()


@pytest.mark.parametrize("threat", [Linf(0.3), Linf(0.3, box=None), L1(0.3)], ids=str)
def test_every_kind_of_unit_by_a_grid_and_by_its_own_witness(threat):
    net, x = folded(), inputs(1, (2,), 4)
    answers = OPTIMUM.solve(net, x, threat, PAIR)
    assert (answers.status == Status.SOLVED).all()
    assert (answers.bounds.lower <= answers.value + 1e-9).all()
    assert (answers.value - answers.bounds.lower < 2e-5).all()
    low, high = threat.hull(x)
    steps = torch.linspace(0, 1, 301).double()
    points = low + torch.cartesian_prod(steps, steps) * (high - low)
    points = points[threat.contains(points, x.expand_as(points))]
    with torch.no_grad():
        least = (net(points) @ PAIR.double().T).amin(0)
    assert (answers.bounds.lower[0] <= least).all()
    assert (least - answers.bounds.lower[0] < 0.05).all()
    linear = LP(plain=True).bound(net, x, threat, PAIR).lower
    assert (linear <= answers.bounds.lower + 2e-6).all()
    assert (linear < answers.bounds.lower - 1e-3).any()


@pytest.mark.parametrize("name", ["conv", "pooled"])
def test_deeper_networks_attain_their_bounds(name):
    x, rows = inputs(1), margin_rows(torch.tensor([0]), 5)
    answers = OPTIMUM.solve(graph(name), x, Linf(0.02), rows)
    assert (answers.value - answers.bounds.lower < 1e-5).all()
    points = samples(*Linf(0.02).hull(x), 500)
    with torch.no_grad():
        logits = graph(name).forward(points.flatten(0, 1))
    assert ((rows[0].double() @ logits.T).amin(1) >= answers.bounds.lower[0]).all()


def test_rows_that_cheaper_bounds_decide_are_not_searched():
    x, rows = inputs(3), margin_rows(torch.tensor([0, 4, 2]), 5)
    linear = LP().bound(graph("conv"), x, Linf(0.02), rows).lower
    crown = CROWN().bound(graph("conv"), x, Linf(0.02), rows).lower
    answers = MILP().solve(graph("conv"), x, Linf(0.02), rows)
    assert torch.equal(answers.status == Status.SCREENED, linear > 0)
    assert (answers.bounds.lower >= torch.maximum(linear, crown) - 1e-5).all()
    assert set(answers.status.flatten().tolist()) <= {0, 1, 2}
    decided = (answers.bounds.lower > 0) | (answers.value < 0)
    assert decided.all()


@pytest.mark.slow
def test_a_search_stops_once_the_sign_is_known():
    x, rows = inputs(1), margin_rows(torch.tensor([0]), 5)
    full = OPTIMUM.solve(graph("pooled"), x, Linf(0.03), rows)
    short = MILP(plain=True).solve(graph("pooled"), x, Linf(0.03), rows)
    assert (short.nodes.sum() <= full.nodes.sum()).all()
    assert torch.equal(short.value < 0, full.value < 0)
    assert (short.bounds.lower <= full.bounds.lower + 2e-5).all()


def test_time_that_is_too_short_is_said():
    x, rows = inputs(1), margin_rows(torch.tensor([0]), 5)
    hurried = MILP(seconds=1e-3, plain=True).solve(graph("residual"), x, Linf(0.05), rows)
    assert (hurried.status == Status.TIMEOUT).any()
    assert (hurried.bounds.lower <= hurried.value).all()
    assert not hurried.bounds.exact


def test_an_example_does_not_depend_on_its_neighbours():
    x, rows = inputs(3), margin_rows(torch.tensor([0, 4, 2]), 5)
    radius = torch.tensor([0.01, 0.03, 0.02])
    together = MILP().solve(graph("conv"), x, Linf(radius), rows)
    order = torch.tensor([2, 0, 1])
    mixed = MILP().solve(graph("conv"), x[order], Linf(radius[order]), rows[order])
    assert torch.equal(mixed.bounds.lower, together.bounds.lower[order])
    assert torch.equal(mixed.status, together.status[order])


def test_at_radius_zero_it_is_the_margin():
    x, rows = inputs(2), margin_rows(torch.tensor([0, 4]), 5).double()
    with torch.no_grad():
        margin = (rows @ graph("conv").forward(x).unsqueeze(2)).squeeze(2)
    found = OPTIMUM.bound(graph("conv"), x, Linf(0.0), rows).lower
    torch.testing.assert_close(found, margin, atol=1e-3, rtol=0)


def test_what_is_not_piecewise_linear_is_refused_by_name():
    net = nn.Sequential(nn.Linear(3, 4), nn.Sigmoid(), nn.Linear(4, 2))
    with pytest.raises(CaptureError, match=r"Sigmoid.*not piecewise linear"):
        MILP().bound(net, inputs(1, (3,)), Linf(0.1), PAIR)
    with pytest.raises(UnsupportedThreat, match="L2"):
        MILP().bound(graph("conv"), inputs(1), L2(0.1), torch.eye(5))
    assert build(MILP, {"until": "optimum"}) == MILP(until="optimum")


def test_a_network_with_a_broken_weight_proves_nothing():
    model = small_net()
    with torch.no_grad():
        model[0].weight[0, 0] = torch.nan
    for plain in (False, True):
        found = MILP(plain=plain).solve(model, torch.tensor([[0.5, 0.5]]), Linf(0.01), PAIR)
        assert not (found.bounds.lower > 0).any()
        assert (found.status == Status.FAILED).all()
