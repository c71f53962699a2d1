from holdfast.reproduce.difficulty_tuning_fast import REPRODUCTION
from reproduce.judged import builds, holds, mirrored

GAPS = {f"beta = {beta}": (0.5, 0.5 - gap) for beta, gap in (("0", 0.1), ("0.5", 0.2), ("1", 0.3))}


def test_published_figures_are_those_of_the_table():
    assert REPRODUCTION.published["adaptive targets"] == {"autoattack_accuracy": 0.5117}


def test_claims_hold_on_the_published_figures_and_fail_on_mirrored_ones():
    names = ("robust_train_accuracy", "robust_accuracy")
    gaps = {name: dict(zip(names, each, strict=True)) for name, each in GAPS.items()}
    assert holds(REPRODUCTION, {**REPRODUCTION.published, **gaps}) == [True, True]
    turned = {name: dict(zip(names, each[::-1], strict=True)) for name, each in GAPS.items()}
    assert holds(REPRODUCTION, {**mirrored(REPRODUCTION), **turned}) == [False, False]


def test_every_row_builds(tmp_path):
    found = builds(REPRODUCTION, tmp_path)
    assert len(found) == 3 * 9
    assert found["published", "SAT"].objective.warmup == 90
    assert found["published", "beta = 1"].objective.beta == 1
    assert found["scaled", "GAIRAT"].objective.burn_in == 1
