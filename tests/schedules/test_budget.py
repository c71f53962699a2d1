import math

import pytest

from holdfast.core.errors import InputError
from holdfast.schedules.budget import Budget
from holdfast.schedules.composed import Clipped, Held, Periodic
from holdfast.schedules.cosine import Cosine

MNIST = {"cosine": Budget(high=0.6 / 0.4), "linear": Budget(shape="linear", high=0.8 / 0.4)}
CIFAR = {shape: Budget(shape=shape) for shape in ("cosine", "linear")}


def test_the_budgets_of_mnist_reach_their_target_where_the_formula_says():
    reached = math.acos(-1 / 3) / math.pi
    assert 100 * reached == pytest.approx(60.817, abs=5e-4)
    assert MNIST["cosine"](reached - 1e-6) < 1 == MNIST["cosine"](reached + 1e-6)
    assert MNIST["linear"](0.5 - 1e-6) < 1 == MNIST["linear"](0.5)
    assert 0.4 * MNIST["cosine"](0.25) == pytest.approx(0.0879, abs=5e-5)
    assert 0.4 * MNIST["linear"](0.25) == pytest.approx(0.2, rel=1e-12)


@pytest.mark.parametrize("shape", CIFAR)
def test_the_budgets_of_cifar_reach_their_target_at_half_of_the_period(shape):
    budget = CIFAR[shape]
    assert budget(0.5 - 1e-6) < 1
    assert budget(0.5) == pytest.approx(1, rel=1e-15)
    assert budget(0.5 + 1e-6) == 1


@pytest.mark.parametrize("budget", [*MNIST.values(), *CIFAR.values(), Budget(low=-0.5)])
def test_a_budget_never_falls_and_stays_a_share(budget):
    values = [budget(t / 200) for t in range(201)]
    assert values == sorted(values)
    assert values[0] == 0
    assert values[-1] == 1


def test_it_is_the_clipped_curve():
    clipped = Clipped(schedule=Cosine(value=0, end=1.5), low=0, high=1)
    for t in range(101):
        assert MNIST["cosine"](t / 100) == pytest.approx(clipped(t / 100), abs=1e-15)


def test_in_periods_it_starts_again_and_is_stretched():
    schedule = Periodic(schedule=Budget(shape="linear", high=1))
    by_epoch = {1: 0.01, 50: 0.5, 100: 1, 101: 0.02, 125: 0.5, 150: 1, 151: 0.02, 200: 1}
    for epoch, value in by_epoch.items():
        assert schedule(epoch / 200) == pytest.approx(value, rel=1e-12)


def test_by_epoch_it_is_that_of_the_epochs_number():
    periods = Periodic(schedule=Budget(shape="linear", high=1), boundary="new")
    schedule = Held(schedule=periods, parts=200)
    steps = 7  # of an epoch
    for epoch, value in {0: 0, 1: 0.01, 99: 0.99, 100: 0, 149: 0.98, 150: 0, 199: 0.98}.items():
        for i in range(steps):
            progress = (epoch * steps + i + 1) / (200 * steps)
            assert schedule(progress) == pytest.approx(value, rel=1e-12, abs=1e-15)


def test_a_start_above_the_end_is_refused():
    with pytest.raises(InputError, match="is above high=1"):
        Budget(high=1, low=2)
