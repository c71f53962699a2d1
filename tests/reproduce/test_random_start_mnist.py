import pytest

from holdfast.reproduce.random_start_mnist import (
    CORNER,
    CORNER_FULL,
    REPRODUCTION,
    UNIFORM,
    UNIFORM_FULL,
)

LINES = {name: dict(line) for name, line in REPRODUCTION.published.items()}


def test_published_figures_are_those_of_the_table():
    assert LINES[UNIFORM_FULL] == {"robust_accuracy": 0.8621, "robust_accuracy_spread": 0.0075}
    assert LINES[CORNER]["robust_accuracy"] == 0.3458
    assert LINES[CORNER_FULL]["robust_accuracy_spread"] == 0.3248


def test_the_claims_hold_on_the_published_figures_and_fail_on_swapped_ones():
    assert [claim.judge(LINES) for claim in REPRODUCTION.claims] == [True, True, True]
    swapped = LINES | {UNIFORM: LINES[CORNER_FULL], CORNER_FULL: LINES[UNIFORM]}
    swapped |= {CORNER: LINES[UNIFORM_FULL], UNIFORM_FULL: LINES[CORNER]}
    assert not any(claim.judge(swapped) for claim in REPRODUCTION.claims)


@pytest.mark.slow
def test_a_quick_run_has_all_lines(quickly):
    finding, kept = quickly("random-start-mnist")
    assert set(finding.lines) == set(LINES)
    assert all(line["robust_accuracy"] is not None for line in finding.lines.values())
    assert [each["holds"] for each in kept.read_result()["claims"]] == [None] * 3
