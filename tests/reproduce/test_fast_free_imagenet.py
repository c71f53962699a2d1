import pytest

from holdfast.reproduce.fast_free_imagenet import (
    FAST_2,
    FAST_4,
    FREE_4,
    ONE,
    REPRODUCTION,
    SHORT,
    TEN,
    TWICE,
    TWICE_LONGER_STEP,
)

LINES = {name: dict(line) for name, line in REPRODUCTION.published.items()}


def built(size, tmp_path):
    """The recipe of each row."""
    return {row.name: row.build(0, tmp_path) for row in REPRODUCTION.rows(REPRODUCTION.size(size))}


def test_published_figures_are_those_of_the_tables():
    assert LINES[FAST_2] == {"clean_accuracy": 0.609, ONE: 0.4346, TEN: 0.4343}
    assert LINES[TWICE_LONGER_STEP][TEN] == 0.2781
    assert LINES[FREE_4][ONE] == 0.3122


@pytest.mark.parametrize("size", ["quick", "scaled", "published"])
def test_every_row_builds(size, tmp_path):
    found = built(size, tmp_path)
    assert len(found) == 8
    assert {found[FAST_2].threat, found[FAST_4].threat} == {"linf:2/255", "linf:4/255"}


def test_phases_are_the_published_ones(tmp_path):
    found = built("published", tmp_path)
    phases = found[FAST_4].training.phases
    assert [(p.epochs, p.batch_size, p.resize, p.crop) for p in phases] == [
        (6, 512, 160, 128),
        (6, 224, 352, 224),
        (3, 128, None, 288),
    ]
    assert [p.rates for p in phases] == [
        ((0, 0), (1, 0.4), (6, 0.04)),
        ((0, 0.04), (6, 0.004)),
        ((0, 0.004), (3, 0.0004)),
    ]
    passes = {
        name: (r.training.epochs, r.objective.replays)
        for name, r in found.items()
        if "Free" in name
    }
    assert (passes[FREE_4], passes[SHORT], passes[TWICE]) == ((23, 4), (5, 3), (10, 3))


def test_the_claims_hold_on_the_published_figures_and_fail_on_others():
    assert [claim.judge(LINES) for claim in REPRODUCTION.claims] == [True] * 4
    turned = {
        name: line | {ONE: line[ONE] + 0.1, TEN: 0.5 - line[TEN]} for name, line in LINES.items()
    }
    turned[FAST_2] = LINES[FAST_2] | {TEN: 0.0}
    assert [claim.judge(turned) for claim in REPRODUCTION.claims] == [False] * 4
