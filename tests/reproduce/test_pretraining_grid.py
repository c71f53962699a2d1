from holdfast.reproduce.pretraining_grid import BEST, MEASURES, PUBLISHED, REPRODUCTION
from reproduce.judged import builds, holds, mirrored


def test_published_figures_are_those_of_the_tables():
    assert PUBLISHED[BEST]["robust_accuracy"] == 0.5575
    assert PUBLISHED["TRADES 0.5 -> TRADES 1.0"]["clean_train_accuracy"] == 0.96518
    assert PUBLISHED["TRADES 0.1 -> none"]["robust_train_accuracy"] == 0.01058
    sizes = (50_000, 10_000, 50_000, 10_000)
    for line in PUBLISHED.values():
        counts = [line[each] * n for each, n in zip(MEASURES, sizes, strict=True)]
        assert all(round(count, 6).is_integer() for count in counts)


def test_claims_hold_on_the_published_figures_and_fail_on_mirrored_ones():
    assert holds(REPRODUCTION) == [True] * 4
    assert holds(REPRODUCTION, mirrored(REPRODUCTION)) == [False] * 4


def test_every_row_builds(tmp_path):
    found = builds(REPRODUCTION, tmp_path)
    assert len([size for size, _ in found if size == "published"]) == 35
    best = found["published", BEST]
    assert best.model.weights.endswith("trades-3-0-pretraining-0/checkpoints/best.safetensors")
    assert best.training.schedule.value == 1e-3
    assert found["published", "TRADES 3.0 (pretraining)"].data.name == "cinic10"
