import pytest

from holdfast.reproduce.overfitting_protocol import BEST, LOST
from holdfast.reproduce.overfitting_trades import (
    PGD_WIDE,
    REPRODUCTION,
    SMALL_LONG,
    SMALL_SHORT,
    THEIRS,
    WIDE_LONG,
    WIDE_SHORT,
)

LINES = {name: dict(line) for name, line in REPRODUCTION.published.items()}
DRAWN = {
    SMALL_SHORT: {LOST: 0.002},
    SMALL_LONG: {LOST: 0.04},
    WIDE_SHORT: {LOST: 0.03},
    **LINES,
}
"""The published figures, with losses as the published curves show them."""


def built(size, tmp_path):
    """The recipe of each row."""
    return {row.name: row.build(0, tmp_path) for row in REPRODUCTION.rows(REPRODUCTION.size(size))}


def test_published_figures_are_those_of_the_text():
    assert (LINES[PGD_WIDE][BEST], LINES[PGD_WIDE][THEIRS]) == (0.568, 0.577)
    assert (LINES[WIDE_LONG][BEST], LINES[WIDE_LONG][THEIRS]) == (0.55, 0.559)


@pytest.mark.parametrize("size", ["quick", "scaled", "published"])
def test_every_row_builds(size, tmp_path):
    assert len(built(size, tmp_path)) == 5


def test_networks_and_schedules_are_the_published_ones(tmp_path):
    found = built("published", tmp_path)
    short, long = found[SMALL_SHORT], found[WIDE_LONG]
    assert (short.model.name, short.training.epochs) == ("preact_resnet18", 100)
    assert [short.training.schedule(at) for at in (0.74, 0.75, 0.9)] == pytest.approx(
        [0.1, 0.01, 0.001]
    )
    assert (long.model.name, long.model.options["depth"], long.training.epochs) == (
        "wide_resnet",
        34,
        200,
    )
    assert {each.threat for each in found.values()} == {"linf:8/255"}
    assert found[PGD_WIDE].model.options == long.model.options
    assert found[PGD_WIDE].model.normalize == "cifar10"


def test_the_claims_hold_on_the_published_figures_and_fail_on_others():
    assert [claim.judge(LINES) for claim in REPRODUCTION.claims] == [None, None, True]
    assert [claim.judge(DRAWN) for claim in REPRODUCTION.claims] == [True] * 3
    turned = {**DRAWN, SMALL_SHORT: DRAWN[WIDE_LONG], WIDE_SHORT: DRAWN[SMALL_SHORT]}
    turned |= {PGD_WIDE: LINES[WIDE_LONG], WIDE_LONG: LINES[PGD_WIDE]}
    assert [claim.judge(turned) for claim in REPRODUCTION.claims] == [False] * 3
