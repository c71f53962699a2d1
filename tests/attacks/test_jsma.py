"""JSMA: the fewest features of a plane, pairs by brute force, directions, limits, targets."""

import pytest
import torch

from holdfast.attacks.jsma import JSMA, salient
from holdfast.core.errors import UnsupportedThreat
from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.threats import Linf
from holdfast.threats.l0 import L0
from nets import examples, small_net


def run(attack, net, x, y, threat, **options):
    frozen = FrozenModel(net, block=3)
    return attack.run(frozen, x, y, threat, keys=Keys.of(0, range(len(x))), **options)


def plane(bias):
    net = torch.nn.Linear(7, 2)
    with torch.no_grad():
        heavy = torch.tensor([0.1, 0.9, 0.2, 0.7, -0.8, 0.1, 0.3])
        net.weight.copy_(torch.stack([-heavy / 2, heavy / 2]))
        net.bias.copy_(torch.tensor([bias, 0.0]))
    return net, torch.full((3, 7), 0.5), torch.zeros(3, dtype=torch.int64)


@pytest.mark.parametrize("scores", ["logits", "probabilities"])
def test_changes_the_fewest_features_of_a_plane(scores):
    # From 0.5 the gap is bias - 0.75; a feature of weight w gains |w| / 2 at most.
    options = {"most": 1.0, "scores": scores}
    net, x, y = plane(1.85)  # a gap of 1.10: up gains .45 + .35 + .15 + .1 + .05 + .05 = 1.15
    assert run(JSMA(features=1, **options), net, x, y, L0("inf")).size.tolist() == [6.0] * 3
    both = run(JSMA(features=1, direction="both", **options), net, x, y, L0("inf"))
    assert both.size.tolist() == [3.0] * 3  # .45 + .40 + .35 = 1.20
    net, x, y = plane(1.5)  # a gap of 0.75
    pair = run(JSMA(features=2, **options), net, x, y, L0("inf"))
    assert pair.size.tolist() == [2.0] * 3  # .45 + .35 = 0.80


def test_a_feature_counts_with_the_room_it_has():
    net, x, y = plane(1.32)  # a gap of 1.32 - 0.75 - 0.4 * 0.9 = 0.21 with the heaviest at 0.9
    x[:, 1] = 0.9  # up by 0.1 gains 0.09, the second heaviest from 0.5 gains 0.35
    assert bool((net(x).argmax(1) == y).all())
    result = run(JSMA(features=1, most=1.0), net, x, y, L0("inf"))
    assert result.size.tolist() == [1.0] * 3
    assert bool((result.x_adv[:, 3] == 1).all())


def test_limits_hold():
    net, x, y = plane(1.85)
    assert not bool(run(JSMA(features=1, most=0.6), net, x, y, L0("inf")).success.any())
    short = JSMA(features=1, most=1.0, direction="both")
    radius = torch.tensor([2.0, 3.0, 4.0])
    assert run(short, net, x, y, L0(radius)).success.tolist() == [False, True, True]
    assert (
        run(JSMA(features=1, most=1.0, steps=2), net, x, y, L0("inf")).success.tolist()
        == [False] * 3
    )


def test_pairs_are_those_of_brute_force():
    alpha, beta = torch.randn(2, 3, 11, generator=torch.Generator().manual_seed(3)).unbind(0)
    allowed = torch.ones(3, 11, dtype=torch.bool)
    allowed[0, :4] = False
    score, first, second = salient(alpha, beta, allowed, 2)
    for i in range(3):
        table = {}
        for p in range(11):
            for q in range(p):
                a, b = float(alpha[i, p] + alpha[i, q]), float(beta[i, p] + beta[i, q])
                if allowed[i, p] and allowed[i, q] and a > 0 and b < 0:
                    table[frozenset((p, q))] = -a * b
        assert table
        best = max(table, key=table.get)
        assert frozenset((int(first[i]), int(second[i]))) == best
        assert float(score[i]) == pytest.approx(table[best], rel=1e-5)


def test_targets_box_and_small_steps():
    net = small_net()
    x, y = examples(5, net)
    targets = (y + 1) % 5
    attack = JSMA(theta=0.3, most=1.0, direction="both", scores="logits")
    result = run(attack, net, x, y, L0("inf"), targets=targets)
    assert float(result.success.float().mean()) >= 0.8
    assert torch.equal(net(result.x_adv).argmax(1)[result.success], targets[result.success])
    assert bool(((result.x_adv >= 0) & (result.x_adv <= 1)).all())


def test_more_classes_never_need_more_features():
    net = small_net()
    x, y = examples(5, net)
    one, more = (run(JSMA(most=1.0, classes=k), net, x, y, L0("inf")) for k in (1, 3))
    assert bool((more.size <= one.size)[one.success].all())


def test_refuses_other_threats():
    x, y = examples(3, small_net())
    with pytest.raises(UnsupportedThreat, match="jsma"):
        run(JSMA(), small_net(), x, y, Linf(0.1))
