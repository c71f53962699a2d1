import pytest

from holdfast.reproduce.overfitting_curves import PUBLISHED_ROWS, REPRODUCTION, WIDE
from holdfast.reproduce.overfitting_protocol import (
    BEST,
    CLEAN_AT_BEST,
    FINAL,
    FINAL_CLEAN,
    LOST,
    TRAIN,
    TRAIN_AT_BEST,
)

LINES = {name: dict(line) for name, line in REPRODUCTION.published.items()}


def test_published_figures_are_those_of_the_table():
    wide = LINES[WIDE]
    assert (wide[BEST], wide[FINAL], wide[LOST]) == (0.568, 0.486, 0.082)
    assert LINES["SVHN, PGD, l2"][LOST] == 0.012
    assert LINES["CIFAR-10, TRADES, l2"][FINAL_CLEAN] == 0.661
    assert LINES["CIFAR-100, PGD, linf"][BEST] == 0.281
    assert LINES["ImageNet, PGD, l2"]["final_robust_accuracy_spread"] == 0.0116


DIFFERENCES = (6.6, 1.2, 8.2, 2.7, 6.1, 2.4, 5.6, 4.6, 6.7, 5.7, 22.8, 31.8)
CLEAN = (-0.2, -0.2, -0.5, -0.3, -1.2, -0.6, -0.9, 18.2, -1.4, 2.4, 13.5, 23.1)


def test_what_is_lost_is_the_printed_difference_of_every_row():
    """Final less best, in points of error, as printed beside them."""
    rows = [line for line in LINES.values() if BEST in line]
    for line, robust, clean in zip(rows, DIFFERENCES, CLEAN, strict=True):
        assert line[LOST] == pytest.approx(line[BEST] - line[FINAL])
        assert 100 * line[LOST] == pytest.approx(robust, abs=0.05)
        assert 100 * (line[CLEAN_AT_BEST] - line[FINAL_CLEAN]) == pytest.approx(clean, abs=0.051)


def test_rows_look_at_the_test_set_after_every_epoch(tmp_path):
    for row in REPRODUCTION.rows(REPRODUCTION.size("published")):
        recipe = row.build(0, tmp_path)
        assert (recipe.selection.on, recipe.selection.every) == ("test", 1)
        step = "15/255" if recipe.threat.startswith("l2") else "2/255"
        assert recipe.selection.attack == f"pgd-10-1-{step}"
        radius = "l2:128/255" if recipe.threat.startswith("l2") else "linf:8/255"
        assert recipe.threat == radius


@pytest.mark.parametrize("size", ["quick", "scaled", "published"])
def test_every_row_builds(size, tmp_path):
    rows = REPRODUCTION.rows(REPRODUCTION.size(size))
    assert len(rows) == (len(PUBLISHED_ROWS) if size == "published" else 4)
    assert all(row.build(0, tmp_path).data.validation == 0 for row in rows)


def test_the_claims_hold_on_the_published_figures_and_fail_on_others():
    assert [claim.judge(LINES) for claim in REPRODUCTION.claims] == [True] * 4
    pairs = {BEST: FINAL, TRAIN: TRAIN_AT_BEST, FINAL_CLEAN: CLEAN_AT_BEST}
    turned = {}
    for name, line in LINES.items():
        changed = {a: line[b] for b, a in pairs.items() if b in line}
        changed |= {a: line[b] for a, b in pairs.items() if b in line}
        turned[name] = line | changed | {LOST: -line.get(LOST, 0.0)}
    turned["CIFAR-10, TRADES, linf"][BEST] = 0.6
    assert [claim.judge(turned) for claim in REPRODUCTION.claims] == [False] * 4


@pytest.mark.slow
def test_a_quick_run_has_the_figures_of_its_curves(quickly):
    finding, kept = quickly(REPRODUCTION)
    assert set(finding.lines) == {
        f"digits, {each}" for each in ("PGD, linf", "PGD, l2", "FGSM, linf", "TRADES, linf")
    }
    for line in finding.lines.values():
        assert line[BEST] - line[FINAL] == pytest.approx(line[LOST])
        assert None not in (line[TRAIN], line[CLEAN_AT_BEST])
    assert "<svg" in (kept.path / "figure.svg").read_text()
    assert [each["holds"] for each in kept.read_result()["claims"]] == [None] * 4
