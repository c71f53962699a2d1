import pytest

from holdfast.reproduce.pretraining_grid import BEST, MEASURES, PUBLISHED, REPRODUCTION
from holdfast.reproduce.regularisation_weights import REPRODUCTION as WITHOUT
from reproduce.judged import builds, holds, mirrored


def test_published_figures_are_those_of_the_tables():
    assert PUBLISHED[BEST]["robust_accuracy"] == 0.5575
    assert PUBLISHED["TRADES 0.5 -> TRADES 1.0"]["clean_train_accuracy"] == 0.96518
    assert PUBLISHED["TRADES 0.1 -> none"]["robust_train_accuracy"] == 0.01058
    sizes = (50_000, 10_000, 50_000, 10_000)
    for line in PUBLISHED.values():
        counts = [line[each] * n for each, n in zip(MEASURES, sizes, strict=True)]
        assert all(round(count, 6).is_integer() for count in counts)


def test_the_published_differences_follow_from_the_figures():
    """In points: the best pair over the best network of each kind without pretraining."""
    robust = {name: 100 * line["robust_accuracy"] for name, line in PUBLISHED.items()}
    alone = {name: 100 * line["robust_accuracy"] for name, line in WITHOUT.published.items()}
    assert max(robust, key=robust.__getitem__) == BEST
    assert robust[BEST] - alone["TRADES 5.0"] == pytest.approx(3.08)
    assert robust[BEST] - alone["AR 5.0"] == pytest.approx(1.85)
    assert robust["RO -> none"] - robust["RO -> RO"] == pytest.approx(1.59)


def test_claims_hold_on_the_published_figures_and_fail_on_mirrored_ones():
    assert holds(REPRODUCTION) == [True] * 4
    assert holds(REPRODUCTION, mirrored(REPRODUCTION)) == [False] * 4


def test_every_row_builds(tmp_path):
    found = builds(REPRODUCTION, tmp_path)
    assert len([size for size, _ in found if size == "published"]) == 35
    best = found["published", BEST]
    assert best.model.weights.endswith("trades-3-0-pretraining-0/checkpoints/best.safetensors")
    assert best.training.schedule.value == 1e-3
    assert found["published", "TRADES 3.0 (pretraining)"].data.name == "cinic10-enlarged"
