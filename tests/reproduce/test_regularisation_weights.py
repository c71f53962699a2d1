import pytest

from holdfast.reproduce.regularisation_methods import ar, trades
from holdfast.reproduce.regularisation_weights import REPRODUCTION, WEIGHTS
from reproduce.judged import builds, holds, mirrored


def test_published_figures_are_those_of_the_tables():
    assert REPRODUCTION.published["TRADES 5.0"]["robust_accuracy"] == 0.5267
    assert REPRODUCTION.published["AR 0.4"]["clean_train_accuracy"] == 0.9634
    # shares of 50,000 and of 10,000 images
    for line in REPRODUCTION.published.values():
        assert all(round(value * 10_000, 6).is_integer() for value in line.values())


GAPS = (17.8, 7.2, 8.4, 3.9, 4.1, 5.1, 2.2, 1.2)


def test_the_published_differences_follow_from_the_figures():
    """In points: of AR and TRADES at every weight, and of the best ones and robust optimization."""
    robust = {name: 100 * line["robust_accuracy"] for name, line in REPRODUCTION.published.items()}
    for weight, gap in zip(WEIGHTS, GAPS, strict=True):
        assert robust[ar(weight)] - robust[trades(weight)] == pytest.approx(gap, abs=0.051)
    best = [max(v for n, v in robust.items() if n.startswith(m)) for m in ("RO", "TRADES", "AR")]
    assert best[1] - best[0] == pytest.approx(4.64)
    assert best[2] - best[0] == pytest.approx(5.87)
    assert best[2] - best[1] == pytest.approx(1.23)


def test_claims_hold_on_the_published_figures_and_fail_on_mirrored_ones():
    assert holds(REPRODUCTION) == [True] * 5
    assert holds(REPRODUCTION, mirrored(REPRODUCTION)) == [False] * 5


def test_every_row_builds(tmp_path):
    found = builds(REPRODUCTION, tmp_path)
    assert len([size for size, _ in found if size == "published"]) == 17
    assert found["published", "RO"].objective.weight == 0
    assert found["published", "TRADES 0.4"].objective.weight == 0.4
    assert {recipe.threat for recipe in found.values()} == {"linf:0.03"}
