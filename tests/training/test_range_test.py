import math

import pytest
import torch
from torch import nn

from holdfast.attacks import PGD
from holdfast.core.errors import InputError
from holdfast.core.results import ObjectiveResult
from holdfast.data import Augment
from holdfast.threats import Linf
from holdfast.training.batches import Batches
from holdfast.training.distributed import World
from holdfast.training.objectives import FGSMRS, PGDAT, YOPO, Free, Standard
from holdfast.training.optimizers import SGD, Adam
from holdfast.training.range_test import RangeTest, smoothed
from training.tiny import examples, network

THREAT = Linf(0.05)
SHORT = RangeTest(low=1e-3, high=100, steps=30, window=3)


def batches(count=23, size=8):
    world = World(0, 1, torch.device("cpu"))
    return Batches(examples(count), size, seed=2, augment=Augment(), world=world)


class Quadratic:
    """h |w|^2 / 2 of the weight, whatever the examples."""

    def __init__(self, curvature):
        self.curvature = curvature

    def loss(self, model, x, y, threat, **options):
        return ObjectiveResult(0.5 * self.curvature * model.weight.square().sum())


@pytest.mark.parametrize("growth", ["exponential", "linear"])
@pytest.mark.parametrize("curvature", [0.5, 3.0, 40.0])
def test_on_a_quadratic_it_suggests_two_over_the_curvature(growth, curvature):
    test = RangeTest(
        low=1e-3, high=20, steps=400, growth=growth, window=1, optimizer=SGD(momentum=0.0)
    )
    model = nn.Linear(2, 1, bias=False).double()
    result = test.run(model, Quadratic(curvature), batches(), THREAT)
    place = result.rates.index(result.suggestion)
    following = test.rate(place + 1)
    assert result.suggestion <= 2 / curvature < following
    assert result.diverged is not None
    assert result.diverged > result.suggestion


@pytest.mark.parametrize("growth", ["exponential", "linear"])
def test_rates_grow_from_low_to_high(growth):
    test = RangeTest(low=0.01, high=1, steps=11, growth=growth)
    rates = [test.rate(step) for step in range(11)]
    assert (rates[0], rates[-1]) == pytest.approx((0.01, 1))
    ratios = [b / a if growth == "exponential" else b - a for a, b in zip(rates, rates[1:])]  # noqa: B905, RUF007
    assert max(ratios) == pytest.approx(min(ratios))


def state(net):
    tensors = {key: each.clone() for key, each in net.state_dict().items()}
    return tensors, [module.training for module in net.modules()]


@pytest.mark.parametrize(
    "objective",
    [
        Standard(),
        FGSMRS(),
        PGDAT(attack=PGD(steps=1, restarts=1)),
        Free(replays=3),
        YOPO(),
    ],
)
def test_the_network_is_as_before(objective):
    net = network(norm=True, dropout=0.2)
    net[1].eval()
    net[0].weight.grad = torch.ones_like(net[0].weight)
    (before, modes), random = state(net), torch.get_rng_state()
    result = SHORT.run(net, objective, batches(), THREAT)
    after, modes_after = state(net)
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert modes == modes_after
    assert torch.equal(net[0].weight.grad, torch.ones_like(net[0].weight))
    assert net[5].weight.grad is None
    assert torch.equal(torch.get_rng_state(), random)
    assert len(result.rates) == len(result.losses) == len(result.smoothed)


def test_it_is_repeatable():
    runs = [SHORT.run(network(dropout=0.5), FGSMRS(), batches(), THREAT) for _ in range(2)]
    assert runs[0] == runs[1]


def test_it_sees_training_diverge():
    result = RangeTest(low=1e-2, high=1e4, steps=60, window=5).run(
        network(), Standard(), batches(), THREAT
    )
    assert result.diverged is not None
    assert 0.01 < result.suggestion < result.diverged < 1e4
    assert min(result.smoothed) < 0.9 * result.losses[0]


def test_rates_that_are_too_small_or_too_large_are_told_apart():
    small = RangeTest(low=1e-6, high=1e-5, steps=12, window=3)
    assert small.run(network(), Standard(), batches(), THREAT).diverged is None
    large = RangeTest(low=1e6, high=1e7, steps=12, window=1, optimizer=SGD(momentum=0.0))
    result = large.run(nn.Linear(2, 1).double(), Quadratic(1.0), batches(), THREAT)
    assert result.suggestion is None
    assert result.diverged == result.rates[-1]


def test_adam_can_be_tested():
    result = RangeTest(low=1e-5, high=1, steps=20, optimizer=Adam()).run(
        network(), Standard(), batches(), THREAT
    )
    assert result.suggestion is not None


def test_means_are_centred():
    assert smoothed([4.0, 1.0, 1.0, 4.0, 10.0], 3) == (4, 2, 2, 5, 10)
    assert smoothed([1.0, 2.0, math.nan, 0.0], 3) == (1, math.inf, math.inf, 0)
    line = [float(i) for i in range(9)]
    assert smoothed(line, 5) == tuple(line)


def test_impossible_settings_are_refused():
    with pytest.raises(InputError, match="is not below"):
        RangeTest(low=2, high=1)
    model = network()
    with torch.no_grad():
        model[0].weight.fill_(math.nan)
    with pytest.raises(InputError, match="not finite to begin with"):
        SHORT.run(model, Standard(), batches(), THREAT)
