"""Bandits: the exponentiated step in closed form, the books, the way uphill on a linear model."""

import pytest
import torch

from holdfast.attacks.bandits import Bandits, exponentiated
from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.threats import L2, Linf
from nets import examples, small_net


def test_exponentiated_step_is_multiplicative_in_the_odds():
    v, step = torch.tensor([-0.5, 0.0, 0.25]).double(), torch.tensor([0.3, -2.0, 0.1]).double()
    p = (1 + v) / 2
    up, down = p * step.exp(), (1 - p) * (-step).exp()
    assert torch.allclose(exponentiated(v, step), 2 * up / (up + down) - 1)
    assert bool((exponentiated(v, step * 1e6).abs() < 1).all())


@pytest.mark.parametrize(
    ("threat", "share"), [(Linf(0.1, box=None), 0.75), (L2(0.5, box=None), 0.5)]
)
def test_climbs_most_of_the_way_on_a_linear_model(threat, share):
    # One tile per feature: the best margin is <w, x> - eps ||w||_q, a random walk makes none.
    w = torch.randn(12, generator=torch.Generator().manual_seed(0))
    model = torch.nn.Linear(12, 2)
    with torch.no_grad():
        model.weight.copy_(torch.stack([w, torch.zeros(12)]))
        model.bias.copy_(torch.tensor([20.0, 0.0]))
    x, y = torch.zeros(3, 12), torch.zeros(3, dtype=torch.int64)
    result = Bandits(queries=600, tiles=12).run(
        FrozenModel(model, block=3), x, y, threat, keys=Keys.of(0, range(3))
    )
    gain = 20.0 - result.margin
    best = threat.radius * torch.linalg.vector_norm(w, 1 if threat.p > 2 else 2)
    assert bool((gain > share * best).all())


def test_counts_three_queries_a_step_and_stays_within_the_budget():
    net = small_net()
    x, y = examples(3, net)
    result = Bandits(queries=20).run(FrozenModel(net, block=3), x, y, Linf(1e-4))
    assert result.forwards.tolist() == [1 + 18] * 3
    result = Bandits(queries=20, probes=2).run(FrozenModel(net, block=3), x, y, Linf(1e-4))
    assert result.forwards.tolist() == [1 + 20] * 3


def test_an_early_success_costs_few_queries():
    net = small_net()
    x, y = examples(5, net)
    result = Bandits(queries=300).run(FrozenModel(net, block=3), x, y, Linf(0.5))
    assert bool(result.success.all())
    assert int(result.forwards.max()) < 200
