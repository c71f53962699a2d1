import pytest

from holdfast.core.errors import InputError
from holdfast.schedules.linear import Cyclic, Knots, Linear

IMAGENET = Knots(
    points=[(e / 15, v) for e, v in ((0, 0), (1, 0.4), (6, 0.04), (12, 4e-3), (15, 4e-4))]
)


@pytest.mark.parametrize(
    ("epoch", "value"), [(0, 0.1), (100, 0.1), (125, 0.055), (150, 0.01), (200, 0.01)]
)
def test_linear_of_200_epochs(epoch, value):
    schedule = Linear(start=0.1, end=0.01, begin=0.5, finish=0.75)
    assert schedule(epoch / 200) == pytest.approx(value, rel=1e-14)


def test_linear_is_exact_at_its_ends():
    schedule = Linear(start=0.1, end=0.7, begin=0.3, finish=0.6)
    assert [schedule(t) for t in (0, 0.3, 0.6, 1)] == [0.1, 0.1, 0.7, 0.7]


def test_the_radius_ramp_of_the_first_half():
    schedule = Linear(start=0.05, end=0.1, finish=0.5)
    assert schedule(25 / 100) == pytest.approx(0.075)
    assert schedule(60 / 100) == 0.1


@pytest.mark.parametrize(("epoch", "value"), [(0, 0), (7.5, 0.1), (15, 0.2), (22.5, 0.1), (30, 0)])
def test_cyclic_of_30_epochs_peaks_in_the_middle(epoch, value):
    assert Cyclic(peak=0.2)(epoch / 30) == pytest.approx(value, rel=1e-14)


@pytest.mark.parametrize(("epoch", "value"), [(0, 0), (40, 0.1), (80, 0.2), (140, 0.1), (200, 0)])
def test_cyclic_of_200_epochs_peaks_at_two_fifths(epoch, value):
    assert Cyclic(peak=0.2, at=0.4)(epoch / 200) == pytest.approx(value, rel=1e-14)


@pytest.mark.parametrize(
    ("epoch", "value"),
    [(0, 0), (0.5, 0.2), (1, 0.4), (3.5, 0.22), (6, 0.04), (9, 0.022), (12, 4e-3), (15, 4e-4)],
)
def test_the_phases_of_imagenet(epoch, value):
    assert IMAGENET(epoch / 15) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("epoch", [6, 12])
def test_the_phases_of_imagenet_are_continuous(epoch):
    before, here, after = (IMAGENET(epoch / 15 + d) for d in (-1e-9, 0, 1e-9))
    assert before == pytest.approx(here, rel=1e-6)
    assert after == pytest.approx(here, rel=1e-6)


def test_two_points_at_one_fraction_make_a_jump():
    schedule = Knots(points=((0.2, 1), (0.5, 2), (0.5, 7), (0.8, 8)))
    assert [schedule(t) for t in (0, 0.2, 0.5, 0.8, 1)] == [1, 1, 7, 8, 8]
    assert schedule(0.5 - 1e-12) == pytest.approx(2)


def test_one_point_is_a_constant():
    assert [Knots(points=((0.5, 3),))(t) for t in (0, 0.5, 1)] == [3, 3, 3]


def test_knots_through_the_points_of_the_others_are_the_others():
    cyclic, knots = Cyclic(peak=0.3, at=0.4), Knots(points=((0, 0), (0.4, 0.3), (1, 0)))
    assert all(cyclic(t / 97) == knots(t / 97) for t in range(98))


@pytest.mark.parametrize("points", [(), ((0.5, 1), (0.4, 2)), ((0.5, 1), (1.2, 2))])
def test_bad_points_are_refused(points):
    with pytest.raises(InputError) as caught:
        Knots(points=points)
    assert caught.value.argument == "points"


def test_a_line_needs_a_beginning_before_its_end():
    with pytest.raises(InputError, match="not before"):
        Linear(start=0, end=1, begin=0.5, finish=0.5)


@pytest.mark.parametrize("at", [0, 1])
def test_a_peak_lies_inside_training(at):
    with pytest.raises(InputError):
        Cyclic(peak=1, at=at)
