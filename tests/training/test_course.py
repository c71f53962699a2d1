import pytest

from holdfast.data import Augment
from holdfast.schedules import Cyclic, Linear
from holdfast.training.batches import Batches
from holdfast.training.course import Course, Place, Stretch
from training.test_watch import ALONE
from training.tiny import examples


def batches(size):
    return Batches(examples(23), size, seed=3, augment=Augment(), world=ALONE)


def two():
    """Two epochs of 5 steps and three of 3."""
    return Course([Stretch(2, batches(5)), Stretch(3, batches(8))])


def test_one_stretch_is_plain_counting():
    course = Course([Stretch(3, batches(5))], replays=2)
    assert (course.epochs, course.steps) == (3, 30)
    assert [course.end(epoch) for epoch in range(3)] == [10, 20, 30]
    assert course.at(0) == Place(0, 0, 0)
    assert course.at(13) == Place(1, 1, 1)
    assert [course.progress(done) for done in (0, 14, 29)] == [1 / 30, 0.5, 1.0]
    assert course.rate(14, Cyclic(peak=0.2, at=0.5)) == 0.2
    assert course.shown(30) == 3 * 23 * 2
    assert course.shown(13) == 23 * 2 + 5 * 2 + 5
    assert course.shown(9) == 5 * 4 * 2 + 3


def test_epochs_of_any_length_take_equal_parts_of_training():
    course = two()
    assert (course.epochs, course.steps) == (5, 19)
    assert [course.end(epoch) for epoch in range(5)] == [5, 10, 13, 16, 19]
    assert course.at(10) == Place(2, 0, 0)
    progress = [course.progress(done) for done in range(19)]
    assert progress == sorted(progress)
    assert [progress[end - 1] for end in (5, 10, 13, 16, 19)] == pytest.approx(
        [0.2, 0.4, 0.6, 0.8, 1.0]
    )
    assert course.batch(course.at(9)).rows == 3
    assert course.batch(course.at(10)).rows == 8
    assert course.shown(12) == 2 * 23 + 16
    assert course.shown(19) == 5 * 23


def test_rates_of_a_stretch_are_lines_in_its_own_epochs():
    first = Stretch(2, batches(5), ((0, 0.0), (1, 0.4), (2, 0.04)))
    second = Stretch(3, batches(8), ((0, 0.04), (3, 0.004)))
    course = Course([first, second, Stretch(1, batches(8))])
    falling = Linear(start=1.0, end=0.0)
    rates = [course.rate(done, falling) for done in range(course.steps)]
    assert rates[4] == 0.4
    assert rates[9] == pytest.approx(0.04)
    assert rates[18] == pytest.approx(0.004)
    assert rates[1] == pytest.approx(0.4 * 2 / 5)
    assert rates[-1] == 0
    assert rates[19] == pytest.approx(1 - (5 + 1 / 3) / 6)
