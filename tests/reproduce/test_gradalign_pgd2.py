from holdfast.reproduce.gradalign_pgd2 import HALF, RANDOM_FULL, REPRODUCTION
from reproduce.judged import builds, holds, mirrored


def test_published_figures_are_those_of_the_tables():
    assert REPRODUCTION.published[RANDOM_FULL]["robust_accuracy"] == 0.4807


def test_claims_hold_on_the_published_figures_and_fail_on_mirrored_ones():
    assert holds(REPRODUCTION) == [True] * 1
    assert holds(REPRODUCTION, mirrored(REPRODUCTION)) == [False] * 1


def test_every_row_builds(tmp_path):
    found = builds(REPRODUCTION, tmp_path)
    assert len([size for size, _ in found if size == "published"]) == 3
    assert found["published", HALF].objective.attack.start == "clean"
