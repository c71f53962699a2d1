from holdfast.reproduce.pretraining_size import REPRODUCTION
from reproduce.judged import builds, holds, mirrored


def test_published_figures_are_those_of_the_tables():
    assert REPRODUCTION.published["AR 1.0 -> AR 5.0, full"]["robust_accuracy"] == 0.5734
    assert REPRODUCTION.published["RO -> RO, sample"]["robust_train_accuracy"] == 0.69842


def test_claims_hold_on_the_published_figures_and_fail_on_mirrored_ones():
    assert holds(REPRODUCTION) == [True] * 3
    assert holds(REPRODUCTION, mirrored(REPRODUCTION)) == [False] * 3


def test_every_row_builds(tmp_path):
    found = builds(REPRODUCTION, tmp_path)
    assert len([size for size, _ in found if size == "published"]) == 12
    sample = found["published", "RO, sample (pretraining)"].data.sample
    assert (sample.size, sample.strata, sample.match) == (50_000, "none", "epochs")
    assert found["published", "RO, full (pretraining)"].data.sample is None
