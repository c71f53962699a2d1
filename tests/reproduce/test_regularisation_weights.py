from holdfast.reproduce.regularisation_weights import REPRODUCTION
from reproduce.judged import builds, holds, mirrored


def test_published_figures_are_those_of_the_tables():
    assert REPRODUCTION.published["TRADES 5.0"]["robust_accuracy"] == 0.5267
    assert REPRODUCTION.published["AR 0.4"]["clean_train_accuracy"] == 0.9634
    # shares of 50,000 and of 10,000 images
    for line in REPRODUCTION.published.values():
        assert all(round(value * 10_000, 6).is_integer() for value in line.values())


def test_claims_hold_on_the_published_figures_and_fail_on_mirrored_ones():
    assert holds(REPRODUCTION) == [True] * 5
    assert holds(REPRODUCTION, mirrored(REPRODUCTION)) == [False] * 5


def test_every_row_builds(tmp_path):
    found = builds(REPRODUCTION, tmp_path)
    assert len([size for size, _ in found if size == "published"]) == 17
    assert found["published", "RO"].objective.weight == 0
    assert found["published", "TRADES 0.4"].objective.weight == 0.4
    assert {recipe.threat for recipe in found.values()} == {"linf:0.03"}
