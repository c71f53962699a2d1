from holdfast.reproduce.gradalign_imagenet import REPRODUCTION
from reproduce.judged import builds, holds, mirrored


def test_published_figures_are_those_of_the_tables():
    assert REPRODUCTION.published["FGSM-RS, 6/255"] == {
        "clean_accuracy": 0.366,
        "robust_accuracy": 0.001,
    }


def test_claims_hold_on_the_published_figures_and_fail_on_mirrored_ones():
    assert holds(REPRODUCTION) == [True] * 2
    assert holds(REPRODUCTION, mirrored(REPRODUCTION)) == [False] * 2


def test_every_row_builds(tmp_path):
    found = builds(REPRODUCTION, tmp_path)
    assert len([size for size, _ in found if size == "published"]) == 9
    assert found["published", "FGSM + GradAlign, 6/255"].objective.weight == 0.1
    assert len(found["published", "FGSM, 2/255"].training.phases) == 3
