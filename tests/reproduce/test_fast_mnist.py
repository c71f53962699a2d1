import pytest

from holdfast.reproduce.fast_mnist import FAST, LARGE, PGD40, REPRODUCTION, SMALL

LINES = {name: dict(line) for name, line in REPRODUCTION.published.items()}


def test_published_figures_are_those_of_the_table():
    assert LINES[FAST] == {"clean_accuracy": 0.992, LARGE: 0.8877, SMALL: 0.9753}
    assert LINES[PGD40][LARGE] == 0.899


@pytest.mark.parametrize("size", ["quick", "scaled", "published"])
def test_every_row_builds(size, tmp_path):
    rows = {row.name: row for row in REPRODUCTION.rows(REPRODUCTION.size(size))}
    found = {name: row.build(0, tmp_path) for name, row in rows.items()}
    assert {each.measured[1].threat for each in rows.values()} == {"linf:0.1"}
    if size == "published":
        assert {name: each.training.epochs for name, each in found.items()} == {
            PGD40: 100,
            FAST: 10,
        }


def test_the_claims_hold_on_the_published_figures_and_fail_on_worse_ones():
    assert [claim.judge(LINES) for claim in REPRODUCTION.claims] == [True] * 3
    worse = LINES | {FAST: {name: value - 0.1 for name, value in LINES[FAST].items()}}
    assert [claim.judge(worse) for claim in REPRODUCTION.claims] == [False] * 3
