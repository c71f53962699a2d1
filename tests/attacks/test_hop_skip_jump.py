"""HopSkipJump: decisions only, closed form on a hyperplane, budgets."""

import math

import pytest
import torch

from holdfast.attacks.hop_skip_jump import HopSkipJump, unit_noise
from holdfast.core.errors import UnsupportedThreat
from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.threats import L1, L2, Linf
from nets import examples, small_net


def run(attack, net, x, y, threat, **options):
    return attack.run(
        FrozenModel(net, block=3), x, y, threat, keys=Keys.of(0, range(len(x))), **options
    )


def hard(net):
    return lambda x: torch.nn.functional.one_hot(net(x).argmax(1), 5).to(x.dtype)


@pytest.mark.parametrize("threat", [L2("inf"), Linf("inf")])
@pytest.mark.slow
def test_only_the_decision_is_used(threat):
    net, attack = small_net(), HopSkipJump(queries=120, samples=20)
    x, y = examples(5, net)
    seen = run(attack, net, x, y, threat)
    assert torch.equal(seen.x_adv, run(attack, hard(net), x, y, threat).x_adv)


@pytest.mark.parametrize(("threat", "dual"), [(L2, 2.0), (Linf, 1.0)])
@pytest.mark.slow
def test_it_comes_near_the_distance_to_a_hyperplane(threat, dual):
    model = torch.nn.Linear(6, 2)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0, -2.0, 0.5, 1.0, 3.0, -1.0], [0.0] * 6]))
        model.bias.zero_()
    x, y = torch.full((2, 6), 0.3), torch.tensor([0, 0])
    exact = float((model(x)[0, 0].abs() / model.weight[0].norm(p=dual)).detach())
    result = run(HopSkipJump(queries=1000, samples=50), model, x, y, threat("inf", box=None))
    assert bool((result.size >= exact - 1e-5).all())
    assert bool((result.size <= 1.05 * exact).all())


@pytest.mark.parametrize("threat", [L2("inf"), Linf("inf")])
@pytest.mark.slow
def test_all_queries_are_spent_and_counted_and_more_help(threat):
    net = small_net()
    x, y = examples(5, net)
    few, many = (run(HopSkipJump(queries=n, samples=20), net, x, y, threat) for n in (60, 240))
    assert few.forwards.tolist() == [62] * 5
    assert few.backwards.tolist() == [0] * 5
    assert bool(many.success.all())
    assert float(many.size.median()) < float(few.size.median())


def test_noise_has_unit_length():
    like = torch.zeros(3, 2, 7, 6)
    for p in (2.0, math.inf):
        noise = unit_noise(Keys.of(0, range(3)), like, 0, p)
        assert torch.allclose(noise.flatten(1).norm(dim=1), torch.ones(3))


def test_other_norms_are_refused():
    with pytest.raises(UnsupportedThreat, match="L2 or Linf"):
        HopSkipJump().run(small_net(), torch.rand(1, 2, 7, 6), torch.tensor([0]), L1(0.1))
