import pytest

from holdfast.reproduce.pretraining_size import REPRODUCTION
from holdfast.reproduce.regularisation_methods import MEASURES
from reproduce.judged import builds, holds, mirrored


def test_published_figures_are_those_of_the_tables():
    assert REPRODUCTION.published["AR 1.0 -> AR 5.0, full"]["robust_accuracy"] == 0.5734
    assert REPRODUCTION.published["RO -> RO, sample"]["robust_train_accuracy"] == 0.69842


DROPS = {
    "RO -> RO": (2.64, 2.88, 9.60, 3.26),
    "TRADES 3.0 -> TRADES 5.0": (3.63, 3.62, 7.33, 3.46),
    "AR 1.0 -> AR 5.0": (4.85, 4.54, 8.25, 5.14),
}


def test_figures_are_shares_of_whole_sets_and_their_differences_those_of_the_table():
    lines, sizes = REPRODUCTION.published, (50_000, 10_000, 50_000, 10_000)
    for line in lines.values():
        counts = [line[each] * n for each, n in zip(MEASURES, sizes, strict=True)]
        assert all(round(count, 6).is_integer() for count in counts)
    for name, drops in DROPS.items():
        for each, drop in zip(MEASURES, drops, strict=True):
            lost = 100 * (lines[f"{name}, full"][each] - lines[f"{name}, sample"][each])
            assert lost == pytest.approx(drop, abs=0.0051)


def test_claims_hold_on_the_published_figures_and_fail_on_mirrored_ones():
    assert holds(REPRODUCTION) == [True] * 3
    assert holds(REPRODUCTION, mirrored(REPRODUCTION)) == [False] * 3


def test_every_row_builds(tmp_path):
    found = builds(REPRODUCTION, tmp_path)
    assert len([size for size, _ in found if size == "published"]) == 12
    sample = found["published", "RO, sample (pretraining)"].data.sample
    assert (sample.size, sample.strata, sample.match) == (50_000, "none", "epochs")
    assert found["published", "RO, full (pretraining)"].data.sample is None
