"""BayesAttack: better than random points, the books, generators untouched."""

import sys
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from holdfast.attacks.bayes import BayesAttack
from holdfast.core.errors import MissingExtra, UnsupportedThreat
from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.threats import L1, L2, Linf
from nets import examples, small_net

extra = pytest.mark.skipif(find_spec("botorch") is None, reason="needs the extra blackbox")


def linear():
    w = torch.tensor([0.4, -1.0, 0.6, 2.0, -0.7])
    model = torch.nn.Linear(5, 2)
    with torch.no_grad():
        model.weight.copy_(torch.stack([w, -w]))
        model.bias.copy_(torch.tensor([9.0, -9.0]))
    return FrozenModel(model, block=2), 18.0 + float(w.sum()), float(w.abs().sum())


@extra
@pytest.mark.slow
def test_nears_the_optimum_of_a_linear_model_where_random_points_do_not():
    model, centre, reach = linear()
    x, y = torch.full((2, 5), 0.5), torch.zeros(2, dtype=torch.int64)
    keys = Keys.of(0, range(2))
    found = BayesAttack(queries=20).run(model, x, y, Linf(0.1), keys=keys).margin
    chance = BayesAttack(queries=20, initial=20).run(model, x, y, Linf(0.1), keys=keys).margin
    assert bool((found < centre - 0.95 * 0.2 * reach).all())
    assert bool((found < chance - 0.05).all())


@extra
def test_generators_are_neither_read_nor_set_and_neighbours_do_not_matter():
    net = small_net()
    x, y = examples(3, net)
    frozen, attack = FrozenModel(net, block=3), BayesAttack(queries=7, tiles=2)
    torch.manual_seed(5)
    np.random.seed(5)
    before, counts = torch.random.get_rng_state(), np.random.get_state()[1].copy()
    one = attack.run(frozen, x, y, Linf(0.005), keys=Keys.of(0, range(3)))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], counts)
    last = attack.run(frozen, x[2:], y[2:], Linf(0.005), keys=Keys.of(0, [2]))
    assert torch.equal(one.x_adv[2:], last.x_adv)
    assert one.forwards.tolist() == [8] * 3


@extra
def test_l2_points_stand_on_the_sphere_and_other_balls_are_refused():
    model, _, _ = linear()
    x, y = torch.full((1, 5), 0.5), torch.zeros(1, dtype=torch.int64)
    result = BayesAttack(queries=8).run(model, x, y, L2(0.2))
    assert torch.allclose(result.size, torch.tensor([0.2]))
    with pytest.raises(UnsupportedThreat, match="BayesAttack"):
        BayesAttack().run(model, x, y, L1(0.2))


@extra
def test_a_flat_model_is_searched_to_the_end():
    model = torch.nn.Linear(4, 2)
    with torch.no_grad():
        model.weight.zero_()
        model.bias.copy_(torch.tensor([1.0, 0.0]))
    x, y = torch.full((1, 4), 0.5), torch.zeros(1, dtype=torch.int64)
    result = BayesAttack(queries=8).run(FrozenModel(model, block=1), x, y, Linf(0.1))
    assert result.forwards.tolist() == [9]
    assert not bool(result.success.any())


def test_a_missing_package_names_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "botorch", None)
    net = small_net()
    with pytest.raises(MissingExtra, match=r"holdfast\[blackbox\]"):
        BayesAttack().run(net, *examples(3, net), Linf(0.1))
