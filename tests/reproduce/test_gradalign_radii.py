from holdfast.reproduce.gradalign_radii import PUBLISHED, REPRODUCTION
from reproduce.judged import builds, holds, mirrored


def test_published_figures_are_those_of_the_tables():
    assert PUBLISHED["FGSM + GradAlign, 16/255"]["robust_accuracy"] == 0.2888
    assert PUBLISHED["PGD-2, 16/255"]["robust_accuracy_spread"] == 0.14
    assert PUBLISHED["SVHN PGD-10, 12/255"]["clean_accuracy"] == 0.8452
    assert PUBLISHED["SVHN AT for Free (m=8), 8/255"]["clean_accuracy_spread"] == 0.284


def test_claims_hold_on_the_published_figures_and_fail_on_mirrored_ones():
    assert holds(REPRODUCTION) == [True] * 7
    assert holds(REPRODUCTION, mirrored(REPRODUCTION)) == [False] * 7


def test_every_row_builds(tmp_path):
    found = builds(REPRODUCTION, tmp_path)
    assert len([size for size, _ in found if size == "published"]) == 7 * (16 + 12) + 2
    free = found["published", "AT for Free (m=8), 8/255"]
    assert (free.training.epochs, free.training.schedule.peak) == (12, 0.04)
    assert found["published", "SVHN PGD-2 + GradAlign, 12/255"].objective.weight == 0.5
    assert found["published", "FGSM, 10/255"].selection.choose == "last"
