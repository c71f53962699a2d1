import pytest

from holdfast.core.recipes import build, kind_of, to_dict
from holdfast.schedules.catalogue import SCHEDULES
from holdfast.schedules.protocol import Schedule

RECIPES = {
    "constant": {"value": 0.1},
    "piecewise": {"value": 0.1, "at": [0.4, 0.8]},
    "steps": {"values": [3, 2, 1]},
    "linear": {"start": 0.1, "end": 0.01},
    "cyclic": {"peak": 0.2, "at": 0.4},
    "knots": {"points": [[0, 0], [0.2, 0.4], [1, 0]]},
    "cosine": {"value": 0.1},
    "power": {"value": 1, "factor": 6, "exponent": 0.5},
    "exponential": {"value": 1, "factor": 131.5},
    "warmup": {"schedule": {"kind": "cosine", "value": 0.1}, "fraction": 0.2},
    "clipped": {"schedule": {"kind": "linear", "start": 0, "end": 2}, "high": "8/255"},
    "periodic": {"schedule": {"kind": "piecewise", "value": 0.1}, "at": [0.5]},
    "held": {"schedule": {"kind": "cosine", "value": 0.1}, "parts": 30},
    "budget": {"shape": "linear", "high": "8/4"},
    "drops": {"schedule": {"kind": "power", "value": 1, "factor": 3}, "at": [0.5, 0.9]},
}


def test_a_recipe_is_given_for_every_name():
    assert set(RECIPES) == set(SCHEDULES)


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule_comes_from_a_recipe_and_goes_back(name):
    kind = SCHEDULES[name].load()
    schedule = build(kind, RECIPES[name])
    assert isinstance(schedule, Schedule)
    assert kind_of(schedule, SCHEDULES) == name
    assert build(kind, to_dict(schedule)) == schedule
    assert hash(build(kind, to_dict(schedule))) == hash(schedule)


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule_is_finite_throughout_training(name):
    schedule = build(SCHEDULES[name].load(), RECIPES[name])
    values = [schedule(t / 100) for t in range(101)]
    assert all(isinstance(value, float) and 0 <= value <= 150 for value in values)
