import pytest
import torch

from holdfast.reproduce.fast_collapse_curve import (
    AFTER,
    BEFORE,
    END,
    LEAST,
    ONCE,
    RANDOM,
    REPRODUCTION,
    SEVERAL,
    ZERO,
    lines,
)

COLLAPSED = {
    "figure.robust_accuracy": torch.tensor([0.0]),
    f"history.{SEVERAL}": torch.tensor([[0.2, 0.4, 0.1, 0.0]]),
    f"history.{ONCE}": torch.tensor([[0.3, 0.5, 0.8, 0.9]]),
}
STEADY = {
    "figure.robust_accuracy": torch.tensor([0.45]),
    f"history.{SEVERAL}": torch.tensor([[0.2, 0.3, 0.4, 0.45]]),
    f"history.{ONCE}": torch.tensor([[0.3, 0.4, 0.5, 0.55]]),
}


@pytest.mark.parametrize("size", ["quick", "scaled", "published"])
def test_every_row_builds(size, tmp_path):
    for row in REPRODUCTION.rows(REPRODUCTION.size(size)):
        (monitor,) = row.build(0, tmp_path).training.monitors
        assert monitor.action == "none"


def test_errors_are_read_off_the_course():
    found = lines({}, {ZERO: COLLAPSED})[ZERO]
    expected = {LEAST: 0.6, END: 1.0, BEFORE: 0.5, AFTER: 0.1}
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-6)
    assert found["robust_accuracy"] == 0.0


def test_published_figures_are_those_of_the_table():
    assert REPRODUCTION.published[ZERO] == {
        "clean_accuracy": 0.8518,
        "robust_accuracy": 0.0,
        END: 1.0,
    }


def test_the_claims_hold_on_a_collapse_and_not_on_its_absence():
    found = lines({}, {ZERO: COLLAPSED, RANDOM: STEADY})
    assert [claim.judge(found) for claim in REPRODUCTION.claims] == [True, True, True]
    turned = lines({}, {ZERO: STEADY | {f"history.{ONCE}": STEADY[f"history.{ONCE}"].flip(1)}})
    turned[RANDOM] = found[ZERO]
    assert [claim.judge(turned) for claim in REPRODUCTION.claims] == [False, False, False]
    assert REPRODUCTION.claims[0].judge(dict(REPRODUCTION.published)) is True
