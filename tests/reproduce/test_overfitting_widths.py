import pytest

from holdfast.reproduce.overfitting_protocol import BEST, FINAL, LOST, TRAIN
from holdfast.reproduce.overfitting_widths import ERRORS, REPRODUCTION, WIDTHS, named

LINES = {name: dict(line) for name, line in REPRODUCTION.published.items()}


def test_published_figures_are_those_of_the_logs():
    line = LINES[named(5)]
    assert (line[BEST], line[FINAL], line[TRAIN]) == (0.55, 0.4687, 0.9015)
    assert LINES[named(20)][BEST] == 0.5816
    assert len(LINES) == len(ERRORS) == 12


@pytest.mark.parametrize("size", ["quick", "scaled", "published"])
def test_every_row_builds(size, tmp_path):
    rows = REPRODUCTION.rows(REPRODUCTION.size(size))
    options = [row.build(0, tmp_path).model.options for row in rows]
    assert [each["width"] for each in options] == list(WIDTHS[size])
    assert all(each.get("depth") == (34 if size == "published" else None) for each in options)


def test_the_claims_hold_on_the_published_figures_and_fail_on_others():
    assert [claim.judge(LINES) for claim in REPRODUCTION.claims] == [True] * 4
    turned = {
        name: {BEST: 1 - line[BEST], FINAL: 1 - line[FINAL], LOST: -line[LOST], TRAIN: 0.9}
        for name, line in LINES.items()
    }
    assert [claim.judge(turned) for claim in REPRODUCTION.claims] == [False] * 4
