import pytest

from holdfast.reproduce.overfitting_validation import (
    BY_TEST,
    HELD,
    LAST,
    REPRODUCTION,
    ROBUST,
    STOPPED,
)

LINES = {name: dict(line) for name, line in REPRODUCTION.published.items()}


def test_published_figures_are_those_of_the_table():
    assert (LINES[STOPPED][ROBUST], LINES[BY_TEST][ROBUST]) == (0.531, 0.533)
    assert LINES[STOPPED]["best_validation_accuracy"] == 0.524


@pytest.mark.parametrize("size", ["quick", "scaled", "published"])
def test_every_row_builds(size, tmp_path):
    rows = REPRODUCTION.rows(REPRODUCTION.size(size))
    stopped, oracle = (row.build(0, tmp_path) for row in rows)
    assert (stopped.selection.on, stopped.data.validation) == ("validation", HELD[size])
    assert (oracle.selection.on, oracle.data.validation) == ("test", 0)
    if size != "published":
        assert stopped.data.limit - HELD[size] == oracle.data.limit


def test_the_claims_hold_on_the_published_figures_and_fail_on_others():
    assert [claim.judge(LINES) for claim in REPRODUCTION.claims] == [True, True]
    turned = LINES | {STOPPED: LINES[STOPPED] | {ROBUST: LINES[BY_TEST][LAST]}}
    assert [claim.judge(turned) for claim in REPRODUCTION.claims] == [False, False]
