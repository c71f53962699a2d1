import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.numbers import number
from holdfast.threats import radius


@pytest.mark.parametrize(
    ("value", "text"),
    [(8 / 255, "8/255"), (0.2, "0.2"), (12.0, "12"), (0.0, "0"), (math.inf, "inf"), (1.0, "1")],
)
def test_written_numbers_are_short(value, text):
    assert radius.written(value) == text


@given(st.floats(0, 1e9))
def test_written_numbers_read_back_exactly(value):
    assert number(radius.written(value)) == value


def test_fitted_puts_each_shape_beside_the_batch():
    x = torch.zeros(3, 2, 5, 4)
    shapes = {(3,): (3, 1, 1, 1), (2, 5, 4): (1, 2, 5, 4), (1, 2, 5, 4): (1, 2, 5, 4)}
    for given_shape, expected in shapes.items():
        assert radius.fitted(torch.ones(given_shape), None, x).shape == expected
    assert radius.fitted(0.5, None, x) == 0.5


def test_a_selection_waits_for_the_shape_of_the_event():
    """(3, 5) is one radius per feature for events of shape (3, 5), and (B, *E) for (5,)."""
    values, mask = torch.rand(3, 5), torch.tensor([True, False, True])
    kept, chosen = radius.select(values, None, mask)
    assert torch.equal(radius.fitted(kept, chosen, torch.zeros(2, 5)), values[mask])
    assert torch.equal(radius.fitted(kept, chosen, torch.zeros(2, 3, 5)), values[None])


def test_widened_adds_the_tolerance_relative_to_large_radii():
    assert radius.widened(0.5) == 0.5 + 1e-6
    assert radius.widened(4.0) == 4.0 + 4e-6
    wide = radius.widened(torch.tensor([0.5, 4.0]).double())
    assert wide.tolist() == [0.5 + 1e-6, 4.0 + 4e-6]
