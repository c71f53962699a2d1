from holdfast.reproduce.gradalign_radii import PUBLISHED, REPRODUCTION
from reproduce.judged import builds, holds, mirrored


def test_published_figures_are_those_of_the_tables():
    assert PUBLISHED["FGSM + GradAlign, 16/255"]["robust_accuracy"] == 0.2888
    assert PUBLISHED["PGD-2, 16/255"]["robust_accuracy_spread"] == 0.14
    assert PUBLISHED["SVHN PGD-10, 12/255"]["clean_accuracy"] == 0.8452
    assert PUBLISHED["SVHN AT for Free (m=8), 8/255"]["clean_accuracy_spread"] == 0.284


def test_claims_hold_on_the_published_figures_and_fail_on_mirrored_ones():
    assert holds(REPRODUCTION) == [True] * 8
    assert holds(REPRODUCTION, mirrored(REPRODUCTION)) == [False] * 8


def test_every_row_builds(tmp_path):
    found = builds(REPRODUCTION, tmp_path)
    assert len([size for size, _ in found if size == "published"]) == 7 * (16 + 12) + 2
    free = found["published", "AT for Free (m=8), 8/255"]
    assert (free.training.epochs, free.training.schedule.peak) == (12, 0.04)
    assert found["published", "SVHN PGD-2 + GradAlign, 12/255"].objective.weight == 0.5


def test_networks_are_measured_at_the_end_and_where_they_were_most_robust(tmp_path):
    assert PUBLISHED["PGD-10, 16/255"]["stopped_robust_accuracy"] == 0.3065
    for size in REPRODUCTION.sizes:
        for row in REPRODUCTION.rows(size):
            assert row.build(0, tmp_path).selection.choose == "best"
            found = {each.measure: each.weights for each in row.measured}
            assert found == {
                "clean_accuracy": "last",
                "robust_accuracy": "last",
                "stopped_clean_accuracy": "chosen",
                "stopped_robust_accuracy": "chosen",
            }
