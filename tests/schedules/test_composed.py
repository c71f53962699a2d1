import math

import pytest

from holdfast.core.errors import InputError
from holdfast.schedules.composed import Clipped, Drops, Held, Periodic, Warmup
from holdfast.schedules.constant import Constant
from holdfast.schedules.cosine import Cosine
from holdfast.schedules.growth import Exponential
from holdfast.schedules.linear import Cyclic, Linear
from holdfast.schedules.piecewise import Piecewise

COSINE_BUDGET = Clipped(schedule=Cosine(value=0, end=0.6), high=0.4)
LINEAR_BUDGET = Clipped(schedule=Linear(start=0, end=0.8), high=0.4)


def test_radius_warm_up_over_the_first_five_of_thirty_epochs():
    schedule = Warmup(schedule=Constant(value="8/255"), fraction=5 / 30)
    for iteration in range(301):
        expected = min(iteration / 50, 1) * 8 / 255
        assert schedule(iteration / 300) == pytest.approx(expected, rel=1e-12)


def test_a_warmed_up_schedule_keeps_its_own_time():
    schedule = Warmup(schedule=Piecewise(value=1), fraction=0.6)
    assert schedule(0.3) == pytest.approx(0.5)
    assert schedule(0.7) == pytest.approx(0.1)


def test_a_clipped_budget_reaches_its_target_where_the_formula_says():
    reached = math.acos(-1 / 3) / math.pi
    assert COSINE_BUDGET(reached - 1e-6) < 0.4
    assert COSINE_BUDGET(reached + 1e-6) == 0.4
    assert 100 * reached == pytest.approx(60.817, abs=5e-4)
    assert LINEAR_BUDGET(0.5 - 1e-6) < 0.4
    assert LINEAR_BUDGET(0.5) == 0.4


def test_a_clipped_budget_starts_at_zero_and_never_falls():
    assert COSINE_BUDGET(0) == LINEAR_BUDGET(0) == 0
    assert COSINE_BUDGET(25 / 100) == pytest.approx(0.0879, abs=5e-5)
    assert LINEAR_BUDGET(25 / 100) == pytest.approx(0.2)
    for budget in (COSINE_BUDGET, LINEAR_BUDGET):
        values = [budget(t / 200) for t in range(201)]
        assert values == sorted(values)


def test_clipping_from_below():
    schedule = Clipped(schedule=Linear(start=1, end=0), low=0.25)
    assert [schedule(t) for t in (0, 0.5, 0.9, 1)] == [1, 0.5, 0.25, 0.25]


def test_periods_restart_and_stretch():
    schedule = Periodic(schedule=Cyclic(peak=1))
    assert [schedule(e / 200) for e in (0, 50, 100, 125, 150, 175, 200)] == [0, 1, 0, 1, 0, 1, 0]
    ramp = Periodic(schedule=Linear(start=1, end=2))
    assert ramp(0.5 - 1e-9) == pytest.approx(2)
    assert [ramp(t) for t in (0.5, 0.75, 1)] == [2, 2, 2]
    assert ramp(0.5 + 1e-9) == pytest.approx(1)
    new = Periodic(schedule=Linear(start=1, end=2), boundary="new")
    assert [new(t) for t in (0, 0.25, 0.5, 0.75, 1)] == [1, 1.5, 1, 1, 2]


@pytest.mark.parametrize("parts", [1, 3, 7, 30, 200])
def test_a_held_schedule_changes_with_the_first_step_of_a_part(parts):
    held, steps = Held(schedule=Linear(start=0, end=1), parts=parts), 11
    assert held(0) == 0
    for part in range(parts):
        values = {held((part * steps + i + 1) / (parts * steps)) for i in range(steps)}
        assert values == {part / parts}


def test_growth_follows_one_curve_until_its_own_drop():
    growth = Exponential(value=1, factor=1.05**100)
    for until in (0.1, 0.3, 0.5):
        schedule = Drops(schedule=growth, at=(until, 0.9))
        assert schedule(until / 2) == growth(until / 2)
        assert schedule(until) == schedule(0.89) == pytest.approx(growth(until) / 10)
        assert schedule(0.9) == schedule(1) == pytest.approx(growth(until) / 100)


def test_one_drop_of_a_constant():
    schedule = Drops(schedule=Constant(value=6), at=(0.3,), factor=1 / 3)
    assert [schedule(t) for t in (0.29, 0.3, 1)] == [6, 2, 2]


def test_impossible_settings_are_refused():
    inner = Constant(value=1)
    for make in (
        lambda: Warmup(schedule=inner, fraction=0),
        lambda: Clipped(schedule=inner, low=2, high=1),
        lambda: Periodic(schedule=inner, at=(0.75, 0.5)),
        lambda: Periodic(schedule=inner, at=(0.0, 0.5)),
        lambda: Drops(schedule=inner, at=()),
    ):
        with pytest.raises(InputError):
            make()
