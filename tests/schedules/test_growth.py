import pytest

from holdfast.core.errors import InputError
from holdfast.schedules.growth import Exponential, Power


@pytest.mark.parametrize(("percent", "factor"), [(10, 1.629), (30, 4.322), (50, 11.467)])
def test_five_percent_growth_per_hundredth(percent, factor):
    schedule = Exponential(value=2.0, factor=1.05**100)
    assert schedule(percent / 100) == pytest.approx(2 * factor, rel=1e-4)


def test_a_linear_warm_up_reaches_its_published_peak():
    schedule = Power(value=2e-4, factor=400 * 0.5)
    assert schedule(0) == 2e-4
    assert schedule(0.5) == pytest.approx(100.5 * 2e-4)


def test_a_power_below_one_grows_fast_at_first():
    schedule = Power(value=1, factor=6, exponent=0.5)
    assert [schedule(t) for t in (0, 0.25, 1)] == [1, 3.5, 6]


@pytest.mark.parametrize("kind", [Power, Exponential])
def test_a_factor_is_positive(kind):
    with pytest.raises(InputError, match="factor"):
        kind(value=1, factor=0)
