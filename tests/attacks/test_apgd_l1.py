"""The sparse steps of L1: how many coordinates move, how far, and the stages of a run."""

import torch

from holdfast.attacks.apgd_l1 import _sparse_step, _stages


def test_a_step_spreads_its_length_over_the_largest_gradients():
    gradient = torch.tensor([[0.1, -5.0, 2.0, 0.0, 1.0], [3.0, 3.0, -1.0, 0.5, 0.2]])
    step = _sparse_step(gradient, torch.tensor([0.4, 0.2]), torch.tensor([1.0, 0.6]))
    assert torch.allclose(step[0], torch.tensor([0.0, -0.5, 0.5, 0.0, 0.0]))
    assert torch.allclose(step[1], torch.tensor([0.3, 0.3, 0.0, 0.0, 0.0]))


def test_stages_add_up():
    assert _stages(100, 3) == [30, 30, 40]
    assert _stages(7, 3) == [3, 3, 1]
    assert _stages(10, 1) == [10]
