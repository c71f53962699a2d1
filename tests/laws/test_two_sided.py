"""A certificate is never broken: on random networks, every ball, many points."""

import pytest
import torch

from holdfast.attacks import PGD
from holdfast.certify.bounds.interval import Interval
from holdfast.certify.catalogue import BOUNDS
from holdfast.certify.spec import margin_rows
from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.threats import L1, L2, Linf
from nets import examples, small_net


@pytest.mark.parametrize("threat", [Linf(0.003), Linf(0.01), L2(0.01), L1(0.002)], ids=str)
@pytest.mark.parametrize("seed", [0, 1])
def test_certified_margin_is_below_every_margin_an_attack_finds(threat, seed):
    net = small_net(seed)
    x, y = examples(24, net, seed=seed + 5)
    lower = Interval().bound(net, x, threat, margin_rows(y, 5)).lower.amin(dim=1)
    attack = PGD(steps=10, restarts=3)
    found = attack.run(FrozenModel(net, block=8), x, y, threat, keys=Keys.of(0, range(24)))
    assert bool((lower <= found.margin.double() + 1e-9).all())
    assert int((lower > 0).sum()) > 0
    assert not bool((found.success & (lower > 0)).any())


@pytest.mark.parametrize("name", BOUNDS)
@pytest.mark.parametrize("threat", [Linf(0.01), L2(0.05)], ids=str)
def test_every_bound_is_below_what_attacks_find(name, threat):
    net = small_net(3)
    x, y = examples(9, net, seed=8)
    if name in ("lp", "milp") and isinstance(threat, L2):
        pytest.skip("a ball in L2 is no linear programme")
    found = BOUNDS[name].load()().bound(net, x, threat, margin_rows(y, 5))
    lower = found.lower.amin(dim=1)
    attack = PGD(steps=10, restarts=3)
    margin = attack.run(FrozenModel(net), x, y, threat, keys=Keys.of(0, range(9))).margin
    assert found.sound or name == "milp"
    assert bool((lower <= margin.double() + 1e-9).all())
    assert bool((lower > 0).any()) or name == "interval"


def test_certified_margin_is_below_ten_thousand_sampled_margins():
    net = small_net(3)
    x, y = examples(1, net)
    threat = Linf(0.02)
    lower = Interval().bound(net, x, threat, margin_rows(y, 5)).lower[0]
    rows = margin_rows(y, 5)[0].double()
    keys = Keys.of(0, range(10_000))
    points = threat.sample(x.expand(10_000, -1, -1, -1), keys=keys)
    with torch.no_grad():
        margins = small_net(3).double()(points.double()) @ rows.T
    assert bool((margins >= lower).all())


def test_margins_fall_and_bounds_fall_as_the_radius_grows():
    net = small_net(4)
    x, y = examples(10, net)
    lower = [
        Interval().bound(net, x, Linf(r), margin_rows(y, 5)).lower for r in (0.0, 0.005, 0.02, 0.1)
    ]
    for wide, narrow in zip(lower[1:], lower[:-1], strict=True):
        assert bool((wide <= narrow).all())
