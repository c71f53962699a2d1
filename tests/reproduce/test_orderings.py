import pytest

from holdfast.reproduce.orderings import (
    above,
    all_above,
    collapses,
    figure,
    largest,
    per_cent,
    rising,
)


def lines(**robust):
    """Lines with a robust accuracy each."""
    return {name: {"robust_accuracy": value} for name, value in robust.items()}


def test_orderings_are_strict():
    assert above("", "a", "b").judge(lines(a=0.5, b=0.4)) is True
    assert above("", "a", "b").judge(lines(a=0.5, b=0.5)) is False
    assert rising("", "abc").judge(lines(a=0.1, b=0.2, c=0.3)) is True
    assert rising("", "abc").judge(lines(a=0.1, b=0.3, c=0.2)) is False
    assert largest("", "a", "abc").judge(lines(a=0.5, b=0.4, c=0.1)) is True
    assert largest("", "a", "abc").judge(lines(a=0.5, b=0.4, c=0.6)) is False
    pairs = [("a", "b"), ("c", "d")]
    assert all_above("", pairs).judge(lines(a=0.5, b=0.4, c=0.3, d=0.2)) is True
    assert all_above("", pairs).judge(lines(a=0.5, b=0.4, c=0.2, d=0.3)) is False


def test_a_collapse_is_below_five_per_cent():
    claim = collapses("", lost=["a"], kept=["b"])
    assert claim.judge(lines(a=0.04, b=0.05)) is True
    assert claim.judge(lines(a=0.05, b=0.05)) is False
    assert claim.judge(lines(a=0.04, b=0.04)) is False


def test_absent_figures_are_not_judged():
    assert rising("", "ab").judge(lines(a=0.1)) is None
    assert rising("", "ab").judge(lines(a=0.1, b=None)) is None
    with pytest.raises(KeyError):
        figure(lines(a=None), "a")


def test_tables_in_per_cent_become_shares():
    found = per_cent({"x": ((50, 1.5), 25, None)}, ["m", "n", "o"])
    assert found == {"x": {"m": 0.5, "m_spread": 0.015, "n": 0.25}}
