import math

import pytest
from scipy.optimize import brentq
from scipy.stats import binom, binomtest

from holdfast.core.confidence import clopper_pearson
from holdfast.core.errors import InputError


@pytest.mark.parametrize(("successes", "n"), [(1, 10), (5, 10), (9, 10), (450, 1000), (17, 23)])
@pytest.mark.parametrize("level", [0.9, 0.95, 0.999])
def test_it_inverts_the_binomial_tails(successes, n, level):
    tail = (1 - level) / 2
    low, high = clopper_pearson(successes, n, level)
    assert low == pytest.approx(
        brentq(lambda p: binom.sf(successes - 1, n, p) - tail, 1e-9, 1 - 1e-9, xtol=1e-14)
    )
    assert high == pytest.approx(
        brentq(lambda p: binom.cdf(successes, n, p) - tail, 1e-9, 1 - 1e-9, xtol=1e-14)
    )


@pytest.mark.parametrize("successes", range(14))
def test_it_agrees_with_scipy(successes):
    interval = binomtest(successes, 13).proportion_ci(0.95, method="exact")
    assert clopper_pearson(successes, 13) == pytest.approx((interval.low, interval.high))


@pytest.mark.parametrize("n", [1, 10, 1000])
def test_no_success_and_only_successes_have_closed_forms(n):
    low, high = clopper_pearson(0, n)
    assert low == 0
    assert high == pytest.approx(1 - 0.025 ** (1 / n))
    low, high = clopper_pearson(n, n)
    assert low == pytest.approx(0.025 ** (1 / n))
    assert high == 1


def test_the_interval_covers_with_the_level_at_least():
    n = 12
    intervals = [clopper_pearson(k, n, 0.9) for k in range(n + 1)]
    for i in range(1, 200):
        p = i / 200
        covered = [binom.pmf(k, n, p) for k, (a, b) in enumerate(intervals) if a <= p <= b]
        assert math.fsum(covered) >= 0.9


@pytest.mark.parametrize(
    ("successes", "n", "level", "argument"),
    [
        (0, 0, 0.95, "n"),
        (-1, 5, 0.95, "successes"),
        (6, 5, 0.95, "successes"),
        (1, 5, 1.0, "level"),
    ],
)
def test_impossible_counts_are_refused(successes, n, level, argument):
    with pytest.raises(InputError) as caught:
        clopper_pearson(successes, n, level)
    assert caught.value.argument == argument
