import math

import pytest

from holdfast.schedules.cosine import Cosine


def test_it_is_the_formula_of_200_epochs():
    for epoch in range(201):
        expected = 0.1 * 0.5 * (1 + math.cos(math.pi * epoch / 200))
        assert Cosine(value=0.1)(epoch / 200) == pytest.approx(expected, abs=1e-16)


def test_values_at_both_ends_and_in_the_middle():
    assert Cosine(value=0.1)(0) == 0.1
    assert Cosine(value=0.1)(100 / 200) == pytest.approx(0.05, rel=1e-14)
    assert Cosine(value=0.1, end=0.02)(1) == 0.02


def test_it_rises_to_a_larger_end():
    values = [Cosine(value=0, end=0.6)(t / 100) for t in range(101)]
    assert values == sorted(values)
    assert values[25] == pytest.approx(0.0879, abs=5e-5)
