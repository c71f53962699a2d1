"""Parsimonious attack: vertices only, lazy greedy on additive and on submodular gains."""

import pytest
import torch

from holdfast.attacks.parsimonious import Parsimonious, first_side
from holdfast.core.errors import UnsupportedThreat
from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.threats import L2, Linf
from nets import examples, small_net


class Watched(torch.nn.Module):
    """A model that keeps what it was asked, for blocks of one row."""

    def __init__(self, model):
        super().__init__()
        self.model, self.asked = model, []

    def forward(self, x):
        """Logits."""
        self.asked.append(x.detach().clone())
        return self.model(x)


def test_first_side_is_near_an_eighth():
    sides = [first_side(torch.Size(e)) for e in ((1, 28, 28), (3, 32, 32), (3, 256, 256), (5,))]
    assert sides == [4, 4, 32, 1]


def linear(w):
    model = torch.nn.Linear(len(w), 2)
    with torch.no_grad():
        model.weight.copy_(torch.stack([w, -w]))
        model.bias.copy_(torch.tensor([9.0, -9.0]))
    return model


def test_additive_gains_are_found_with_one_query_for_each_feature_and_one_for_each_accepted():
    # All start at -eps. Adding scans n, then asks once per positive gain but the first; taking away
    # scans what was added and accepts none. The signs are then the optimum.
    w = torch.tensor([0.4, -1.0, 0.3, 2.0, -0.7, -0.1])
    x, y = torch.full((3, 6), 0.5), torch.zeros(3, dtype=torch.int64)
    attack = Parsimonious(queries=1 + 6 + 2 + 3)
    result = attack.run(
        FrozenModel(linear(w), block=3), x, y, Linf(0.05), keys=Keys.of(0, range(3))
    )
    best = 18.0 + float(w.sum()) - 2 * 0.05 * float(w.abs().sum())
    assert torch.allclose(result.margin, torch.full((3,), best), atol=1e-4)


def test_every_point_is_a_vertex_and_differs_by_one_block():
    net = small_net()
    x, y = examples(1, net)
    watched = Watched(net)
    attack = Parsimonious(queries=60, block=4, group=5)
    attack.run(FrozenModel(watched, block=1), x, y, Linf(1e-3, box=None))
    asked = torch.cat(watched.asked[1:61]) - x
    assert torch.allclose(asked.abs(), torch.full_like(asked, 1e-3), atol=1e-7)
    raised = (asked > 0).flatten(1)
    assert int(raised[0].sum()) == 0
    assert bool((raised[1:6].sum(1) <= 16).all())


@pytest.mark.slow
def test_accepted_losses_never_fall():
    net = small_net()
    x, y = examples(5, net)
    frozen = FrozenModel(net, block=3)
    margins = [
        Parsimonious(queries=q, group=7).run(frozen, x, y, Linf(0.005)).margin for q in (9, 40, 250)
    ]
    assert bool((margins[1] <= margins[0]).all())
    assert bool((margins[2] <= margins[1]).all())


def test_taking_away_repairs_a_greedy_mistake():
    # F({a}) = 1, F({b}) = F({c}) = 0.9, F({b, c}) = 1.8, and a clashes with both: greedy adds a
    # first, then b and c, and only then is it better to take a away.
    class Clash(torch.nn.Module):
        def forward(self, x):
            a, b, c = ((x - 0.5) > 0).float().unbind(1)
            value = a + 0.9 * (b + c) - 0.6 * a * (b + c)
            return torch.stack([5.0 - value, torch.zeros_like(value)], dim=1)

    x, y = torch.full((1, 3), 0.5), torch.zeros(1, dtype=torch.int64)
    result = Parsimonious(queries=40).run(FrozenModel(Clash(), block=1), x, y, Linf(0.1))
    assert torch.allclose(result.margin, torch.tensor([5.0 - 1.8]))
    assert (result.x_adv > 0.5).tolist() == [[False, True, True]]


def test_refuses_other_balls_and_finds_what_is_easy():
    net = small_net()
    x, y = examples(5, net)
    with pytest.raises(UnsupportedThreat, match="Parsimonious"):
        Parsimonious().run(net, x, y, L2(1.0))
    result = Parsimonious(queries=200).run(FrozenModel(net, block=3), x, y, Linf(0.3))
    assert bool(result.success.all())
