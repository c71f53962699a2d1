import pytest

from holdfast.reproduce.square_p_sweep import FRACTIONS, NAMES, REPRODUCTION


def lines(linf, l2):
    """Costs as functions of p."""
    found = {}
    for norm, cost in (("linf", linf), ("l2", l2)):
        found |= {name: {"mean_spent": cost(p)} for p, name in NAMES[norm].items()}
    return found


def test_fractions_are_the_ten_of_the_figure():
    assert len(FRACTIONS) == 10
    assert (FRACTIONS[0], FRACTIONS[-1]) == (0.0125, 0.4)
    rows = REPRODUCTION.rows(REPRODUCTION.size("published"))
    assert [row.attack.p_init for row in rows] == list(FRACTIONS) * 2
    assert {row.threat for row in rows} == {"linf:0.05", "l2:5"}


def test_claims_say_flat_but_for_the_smallest():
    flat = lines(lambda p: 100 + p, lambda p: 700 if p < 0.05 else 600)
    assert all(claim.judge(flat) for claim in REPRODUCTION.claims)
    steep = lines(lambda p: 1000 * p, lambda p: 1000 * p)
    assert not any(claim.judge(steep) for claim in REPRODUCTION.claims)


@pytest.mark.slow
def test_it_runs(quickly):
    finding, kept = quickly("square-p-sweep")
    assert len(finding.lines) == 20
    assert "<svg" in (kept.path / "figure.svg").read_text()
