import pytest

from holdfast.reproduce.verified_columns_mnist import KW, PLAIN, REPRODUCTION
from reproduce.judged import holds, mirrored


def test_the_claims_hold_on_the_published_figures():
    published = REPRODUCTION.published
    assert published[KW]["linear_error_rate"] == 0.0444
    assert published[PLAIN]["envelope_radius"] == 0
    exact = {name: _consistent(dict(line)) for name, line in published.items()}
    assert holds(REPRODUCTION, exact) == [True] * 4
    assert holds(REPRODUCTION, mirrored(REPRODUCTION)) == [False] * 4


def _consistent(line):
    """The line with unrounded radii."""
    for bound in ("linear", "interval"):
        line[f"{bound}_radius"] = 0.1 * (1 - line[f"{bound}_error_rate"])
    return line


@pytest.mark.slow
def test_a_quick_run_breaks_no_invariant(quickly):
    finding, _ = quickly(REPRODUCTION)
    line = finding.lines[PLAIN]
    assert line["breaches"] == 0
    assert line["clean_error_rate"] <= line["pgd_error_rate"] <= line["linear_error_rate"]
    assert REPRODUCTION.claims[0].judge(finding.lines) is True
