"""A certificate is never broken: on random networks, every ball, many points."""

from functools import cache
from itertools import pairwise

import pytest
import torch

from certify.programming import tiny
from holdfast.attacks import PGD
from holdfast.certify import BranchAndBound, Dual, capture, certified
from holdfast.certify.bounds.interval import Interval
from holdfast.certify.catalogue import BOUNDS
from holdfast.certify.spec import margin_rows
from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.core.results import Outcome
from holdfast.threats import L1, L2, Linf
from nets import examples, small_net


@cache
def captured(seed):
    return capture(small_net(seed), (2, 7, 6))


@pytest.mark.parametrize("threat", [Linf(0.003), Linf(0.01), L2(0.01), L1(0.002)], ids=str)
@pytest.mark.parametrize("seed", [0, 1])
def test_certified_margin_is_below_every_margin_an_attack_finds(threat, seed):
    net = small_net(seed)
    x, y = examples(24, net, seed=seed + 5)
    lower = Interval().bound(captured(seed), x, threat, margin_rows(y, 5)).lower.amin(dim=1)
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
    found = BOUNDS[name].load()().bound(captured(3), x, threat, margin_rows(y, 5))
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
    x, y = examples(10, small_net(4))
    lower = [
        Interval().bound(captured(4), x, Linf(r), margin_rows(y, 5)).lower
        for r in (0.0, 0.005, 0.02, 0.1)
    ]
    for wide, narrow in zip(lower[1:], lower[:-1], strict=True):
        assert bool((wide <= narrow).all())


def test_verified_true_and_empirical_robustness_are_nested():
    """VRA <= TRA <= ERA <= clean accuracy, example by example, the truth by branch and bound."""
    seen = []
    for seed in range(2):
        net, x = tiny(seed, (3, 8, 7, 3)), Keys.of(seed, range(9)).uniform((3,)).double()
        y = net(x).argmax(1)
        y[:3] = (y[:3] + seed) % 3
        threat = Linf(0.12)
        verified = certified(Dual(schedule="plain").bound(net, x, threat, margin_rows(y, 3)))
        exact = BranchAndBound(narrow_steps=5, root_steps=10).decide(net, x, y, threat).outcome
        assert (exact != Outcome.UNDECIDED).all()
        true = exact == Outcome.CERTIFIED
        found = PGD(steps=2, restarts=1, start="clean").run(net, x, y, threat)
        clean = net(x).argmax(1) == y
        stands = clean & ~found.success
        for inner, outer in pairwise([verified, true, stands, clean]):
            assert (outer | ~inner).all()
        seen.append(torch.stack([each.sum() for each in (verified, true, stands, clean)]))
    total = torch.stack(seen).sum(0)
    assert (total.diff() > 0).all(), total.tolist()
