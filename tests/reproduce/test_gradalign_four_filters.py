import pytest

from holdfast.reproduce.gradalign_four_filters import NETWORK, REPRODUCTION
from reproduce.judged import builds, holds

GROWTH = {"growth": 3.0, "growth_of_others": 1.5, "noise_gain": 0.9, "noise_gain_of_others": 0.2}


def test_the_claims_ask_for_one_filter_that_differs():
    line = REPRODUCTION.published[NETWORK] | GROWTH
    assert (line["alignment"], line["alignment_without_filter"]) == (0.08, 0.71)
    assert holds(REPRODUCTION, {NETWORK: line}) == [True] * 3
    swapped = {key: -value for key, value in line.items()}
    assert holds(REPRODUCTION, {NETWORK: swapped}) == [False] * 3


def test_every_row_builds(tmp_path):
    found = builds(REPRODUCTION, tmp_path)
    assert {recipe.training.keep_every for recipe in found.values()} == {1}
    assert all(recipe.model.name == "four_filter" for recipe in found.values())


@pytest.mark.slow
def test_a_quick_run_examines_the_filters(quickly):
    finding, _ = quickly(REPRODUCTION)
    line = finding.lines[NETWORK]
    assert -1 <= line["alignment"] <= 1
    assert line["growth"] > 0
    assert line["noise_gain"] > 0
