"""FMN: the distance to a plane in four norms, starts, targets, mid points."""

import math

import pytest
import torch

from holdfast.attacks.fmn import FMN, between, count, distance
from holdfast.attacks.protocol import Seen
from holdfast.core.errors import UnsupportedThreat
from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.threats import L1, L2, Linf
from holdfast.threats.l0 import L0
from holdfast.toys.linear import LinearWorld
from nets import examples, small_net


def run(attack, net, x, y, threat, **options):
    frozen = FrozenModel(net, block=3)
    return attack.run(frozen, x, y, threat, keys=Keys.of(0, range(len(x))), **options)


@pytest.mark.parametrize(("threat", "slack"), [(Linf, 1e-3), (L2, 1e-3), (L1, 0.05)])
def test_finds_the_distance_to_a_plane_and_never_less(threat, slack):
    flat = LinearWorld.make(1, 5, 13)
    x, _ = flat.sample(0, 5)
    x, y, ball = x.double(), flat.logits(x).argmax(1), threat("inf", box=None)
    result = run(FMN(), flat.module(torch.float64), x, y, ball)
    ratio = result.size / flat.smallest_radius(x, y, ball.p)
    assert bool(result.success.all())
    assert bool((ratio >= 1 - 1e-5).all())
    assert float(ratio.median()) < 1 + slack


def test_few_features_of_a_plane_are_the_heaviest():
    weight = torch.tensor([[0.0] * 7, [0.9, 0.8, 0.7, 0.2, 0.1, 0.1, 0.1]])
    net = torch.nn.Linear(7, 2)
    with torch.no_grad():
        net.weight.copy_(weight)
        net.bias.copy_(torch.tensor([2.0, 0.0]))
    x, y = torch.zeros(3, 7), torch.zeros(3, dtype=torch.int64)
    result = run(FMN(), net, x, y, L0("inf"))
    assert result.size.tolist() == [3.0] * 3


@pytest.mark.parametrize("threat", [L0("inf"), L1("inf"), L2("inf"), Linf("inf")])
def test_box_and_targets_hold(threat):
    net = small_net()
    x, y = examples(5, net)
    targets = (y + 2) % 5
    result = run(FMN(steps=60), net, x, y, threat, targets=targets)
    assert float(result.success.float().mean()) >= 0.8
    assert torch.equal(net(result.x_adv).argmax(1)[result.success], targets[result.success])
    assert bool(((result.x_adv >= 0) & (result.x_adv <= 1)).all())


@pytest.mark.parametrize("threat", [L0("inf"), L1("inf"), L2("inf"), Linf("inf")])
def test_a_start_that_fools_is_pulled_to_the_boundary_first(threat):
    net = small_net()
    x, y = examples(5, net)
    start = run(FMN(steps=40), net, x, y, L2("inf")).x_adv
    start = (x + 4 * (start - x)).clamp(0, 1)
    fools = net(start).argmax(1) != y
    assert bool(fools.any())
    result = run(FMN(steps=1), net, x, y, threat, start=start)
    assert bool(result.success[fools].all())
    assert bool((result.size <= threat.size(start, x))[fools].all())
    assert float((result.size / threat.size(start, x))[fools].median()) < 0.9
    assert result.backwards[fools].tolist() == [1 + 1 + 10] * int(fools.sum())
    assert run(FMN(steps=1), net, x, y, threat).backwards.tolist() == [1] * 5


@pytest.mark.parametrize("p", [0.0, 1.0, 2.0, math.inf])
def test_mid_points_go_from_one_end_to_the_other(p):
    x, far = torch.rand(2, 3, 7, 6).unbind(0)
    ends = [between(x, far, torch.full((3,), share), p) for share in (0.0, 0.5, 1.0)]
    assert torch.allclose(ends[0], x)
    assert torch.allclose(ends[2], far)
    sizes = [float(torch.linalg.vector_norm((end - x)[0].flatten(), ord=p)) for end in ends]
    assert sizes[0] < sizes[1] < sizes[2]


@pytest.mark.parametrize("p", [1.0, 2.0, math.inf])
def test_distance_is_that_of_the_plane(p):
    flat = LinearWorld.make(1, 2, 13)
    x, _ = flat.sample(0, 5)
    y = flat.logits(x).argmax(1)
    slope = (flat.weight[1] - flat.weight[0]) * (1 - 2 * y[:, None])
    ahead = -flat.exact_margin(x, y, 2, 0.0)
    seen = Seen(flat.logits(x), -ahead, ahead, slope)
    assert torch.allclose(distance(seen, p), flat.smallest_radius(x, y, p))


def test_counts_change_by_one_at_least():
    radius, gamma = torch.tensor([1.0, 4.0, 101.0]), torch.full((3,), 0.05)
    best = torch.full((3,), 90.0)
    fooled = torch.tensor([True, True, True])
    assert count(radius, gamma, fooled, best).tolist() == [1.0, 3.0, 90.0]
    assert count(radius, gamma, ~fooled, best).tolist() == [2.0, 5.0, 106.0]


def test_refuses_one_radius_per_feature():
    x, y = examples(3, small_net())
    with pytest.raises(UnsupportedThreat, match="fmn"):
        run(FMN(), small_net(), x, y, Linf(torch.ones(1, 2, 7, 6)))
