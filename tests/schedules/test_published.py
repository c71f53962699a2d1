import pytest

from holdfast.core.errors import InputError
from holdfast.schedules.published import (
    IMAGENET,
    LEARNING_RATES,
    TUNING,
    one_drop,
    periodic,
)


def at(name, epoch):
    schedule, epochs = LEARNING_RATES[name]
    return schedule(epoch / epochs)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("piecewise", {0: 0.1, 99.99: 0.1, 100: 0.01, 149.99: 0.01, 150: 0.001, 200: 0.001}),
        ("multiple", {0: 0.1, 49: 0.1, 50: 0.09, 449.9: 0.02, 450: 0.01, 499: 0.01, 500: 0.01}),
        ("linear", {0: 0.1, 100: 0.1, 125: 0.055, 150: 0.01, 200: 0.01}),
        ("linear-code", {0: 0.1, 200 / 3: 0.1, 100: 0.055, 400 / 3: 0.01, 200: 0.001}),
        ("cyclic", {0: 0, 40: 0.1, 80: 0.2, 140: 0.1, 200: 0}),
        ("cosine", {0: 0.1, 100: 0.05, 200: 0}),
    ],
)
def test_the_learning_rates_of_robust_overfitting(name, values):
    for epoch, value in values.items():
        assert at(name, epoch) == pytest.approx(value, rel=1e-12, abs=1e-15)


def test_imagenet_falls_by_ten_in_each_phase_without_a_jump():
    schedule, epochs = IMAGENET
    for epoch, value in {0: 0, 1: 0.4, 6: 0.04, 12: 0.004, 15: 0.0004}.items():
        assert schedule(epoch / epochs) == pytest.approx(value, rel=1e-12)
    for epoch in (6, 12):
        assert schedule((epoch - 1e-9) / 15) == pytest.approx(schedule(epoch / 15), rel=1e-6)


def test_every_row_of_the_tuning_is_one_drop():
    assert len(TUNING) == len(set(TUNING)) == 13
    for row in TUNING:
        before, after = (row.epoch - 0.01) / row.epochs, row.epoch / row.epochs
        assert row.schedule(0) == row.schedule(before) == row.start
        assert row.schedule(after) == row.schedule(1) == row.end
    assert one_drop() == TUNING[0].schedule
    assert min(TUNING, key=lambda row: row.error).end == 0.006


def test_periodic_scheduling_restarts_rate_and_radius_together():
    rate, radius = periodic(0.1)
    begins, ends, per_epoch = (0, 100, 150), (100, 150, 200), 5
    steps = 200 * per_epoch
    for begin, end in zip(begins, ends, strict=True):
        first = (begin * per_epoch + 1) / steps
        assert rate(first) == pytest.approx(0.1)
        assert radius(first) == radius((begin + 1) / 200) == 0  # the first epoch: no attack
        assert 0 < radius((begin + 1.1) / 200) < 0.01
        assert rate(end / 200) == pytest.approx(0.001)  # the step whose weights are kept
        assert radius(end / 200) == 1
        middle = (begin + end) / 2
        assert rate((middle - 0.1) / 200) == pytest.approx(0.1)
        assert rate((middle + 0.1) / 200) == pytest.approx(0.01)
        assert radius((middle + 0.1) / 200) == pytest.approx(1)
        assert radius((middle - 0.1) / 200) < 1
    with pytest.raises(InputError, match="not positive"):
        periodic(0)
