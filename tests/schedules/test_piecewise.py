import pytest

from holdfast.core.errors import InputError
from holdfast.schedules.piecewise import Piecewise, Steps


@pytest.mark.parametrize(
    ("epoch", "value"), [(0, 0.1), (99.99, 0.1), (100, 0.01), (149.99, 0.01), (150, 1e-3)]
)
def test_the_primary_schedule_of_200_epochs(epoch, value):
    assert Piecewise(value=0.1)(epoch / 200) == pytest.approx(value, rel=1e-14)


def test_a_single_drop_at_two_thirds():
    schedule = Piecewise(value=0.1, at=(100 / 150,))
    assert schedule(99.99 / 150) == 0.1
    assert schedule(100 / 150) == pytest.approx(0.01, rel=1e-14)


def test_halving_every_ten_epochs_after_a_ramp():
    schedule = Piecewise(value=1, at=tuple(e / 60 for e in (30, 40, 50, 60)), factor=0.5)
    for epoch in range(61):
        assert schedule(epoch / 60) == 0.5 ** (max(epoch - 20, 0) // 10)


@pytest.mark.parametrize(
    ("epoch", "value"), [(0, 0.1), (49, 0.1), (50, 0.09), (449, 0.02), (450, 0.01), (499, 0.01)]
)
def test_multiple_decay_of_500_epochs(epoch, value):
    schedule = Steps(values=[(10 - i) / 100 for i in range(10)])
    assert schedule(epoch / 500) == value


def test_every_boundary_of_equal_plateaus_belongs_to_the_next():
    for count in range(1, 60):
        schedule = Steps(values=list(range(count)))
        assert [schedule(i / count) for i in range(count)] == list(range(count))
        assert schedule(1) == count - 1


def test_plateaus_of_given_lengths():
    schedule = Steps(values=(3, 2, 1), at=(0.2, 0.9))
    assert [schedule(t) for t in (0, 0.19, 0.2, 0.89, 0.9, 1)] == [3, 3, 2, 2, 1, 1]


@pytest.mark.parametrize("at", [(0.5, 0.4), (0.5, 0.5), (-0.1,), (1.1,)])
def test_fractions_must_rise_within_training(at):
    with pytest.raises(InputError, match="rising"):
        Piecewise(value=1, at=at)


@pytest.mark.parametrize(("values", "at"), [((), None), ((1, 2), (0.2, 0.4)), ((1,), (0.5,))])
def test_values_and_jumps_must_fit(values, at):
    with pytest.raises(InputError):
        Steps(values=values, at=at)
