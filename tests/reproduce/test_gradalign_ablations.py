from holdfast.reproduce.gradalign_ablations import REPRODUCTION, large, lasting, weighted
from reproduce.judged import builds, holds


def test_published_figures_are_those_of_the_table():
    line = REPRODUCTION.published[large(32)]
    assert (line["clean_accuracy_spread"], line["robust_accuracy"]) == (0.0335, 0.1293)


def test_claims_hold_on_the_published_figures_and_fail_on_others():
    lines = dict(REPRODUCTION.published)
    lines |= {weighted(0.03): {"robust_accuracy": 0.0}, lasting(50): {"robust_accuracy": 0.46}}
    assert holds(REPRODUCTION, lines) == [True] * 4
    weak = {
        name: {"robust_accuracy": 0.25 - line["robust_accuracy"]} for name, line in lines.items()
    }
    assert holds(REPRODUCTION, weak) == [False] * 4


def test_every_row_builds(tmp_path):
    found = builds(REPRODUCTION, tmp_path)
    assert len([size for size, _ in found if size == "published"]) == 9 + 5 + 2
    assert found["published", large(24)].training.schedule.peak == 0.1
    assert found["scaled", lasting(50)].training.epochs == 25
