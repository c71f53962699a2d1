import pytest

from holdfast.reproduce.fast_initialisation import (
    DOUBLE_STOPPED,
    FREE,
    FULL,
    PGD7,
    PREVIOUS,
    RANDOM,
    REPRODUCTION,
    ZERO,
    ZERO_STOPPED,
)
from holdfast.training.monitors import Catastrophic
from holdfast.training.objectives import FGSMRS

LINES = {name: dict(line) for name, line in REPRODUCTION.published.items()}


def built(size, tmp_path):
    """The recipe of each row."""
    return {row.name: row.build(0, tmp_path) for row in REPRODUCTION.rows(REPRODUCTION.size(size))}


def test_published_figures_are_those_of_the_table():
    assert LINES[FULL] == {"clean_accuracy": 0.8381, "robust_accuracy": 0.4606}
    assert LINES[DOUBLE_STOPPED] == {"clean_accuracy": 0.7093, "robust_accuracy": 0.4038}
    assert LINES[PGD7]["robust_accuracy"] == 0.5069


@pytest.mark.parametrize("size", ["quick", "scaled", "published"])
def test_every_row_builds(size, tmp_path):
    found = built(size, tmp_path)
    assert len(found) == 9
    assert all(each.selection.choose == "last" for each in found.values())


def test_rows_have_the_published_settings(tmp_path):
    found = built("published", tmp_path)
    assert found[FULL].objective.step == "1.25*eps"
    assert found[ZERO].objective == FGSMRS(start="zero", step_size="eps")
    (stop,) = found[ZERO_STOPPED].training.monitors
    assert isinstance(stop, Catastrophic)
    assert (stop.drop, stop.floor, stop.attack.steps, stop.action) == (0.2, 0.0, 5, "rollback")
    assert {name: each.training.epochs for name, each in found.items() if name in (FREE, PGD7)} == {
        FREE: 12,
        PGD7: 40,
    }
    peaks = {name: each.training.schedule(0.5) for name, each in found.items()}
    assert (peaks[RANDOM], peaks[FREE], peaks[PGD7]) == (0.2, 0.04, 0.2)
    assert {each.data.validation for each in found.values()} == {0}


def test_on_mnist_random_starts_leave_the_box(tmp_path):
    found = built("scaled", tmp_path)
    assert (found[RANDOM].objective.start, found[PREVIOUS].objective.start) == ("ball", "previous")


def test_the_claims_hold_on_the_published_figures_and_fail_on_others():
    assert [claim.judge(LINES) for claim in REPRODUCTION.claims] == [True] * 4
    ordered = sorted(LINES, key=lambda name: LINES[name]["robust_accuracy"])
    turned = {name: LINES[other] for name, other in zip(ordered, ordered[::-1], strict=True)}
    assert [claim.judge(turned) for claim in REPRODUCTION.claims] == [False] * 4
