"""EAD: shrinkage, the distance to a plane, the two rules, confidence, targets."""

import pytest
import torch

from holdfast.attacks.carlini_wagner import lead
from holdfast.attacks.elastic_net import EAD, ElasticNet, shrink
from holdfast.attacks.protocol import Finished
from holdfast.core.errors import UnsupportedThreat
from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.threats import L1, L2
from nets import examples, small_net

FAST = {"binary_steps": 3, "iterations": 30, "initial_const": 1.0, "learning_rate": 0.05}


def run(attack, net, x, y, threat, **options):
    frozen = FrozenModel(net, block=3)
    return attack.run(frozen, x, y, threat, keys=Keys.of(0, range(len(x))), **options)


def test_shrinks_moves_by_beta_and_leaves_short_ones_out():
    x = torch.full((1, 4), 0.5)
    z = torch.tensor([[0.55, 0.8, 0.1, 3.0]])
    expected = torch.tensor([[0.5, 0.7, 0.2, 1.0]])
    assert torch.allclose(shrink(z, x, 0.1, (0.0, 1.0)), expected)
    assert torch.allclose(shrink(z, x, 0.0, None), z)


@pytest.mark.slow
def test_finds_the_l1_distance_to_a_plane_and_never_less():
    net = torch.nn.Linear(7, 2)
    weight = torch.tensor([[0.0] * 7, [2.0, 0.5, 0.4, 0.3, 0.3, 0.2, 0.1]])
    with torch.no_grad():
        net.weight.copy_(weight)
        net.bias.copy_(torch.tensor([1.0, 0.0]))
    x, y = torch.zeros(3, 7), torch.zeros(3, dtype=torch.int64)
    attack = EAD(binary_steps=8, iterations=100, initial_const=0.1, beta=0.05, learning_rate=0.05)
    size = run(attack, net, x, y, L1("inf", box=None)).size
    assert bool((size >= 0.5 - 1e-6).all())
    assert bool((size < 0.5 * 1.05).all())


@pytest.mark.slow
def test_each_rule_keeps_its_own_smallest_and_reports_l1():
    net = small_net()
    x, y = examples(5, net)
    threat, events = L1("inf"), []
    one = run(EAD(beta=0.05, **FAST), net, x, y, threat)
    net_rule = EAD(beta=0.05, rule="en", **FAST)
    other = run(net_rule, net, x, y, threat, on_event=events.append)
    assert bool(one.success.all() & other.success.all())
    measure = ElasticNet(threat, 0.05)
    assert bool((one.size <= other.size + 1e-6).all())
    assert bool((measure.size(other.x_adv, x) <= measure.size(one.x_adv, x) + 1e-6).all())
    assert torch.allclose(other.size, threat.size(other.x_adv, x))
    for event in events:
        if isinstance(event, Finished):
            assert torch.equal(event.result.size, other.size[event.rows])


def test_box_targets_and_confidence_hold():
    net = small_net()
    x, y = examples(3, net)
    targets = (y + 1) % 5
    result = run(EAD(confidence=0.5, beta=0.01, **FAST), net, x, y, L1("inf"), targets=targets)
    assert bool(result.success.all())
    assert bool((lead(net(result.x_adv), y, targets) >= 0.5 - 1e-5).all())
    assert bool(((result.x_adv >= 0) & (result.x_adv <= 1)).all())


def test_refuses_l2():
    x, y = examples(3, small_net())
    with pytest.raises(UnsupportedThreat, match="elastic-net"):
        run(EAD(), small_net(), x, y, L2(1.0))
