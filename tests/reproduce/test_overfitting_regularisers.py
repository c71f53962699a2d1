import pytest

from holdfast.reproduce.overfitting_protocol import BEST, FINAL, LOST
from holdfast.reproduce.overfitting_regularisers import PLAIN, REPRODUCTION, SEMI, SWEEPS, named
from holdfast.training.objectives import Mixup, Penalised

LINES = {name: dict(line) for name, line in REPRODUCTION.published.items()}


def built(size, tmp_path):
    """The recipe of each row."""
    return {row.name: row.build(0, tmp_path) for row in REPRODUCTION.rows(REPRODUCTION.size(size))}


def test_published_figures_are_those_of_the_table():
    assert (LINES[SEMI][BEST], LINES[SEMI][FINAL]) == (0.598, 0.529)
    assert LINES[named("cutout", 14)] == {
        BEST: 0.5333,
        FINAL: 0.5119,
        LOST: 0.0214,
        "final_robust_accuracy_spread": 0.0079,
    }
    assert LINES[named("mixup", 1.4)][FINAL] == 0.5093
    assert LINES[named("l2", 5e-4)][LOST] == 0.0877
    assert len(LINES) == 2 + sum(map(len, SWEEPS.values())) == 31


@pytest.mark.parametrize("size", ["quick", "scaled", "published"])
def test_every_row_builds(size, tmp_path):
    found = built(size, tmp_path)
    assert found[SEMI].data.extra.fraction == 0.5
    assert isinstance(found[named("mixup", 1.4)].objective, Mixup)
    assert found[PLAIN].data.extra is None


def test_published_rows_change_their_parameter_alone(tmp_path):
    found = built("published", tmp_path)
    for value in SWEEPS["l1"]:
        objective = found[named("l1", value)].objective
        assert isinstance(objective, Penalised)
        assert (objective.l1, objective.l2) == (value, 0.0)
    assert found[named("l1", 5e-6)].training.optimizer.weight_decay == 5e-4
    assert found[named("l2", 5e-3)].training.optimizer.weight_decay == 0.0
    assert [found[named("cutout", each)].data.augment[-1].length for each in (2, 20)] == [2, 20]
    assert found[named("mixup", 0.2)].objective.alpha == 0.2


def test_the_claims_hold_on_the_published_figures_and_fail_on_others():
    assert [claim.judge(LINES) for claim in REPRODUCTION.claims] == [True] * 5
    turned = {
        name: line | {BEST: 1 - line[BEST], LOST: 0.1 - line[LOST]} for name, line in LINES.items()
    }
    turned[named("l2", 5e-4)][LOST] = 0.0
    turned[SEMI] = LINES[PLAIN]
    turned[PLAIN] = LINES[SEMI]
    assert [claim.judge(turned) for claim in REPRODUCTION.claims] == [False] * 5
