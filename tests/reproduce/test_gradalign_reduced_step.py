from holdfast.reproduce.gradalign_reduced_step import REDUCED, REPRODUCTION
from reproduce.judged import builds, holds, mirrored


def test_published_figures_are_those_of_the_tables():
    line = REPRODUCTION.published[REDUCED]
    assert line == {"robust_accuracy": 0.4535, "robust_accuracy_spread": 0.0048}


def test_claims_hold_on_the_published_figures_and_fail_on_mirrored_ones():
    assert holds(REPRODUCTION) == [True] * 1
    assert holds(REPRODUCTION, mirrored(REPRODUCTION)) == [False] * 1


def test_every_row_builds(tmp_path):
    found = builds(REPRODUCTION, tmp_path)
    assert len([size for size, _ in found if size == "published"]) == 7
    assert found["published", "FGSM"].selection.choose == "best"
    assert found["published", "FGSM trained at 5/255"].selection.choose == "last"
