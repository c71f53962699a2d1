"""DFO: the optimum of a linear model, the books, numpy's generator untouched."""

import sys
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from holdfast.attacks.dfo import DFO
from holdfast.core.errors import MissingExtra, UnsupportedThreat
from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.threats import L2, Linf
from nets import examples, small_net

extra = pytest.mark.skipif(find_spec("cma") is None, reason="needs the extra blackbox")
KINDS = [(v, c) for v in ("continuous", "discrete") for c in ("full", "diagonal")]


@extra
@pytest.mark.parametrize(("values", "covariance"), KINDS)
def test_nears_the_best_corner_of_a_linear_model(values, covariance):
    w = torch.tensor([0.4, -1.0, 0.6, 2.0, -0.7])
    model = torch.nn.Linear(5, 2)
    with torch.no_grad():
        model.weight.copy_(torch.stack([w, -w]))
        model.bias.copy_(torch.tensor([9.0, -9.0]))
    x, y = torch.full((2, 5), 0.5), torch.zeros(2, dtype=torch.int64)
    attack = DFO(queries=300, values=values, covariance=covariance)
    result = attack.run(FrozenModel(model, block=2), x, y, Linf(0.1), keys=Keys.of(0, range(2)))
    best = 18.0 + float(w.sum()) - 0.2 * float(w.abs().sum())
    assert torch.allclose(result.margin, torch.full((2,), best), atol=0.05)
    if values == "discrete":
        assert torch.allclose((result.x_adv - x).abs(), torch.full((2, 5), 0.1))


@extra
def test_numpys_generator_is_neither_read_nor_set():
    net = small_net()
    x, y = examples(3, net)
    frozen, attack = FrozenModel(net, block=3), DFO(queries=40, tiles=3)
    np.random.seed(5)
    before = np.random.get_state()[1].copy()
    one = attack.run(frozen, x, y, Linf(0.02), keys=Keys.of(0, range(3)))
    assert np.array_equal(np.random.get_state()[1], before)
    np.random.seed(6)
    two = attack.run(frozen, x, y, Linf(0.02), keys=Keys.of(0, range(3)))
    assert torch.equal(one.x_adv, two.x_adv)
    other = attack.run(frozen, x, y, Linf(0.02), keys=Keys.of(1, range(3)))
    assert not torch.equal(one.x_adv, other.x_adv)


@extra
def test_spends_the_budget_to_the_last_query_and_a_start_is_one_of_them():
    net = small_net()
    x, y = examples(5, net)
    frozen = FrozenModel(net, block=3)
    attack = DFO(queries=23, population=7, tiles=3)
    assert attack.run(frozen, x, y, Linf(1e-4)).forwards.tolist() == [24] * 5
    assert attack.run(frozen, x, y, Linf(1e-4), start=x).forwards.tolist() == [24] * 5


@extra
def test_refuses_other_balls_and_finds_what_is_easy():
    net = small_net()
    x, y = examples(5, net)
    with pytest.raises(UnsupportedThreat, match="DFO"):
        DFO().run(net, x, y, L2(1.0))
    result = DFO(queries=150, tiles=4).run(FrozenModel(net, block=3), x, y, Linf(0.4))
    assert bool(result.success.all())


@extra
def test_a_single_feature_is_enough():
    model = torch.nn.Linear(1, 2)
    x, y = torch.full((1, 1), 0.5), torch.zeros(1, dtype=torch.int64)
    assert DFO(queries=10).run(FrozenModel(model, block=1), x, y, Linf(0.1)).x_adv.shape == (1, 1)


def test_a_missing_package_names_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "cma", None)
    net = small_net()
    with pytest.raises(MissingExtra, match=r"holdfast\[blackbox\]"):
        DFO().run(net, *examples(3, net), Linf(0.1))
