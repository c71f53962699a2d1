import math

import pytest
import torch

from holdfast.core.random import Keys
from holdfast.core.tensors import dual_exponent, norm
from holdfast.threats import steps

B, EVENT = 3, (2, 5, 4)
STEPS = {math.inf: steps.linf, 2: steps.l2, 1: steps.l1}
norms = pytest.mark.parametrize("p", STEPS)


def gradient(dtype=torch.float64):
    return Keys.of(0, range(B)).normal(EVENT).to(dtype)


@norms
def test_gains_the_length_times_the_dual_norm(p):
    g = gradient()
    for length in (0.3, torch.tensor([0.1, 2.0, 7.0]).double().view(B, 1, 1, 1)):
        v = STEPS[p](g, length)
        size = torch.as_tensor(length).double().view(-1).expand(B)
        torch.testing.assert_close(norm(v, p), size)
        torch.testing.assert_close((g * v).flatten(1).sum(1), size * norm(g, dual_exponent(p)))


@norms
def test_with_scales_gains_the_dual_norm_of_the_scaled_gradient(p):
    g = gradient()
    scale = Keys.of(1, range(B)).uniform(EVENT, low=0.1, high=2.0).double()
    v = STEPS[p](g, 0.4, scale)
    torch.testing.assert_close(norm(v / scale, p), torch.full((B,), 0.4).double())
    torch.testing.assert_close((g * v).flatten(1).sum(1), 0.4 * norm(scale * g, dual_exponent(p)))


@norms
def test_a_zero_gradient_gives_a_zero_step_and_leaves_neighbours(p):
    g = gradient()
    alone = STEPS[p](g, 0.3)
    g[1] = 0
    v = STEPS[p](g, 0.3)
    assert (v[1] == 0).all()
    assert torch.equal(v[[0, 2]], alone[[0, 2]])


@norms
@pytest.mark.parametrize("factor", [1e-40, 1e-30, 1e30])
def test_the_scale_of_the_gradient_does_not_matter_in_float32(p, factor):
    g = gradient()
    v = STEPS[p]((g * factor).float(), 0.3)
    torch.testing.assert_close(v, STEPS[p](g, 0.3).float(), atol=1e-4, rtol=1e-3)


def test_l1_takes_the_first_of_equal_coordinates():
    g = torch.tensor([[1.0, -2.0, 2.0, 0.0]])
    assert steps.l1(g, 0.5).tolist() == [[0.0, -0.5, 0.0, 0.0]]


def test_sparse_l1_steps_move_exactly_the_largest_eligible_coordinates():
    g = torch.tensor([[1.0, -2.0, 2.0, 0.5], [3.0, 3.0, 3.0, 3.0], [0.0, 0.0, 1.0, 0.0]])
    v = steps.l1(g, 0.6, count=torch.tensor([2, 3, 2]))
    assert (v != 0).sum(1).tolist() == [2, 3, 1]
    torch.testing.assert_close(v[0], torch.tensor([0.0, -0.3, 0.3, 0.0]))
    torch.testing.assert_close(v[2], torch.tensor([0.0, 0.0, 0.3, 0.0]))
    eligible = torch.ones_like(g, dtype=torch.bool)
    eligible[0, 1] = False
    v = steps.l1(g, 0.6, count=2, eligible=eligible)
    torch.testing.assert_close(v[0], torch.tensor([0.3, 0.0, 0.3, 0.0]))
