import math

import pytest
import torch

from certify.nets import deep_net, small_net
from holdfast.attacks.pgd import PGD
from holdfast.certify.bounds.interval import Interval
from holdfast.certify.bounds.linear import CROWN, Dual
from holdfast.certify.studies.detector import Detector
from holdfast.core.errors import InputError, UnsupportedThreat
from holdfast.core.random import Keys
from holdfast.threats.balls import L2, Linf

each_method = pytest.mark.parametrize("bounds", [Dual(), CROWN(), Interval()])
each_net = pytest.mark.parametrize("net", [small_net, deep_net])


@each_method
@each_net
@pytest.mark.parametrize("ball", [Linf, L2])
def test_whatever_was_moved_across_a_boundary_is_flagged(bounds, net, ball):
    """Cor. 2 as a law: starts and ends at random, and ends that an attack found."""
    model, threat = net().double(), ball(0.12)
    start = Keys.of(1, range(400)).uniform((2,)).double()
    moved = threat.sample(start, keys=Keys.of(2, range(400)))
    attack = PGD(steps=10, restarts=1, step_size=0.04)
    attacked = attack.run(model, start, model(start).argmax(1), threat).x_adv
    missed = accepted = crossed = 0
    for end in (moved, attacked):
        found = Detector(bounds=bounds).flag(model, end, threat)
        assert found.sound
        across = model(start).argmax(1) != model(end).argmax(1)
        assert torch.equal(found.prediction, model(end).argmax(1))
        missed += int((across & ~found.flagged).sum())
        crossed += int(across.sum())
        accepted += int((~found.flagged).sum())
    assert missed == 0
    assert crossed > 10
    assert accepted > 10


@each_net
def test_an_accepted_input_has_one_class_all_around(net):
    model, threat = net().double(), Linf(0.1, box=None)
    x = Keys.of(3, range(30)).uniform((2,)).double()
    found = Detector().flag(model, x, threat)
    grid = torch.linspace(-0.1, 0.1, 41).double()
    around = x.unsqueeze(1) + torch.cartesian_prod(grid, grid)
    classes = model(around.flatten(0, 1)).argmax(1).view(30, -1)
    same = (classes == found.prediction.unsqueeze(1)).all(1)
    assert same[~found.flagged].all()
    assert not found.flagged.all()
    assert found.flagged.any()


def test_the_false_positive_rate_rises_with_the_radius_and_falls_with_tightness():
    model = deep_net()
    x = Keys.of(4, range(200)).uniform((2,))
    rates = [Detector().flag(model, x, Linf(radius)).rate for radius in (0.001, 0.05, 0.2)]
    assert rates == sorted(rates)
    assert rates[0] < rates[-1]
    loose = Detector(bounds=Interval()).flag(model, x, Linf(0.05)).rate
    assert loose >= rates[1]


def test_ties_are_flagged():
    model = torch.nn.Linear(2, 2)
    with torch.no_grad():
        model.weight.zero_()
        model.bias.zero_()
    found = Detector().flag(model, torch.rand(3, 2, generator=torch.Generator()), Linf(0.0))
    assert found.flagged.all()
    assert found.rate == 1.0


def test_threats_that_are_not_symmetric_are_refused():
    x = torch.zeros(3, 2)
    with pytest.raises(InputError, match="one radius for each example"):
        Detector().flag(small_net(), x, Linf(torch.tensor([0.1, 0.2, 0.3])))
    with pytest.raises(InputError, match="one radius for each example"):
        Detector().flag(small_net(), x, Linf(torch.full((3, 2), 0.1)))
    with pytest.raises(UnsupportedThreat, match="use a norm ball"):
        Detector().flag(small_net(), x, object())
    shared = Detector().flag(small_net(), x, Linf(torch.tensor([[0.1, 0.2]])))
    assert shared.margin.isfinite().all()
    assert math.isfinite(shared.rate)
