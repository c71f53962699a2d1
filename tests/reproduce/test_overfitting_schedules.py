import pytest

from holdfast.reproduce.overfitting_protocol import BEST, BEST_AT, FINAL, LOST
from holdfast.reproduce.overfitting_schedules import (
    BASE,
    FIVE,
    REPRODUCTION,
    STRETCHED,
    times,
    tuned,
)
from holdfast.schedules import Cosine, Cyclic, Steps
from holdfast.schedules.published import TUNING

LINES = {name: dict(line) for name, line in REPRODUCTION.published.items()}


def test_published_figures_are_those_of_the_tables():
    assert LINES["piecewise"] == {BEST: 0.5349, FINAL: 0.4608, LOST: 0.0741, BEST_AT: 0.53}
    assert LINES["multiple"][BEST_AT] == 0.624
    assert LINES[tuned(BASE)] == {BEST: 0.533}
    assert LINES["drop at epoch 100, 0.1 to 0.006"] == {BEST: 0.54}
    assert len(LINES) == len(FIVE) + len(TUNING)


def test_all_values_of_a_schedule_are_multiplied():
    assert times(Cyclic(peak=0.2, at=0.4), 0.5) == Cyclic(peak=0.1, at=0.4)
    assert times(Steps(values=(0.4, 0.2)), 0.5) == Steps(values=(0.2, 0.1))
    assert times(Cosine(value=0.1, end=0.02), 0.5) == Cosine(value=0.05, end=0.01)


@pytest.mark.parametrize("size", ["quick", "scaled", "published"])
def test_every_row_builds(size, tmp_path):
    rows = {row.name: row.build(0, tmp_path) for row in REPRODUCTION.rows(REPRODUCTION.size(size))}
    epochs = {name: recipe.training.epochs for name, recipe in rows.items()}
    expected = {"quick": (2, 2), "scaled": (150, 33), "published": (500, 110)}[size]
    assert (epochs["multiple"], epochs["drop at epoch 60, 0.1 to 0.01"]) == expected
    if size == "published":
        rates = rows["piecewise"].training.schedule
        assert [rates(at / 200) for at in (99, 100, 150)] == pytest.approx([0.1, 0.01, 0.001])
        assert epochs[STRETCHED] == 300


def test_the_claims_hold_on_the_published_figures_and_fail_on_others():
    stretched = LINES | {STRETCHED: {BEST: 0.51, FINAL: 0.49}}
    assert [claim.judge(LINES) for claim in REPRODUCTION.claims] == [True] * 3 + [None] + [True] * 2
    assert [claim.judge(stretched) for claim in REPRODUCTION.claims] == [True] * 6
    turned = {
        name: {BEST: 1 - line[BEST], FINAL: 0.4, LOST: 0.0, BEST_AT: 0.1}
        for name, line in LINES.items()
    }
    turned[STRETCHED] = {BEST: 0.6, FINAL: 0.3}
    assert [claim.judge(turned) for claim in REPRODUCTION.claims] == [False] * 6
