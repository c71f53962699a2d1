import pytest
import torch

from holdfast.attacks.square_schedule import halvings_of, plan, planes, window
from holdfast.core.errors import InputError

CPU = torch.device("cpu")
SIDES = [
    (224, 0.05, 1, [50, 35, 25, 18, 13, 9, 6, 4, 3, 2]),
    (299, 0.05, 1, [67, 47, 33, 24, 17, 12, 8, 6, 4, 3]),
    (224, 0.1, 3, [71, 50, 35, 25, 18, 13, 9, 6, 4, 3]),
    (299, 0.01, 1, [30, 21, 15, 11, 7, 5, 4, 3, 2, 1]),
    (28, 0.8, 1, [25, 18, 13, 9, 6, 4, 3, 2, 2, 1]),
    (28, 0.1, 3, [9, 6, 4, 3, 3, 3, 3, 3, 3, 3]),
    (32, 0.3, 1, [18, 12, 9, 6, 4, 3, 2, 2, 1, 1]),
]


def made(shape, **options):
    defaults = {"queries": 10_000, "p_init": 0.8, "schedule": "thesis", "rescale": True}
    return plan(shape, CPU, **(defaults | {"least": 1, "odd": False} | options))


@pytest.mark.parametrize(("side", "p", "least", "expected"), SIDES)
def test_sides_are_those_of_the_thesis(side, p, least, expected):
    found = [window(p / 2**halvings, side, side, least) for halvings in range(10)]
    assert found == [(each, each) for each in expected]


@pytest.mark.parametrize(("schedule", "halved"), [("thesis", 8), ("released", 9)])
def test_the_number_of_halvings(schedule, halved):
    passed = halvings_of(10_000, schedule, rescale=True)
    assert len(passed) == 9999
    assert passed[9] == 0
    assert passed[10] == 1
    assert passed[-1] == halved
    assert (passed[500] == 4) == (schedule == "released")


def test_other_budgets_stretch_the_schedule():
    passed = halvings_of(1000, "thesis", rescale=True)
    assert passed[0] == 0
    assert passed[1] == 1
    assert passed[-1] == 8
    assert halvings_of(1000, "thesis", rescale=False) == halvings_of(10_000, "thesis", True)[:999]


def test_odd_sides_and_narrow_images():
    assert window(0.8, 28, 28, 3, odd=True) == (25, 25)
    assert window(0.4, 28, 28, 3, odd=True) == (19, 19)
    assert window(0.9, 7, 6, 3) == (6, 6)
    assert window(0.8, 1, 20) == (1, 16)
    assert window(0.01, 20, 1, 3) == (3, 1)
    assert window(1.0, 5, 5, 3, odd=True) == (5, 5)


def test_a_plan_tells_each_row_its_own_size():
    halvings, size = made((3, 28, 28)).at(torch.tensor([0, 10, 9998, 20_000]))
    assert halvings.tolist() == [0, 1, 8, 8]
    assert size[:, 0].tolist() == [25, 18, 2, 2]


def test_shapes():
    assert planes((3, 7, 6)) == (3, 7, 6)
    assert planes((7, 6)) == (1, 7, 6)
    assert planes((12,)) == (1, 1, 12)
    with pytest.raises(InputError, match="no image"):
        planes((2, 3, 7, 6))
