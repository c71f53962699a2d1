import pytest

from holdfast.reproduce.square_small_radius import LARGE, PUBLISHED, REPRODUCTION
from holdfast.reproduce.subjects import CIFAR


def test_published_figures_are_those_of_the_table():
    assert PUBLISHED["inception_v3"] == {
        "failure_rate": 0.054,
        "mean_queries": 1013,
        "median_queries": 391,
    }
    rows = REPRODUCTION.rows(REPRODUCTION.size("published"))
    assert {row.name for row in rows} == set(PUBLISHED)
    assert {row.threat for row in rows} == {"linf:4/255"}


def test_a_larger_radius_must_be_easier():
    easy, hard = ({"failure_rate": f, "mean_spent": f * 90} for f in (0.1, 0.5))
    (claim,) = REPRODUCTION.claims
    assert claim.judge({CIFAR.name: hard, LARGE: easy}) is True
    assert claim.judge({CIFAR.name: easy, LARGE: hard}) is False


@pytest.mark.slow
def test_it_runs(quickly):
    finding, _ = quickly("square-small-radius")
    small, large = (finding.outcomes[name] for name in ("digits-quick", LARGE))
    assert int(large.broken.sum()) >= int(small.broken.sum())
