from holdfast.reproduce.gradalign_penalties import REPRODUCTION
from reproduce.judged import builds, holds, mirrored


def test_published_figures_are_those_of_the_tables():
    line = REPRODUCTION.published["FGSM + l2 gradient penalty, 16/255"]
    assert (line["robust_accuracy"], line["robust_accuracy_spread"]) == (0.1364, 0.112)


def test_claims_hold_on_the_published_figures_and_fail_on_mirrored_ones():
    assert holds(REPRODUCTION) == [True] * 3
    assert holds(REPRODUCTION, mirrored(REPRODUCTION)) == [False] * 3


def test_every_row_builds(tmp_path):
    found = builds(REPRODUCTION, tmp_path)
    assert len([size for size, _ in found if size == "published"]) == 6
