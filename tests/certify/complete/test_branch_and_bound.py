from itertools import pairwise

import pytest
import torch
from torch import nn

from certify.enumeration import minimum
from certify.nets import Ball2, Hull, graph, inputs, small_net
from holdfast.certify.bounds.linear import CROWN
from holdfast.certify.complete.branch_and_bound import BranchAndBound
from holdfast.certify.complete.exploring import Replay
from holdfast.certify.graphs.graph import capture
from holdfast.certify.spec import margin_rows
from holdfast.core.results import Outcome
from holdfast.threats import L2, Linf

EXACT = BranchAndBound(target=float("inf"), tolerance=1e-7, batch=8, seconds=60)


class Cube(Hull):
    """The bare box x -+ radius, as a set of linear forms."""

    boxed = True

    def support(self, v, x):
        v = v.flatten(2)
        return torch.einsum("brn,bn->br", v, x.flatten(1)) + self.radius * v.abs().sum(2)


class Skip(nn.Module):
    """Two hidden layers, the second beside the first."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(3, 5), nn.Linear(5, 5)
        self.last = nn.Linear(5, 2)

    def forward(self, x):
        z = self.first(x).relu()
        return self.last(z + self.second(z).relu())


def random(net, seed, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(scale * torch.randn(parameter.shape, generator=generator))
    return net.double()


def chain(seed, scale=1.0):
    sizes = (3, 5, 6, 2)
    layers = [nn.Linear(a, b) for a, b in pairwise(sizes)]
    return random(nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2]), seed, scale)


def box(x, radius):
    return x - radius, x + radius


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("make", [chain, lambda seed: random(Skip(), seed)])
def test_the_value_is_the_minimum_over_all_patterns(make, seed):
    net, x = capture(make(seed), (3,)), inputs(1, (3,), seed=seed)
    found = EXACT.bound(net, x, Cube(0.7), torch.eye(2))
    for row in range(2):
        exact = minimum(net, *box(x, 0.7), rows=[row])
        assert found.lower[0, row] <= exact + 1e-7
        assert found.lower[0, row] >= exact - 1e-5
        assert found.upper[0, row] == pytest.approx(exact, abs=1e-5)


@pytest.mark.parametrize("seed", range(2))
def test_it_is_never_above_the_minimum_wherever_it_stops(seed):
    net, x = capture(chain(seed, 1.5), (3,)), inputs(1, (3,), seed=seed)
    exact = minimum(net, *box(x, 0.9), rows=[1])
    last = -float("inf")
    for most in (1, 5, 20, 60):
        method = BranchAndBound(target=float("inf"), most_nodes=most, batch=4, steps=3)
        lower = float(method.bound(net, x, Cube(0.9), torch.tensor([[0.0, 1.0]])).lower)
        assert last - 1e-12 <= lower <= exact + 1e-9
        last = lower


@pytest.mark.slow
def test_boxes_that_are_not_narrowed_and_no_ascent_end_at_the_same_minimum():
    net, x = capture(chain(5), (3,)), inputs(1, (3,))
    exact = minimum(net, *box(x, 0.7), rows=[0])
    for method in (
        BranchAndBound(target=float("inf"), narrow_steps=0, batch=4),
        BranchAndBound(target=float("inf"), steps=1, root_steps=1, candidates=1, batch=4),
        BranchAndBound(target=float("inf"), mode="fast"),
    ):
        found = method.bound(net, x, Cube(0.7), torch.eye(2)[:1])
        assert float(found.lower) == pytest.approx(exact, abs=2e-5)
        assert found.sound is (method.mode == "rigorous")


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_it_does_not_mind_the_scale_of_a_network(scale):
    net = chain(2)
    with torch.no_grad():
        net[4].weight.mul_(scale)
        net[4].bias.mul_(scale)
    x = inputs(1, (3,))
    exact = minimum(capture(net, (3,)), *box(x, 0.5), rows=[0])
    method = BranchAndBound(target=float("inf"), tolerance=1e-7 * scale)
    found = method.bound(net, x, Cube(0.5), torch.eye(2)[:1])
    assert float(found.lower) == pytest.approx(exact, rel=1e-4)


@pytest.mark.parametrize("gap", [1e-3, 1e-6])
@pytest.mark.slow
def test_a_minimum_just_above_or_below_zero_is_told_apart(gap):
    net, x = chain(1), inputs(1, (3,))
    least = minimum(capture(net, (3,)), *box(x, 0.7), rows=[0])
    method = BranchAndBound(batch=16)
    for sign, check in (
        (1, lambda b: b.lower > 0),
        (-1, lambda b: (b.lower <= 0) & (b.upper <= 0)),
    ):
        with torch.no_grad():
            net[4].bias[0] += sign * gap - least
        found = method.bound(net, x, Cube(0.7), torch.eye(2)[:1])
        assert bool(check(found))
        with torch.no_grad():
            net[4].bias[0] -= sign * gap - least


def test_a_planted_counterexample_is_never_certified():
    for seed in range(3):
        net, x = chain(seed, 1.5), inputs(1, (3,), seed=seed)
        point = x + 0.8 * (inputs(1, (3,), seed=seed + 50) - 0.5)
        with torch.no_grad():
            net[4].bias[0] += (net(point)[0, 1] - net(point)[0, 0]) - 1e-7  # class 0 just loses
        method = BranchAndBound(batch=8, most_nodes=400)
        found = method.decide(net, x, torch.tensor([0]), Cube(0.4))
        assert int(found.outcome) in (Outcome.BROKEN, Outcome.UNDECIDED)
        if int(found.outcome) == Outcome.BROKEN:
            logits = net(found.witness)[0]
            assert logits[0] <= logits[1]
            assert bool(((found.witness - x).abs() <= 0.4 + 1e-12).all())


@pytest.mark.parametrize(
    ("name", "threat"),
    [
        ("conv", Linf(0.05)),
        ("conv", L2(0.2)),
        pytest.param("residual", Linf(0.05), marks=pytest.mark.slow),
        pytest.param("residual", L2(0.2), marks=pytest.mark.slow),
    ],
)
def test_not_below_crown_and_not_above_what_is_tried(name, threat):
    x, rows = inputs(3), margin_rows(torch.tensor([0, 4, 2]), 5)
    method = BranchAndBound(most_nodes=40, batch=16, target=0.5, root_steps=20, narrow_steps=10)
    found = method.bound(graph(name), x, threat, rows)
    crown = CROWN().bound(graph(name), x, threat, rows).lower
    below = crown < 0.5
    assert (found.lower[below] >= crown[below] - 1e-9).all()
    assert (found.lower <= found.upper).all()


def test_an_image_does_not_depend_on_its_neighbours():
    x, y = inputs(3), torch.tensor([0, 4, 2])
    method = BranchAndBound(most_nodes=30, batch=8, root_steps=5, narrow_steps=4)
    together = method.decide(graph("conv"), x, y, Linf(0.05))
    alone = method.decide(graph("conv"), x[1:2], y[1:2], Linf(0.05))
    assert torch.equal(together.lower[1:2], alone.lower)
    assert torch.equal(together.outcome[1:2], alone.outcome)
    assert torch.equal(together.nodes[1:2], alone.nodes)


class Mixed(nn.Module):
    """Sigmoids, a maximum over pairs and leaky units."""

    def __init__(self, first):
        super().__init__()
        self.conv, self.middle = nn.Conv2d(2, 3, 3, padding=1), first
        self.last = nn.Linear(3 * 3 * 2, 4)

    def forward(self, x):
        return self.last(self.middle(self.conv(x)).flatten(1))


@pytest.mark.parametrize(
    "middle",
    [
        nn.Sequential(nn.Sigmoid(), nn.AvgPool2d(2)),
        nn.Sequential(nn.ReLU(), nn.MaxPool2d(2)),
        nn.Sequential(nn.LeakyReLU(0.2), nn.MaxPool2d(2), nn.Tanh()),
        nn.Sequential(nn.Hardtanh(-0.1, 0.3), nn.AvgPool2d(2)),
    ],
)
def test_other_operations_run_and_stay_below_samples(middle):
    net = random(Mixed(middle), 3, 0.5)
    x, rows = inputs(2, (2, 6, 4)), margin_rows(torch.tensor([0, 3]), 4)
    method = BranchAndBound(most_nodes=60, batch=16, target=float("inf"), root_steps=10)
    found = method.bound(net, x, Linf(0.05), rows)
    generator = torch.Generator().manual_seed(1)
    for _ in range(50):
        noise = 0.1 * torch.rand(x.shape, generator=generator, dtype=x.dtype) - 0.05
        values = (rows.double() @ net(x + noise).unsqueeze(2)).squeeze(2)
        assert (values >= found.lower).all()


@pytest.mark.parametrize("slope", [0.1, 0.03, 0.7])
def test_the_minimum_is_not_exceeded_by_one_part_in_ten_digits(slope):
    """On a line the minimum is at an end or a bend, where it can be computed."""
    net = random(nn.Sequential(nn.Linear(1, 6), nn.LeakyReLU(slope), nn.Linear(6, 1)), 4)
    bends = -net[0].bias / net[0].weight[:, 0]
    points = torch.cat([bends.clamp(-2, 2), torch.tensor([-2.0, 2.0])]).detach().unsqueeze(1)
    with torch.no_grad():
        least = net(points).min().item()
    found = EXACT.bound(net, torch.zeros(1, 1).double(), Cube(2.0), torch.eye(1))
    assert least - 1e-6 <= found.lower.item() <= least


@pytest.mark.parametrize(("ball", "radius"), [(Cube, 2.25 / 6), (Ball2, 2.25 / 26**0.5)])
def test_the_smallest_adversarial_radius_of_golden_example_a(ball, radius):
    """2.25 / 6 and 2.25 / sqrt(26): attained where the network is the affine map of the input."""
    x, y = torch.tensor([[0.5, 0.5]]).double(), torch.tensor([0])
    for factor, outcome in ((0.999, Outcome.CERTIFIED), (1.001, Outcome.BROKEN)):
        found = BranchAndBound().decide(small_net(), x, y, ball(factor * radius))
        assert int(found.outcome) == outcome


def test_a_falsifier_is_asked_and_believed():
    net, x = chain(0), inputs(2, (3,))
    asked = []

    class Point(Replay):
        def __call__(self, points, query, box=None):
            asked.append(len(points))
            return torch.full((len(points),), -1.0, dtype=torch.float64), points

    found = BranchAndBound().decide(
        net,
        x,
        torch.tensor([0, 1]),
        Cube(0.1),
        falsifier=lambda graph, x, threat, queries: Point(None, queries, None),
    )
    assert (found.outcome == Outcome.BROKEN).all()
    assert asked


def test_it_stops_in_time():
    net, x = chain(4, 2.0), inputs(1, (3,))
    ticks = iter(range(10**6))
    method = BranchAndBound(seconds=3.0, target=0.0, batch=2)
    found = method.decide(net, x, torch.tensor([0]), Cube(0.9), clock=lambda: float(next(ticks)))
    assert float(found.seconds) < 12


def test_what_was_misclassified_is_broken():
    net, x = chain(0), inputs(3, (3,))
    wrong = 1 - net(x).argmax(1)
    found = BranchAndBound().decide(net, x, wrong, Cube(1e-6))
    assert (found.outcome == Outcome.BROKEN).all()


@pytest.mark.parametrize("size", [2.0**24, 2.0**53, 2.0**60])
def test_rounding_that_swallows_the_input_proves_nothing(size):
    net = nn.Sequential(nn.Linear(1, 1), nn.ReLU(), nn.Linear(1, 1)).double()
    with torch.no_grad():
        for layer, bias in ((net[0], size), (net[2], -size)):
            layer.weight.fill_(1.0)
            layer.bias.fill_(bias)
    x = torch.zeros(1, 1, dtype=torch.float64)  # f(x) = x, of which the least is -1
    found = BranchAndBound(target=float("inf"), most_nodes=9).bound(net, x, Cube(1.0), torch.eye(1))
    assert float(found.lower) <= -1.0
