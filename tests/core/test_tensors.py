import math

import pytest
import torch

from holdfast.core.errors import InputError
from holdfast.core.random import Keys
from holdfast.core.tensors import dual_exponent, norm, per_example

B, C, H, W = 3, 2, 7, 6


@pytest.fixture
def x():
    return Keys.of(0, range(B)).normal((C, H, W))


def test_a_number_broadcasts(x):
    assert torch.equal(x * per_example(0.5, x), x * 0.5)


def test_one_value_per_example(x):
    values = torch.tensor([1.0, 2.0, 3.0])
    scaled = x * per_example(values, x)
    for i in range(B):
        assert torch.equal(scaled[i], x[i] * values[i])


def test_one_value_per_feature_is_shared_by_all_examples(x):
    weights = torch.arange(float(C * H * W)).view(C, H, W)
    assert torch.equal(x * per_example(weights, x), x * weights)


def test_one_value_per_example_and_feature(x):
    assert torch.equal(per_example(x, x), x)


def test_as_many_values_as_examples_means_one_per_example_even_where_features_match():
    x = torch.ones(3, 3)
    assert torch.equal(per_example(torch.tensor([1.0, 2, 3]), x)[:, 0], torch.tensor([1.0, 2, 3]))


def test_values_take_the_type_of_the_tensor(x):
    assert per_example(torch.ones(B, dtype=torch.float64), x).dtype == x.dtype


@pytest.mark.parametrize("p", [1, 2, math.inf])
def test_norms_are_those_of_each_example_alone(x, p):
    found = norm(x, p)
    for i in range(B):
        values = [abs(float(v)) for v in x[i].flatten()]
        expected = max(values) if p == math.inf else math.fsum(v**p for v in values) ** (1 / p)
        assert float(found[i]) == pytest.approx(expected, rel=1e-6)


def test_the_zero_norm_counts_features():
    x = torch.tensor([[0.0, 1.0, -2.0], [0.0, 0.0, 1e-30]])
    assert norm(x, 0).tolist() == [2.0, 1.0]


@pytest.mark.parametrize("p", [1, 2, math.inf])
def test_holders_inequality_holds_and_is_attained(x, p):
    q = dual_exponent(p)
    flat, other = x.flatten(1), Keys.of(1, range(B)).normal((C * H * W,))
    assert ((flat * other).sum(1).abs() <= norm(flat, p) * norm(other, q) + 1e-4).all()
    best = {
        1: torch.nn.functional.one_hot(flat.abs().argmax(1), C * H * W) * flat.sign(),
        2: flat / norm(flat, 2)[:, None],
        math.inf: flat.sign(),
    }[p]
    torch.testing.assert_close((flat * best).sum(1), norm(flat, q))


def test_dual_exponents_satisfy_their_equation():
    for p in (1, 2, math.inf):
        assert 1 / p + 1 / dual_exponent(p) == 1
    assert dual_exponent(3) == 1.5
    for p in (0, 0.5, math.nan):
        with pytest.raises(InputError, match="dual"):
            dual_exponent(p)
