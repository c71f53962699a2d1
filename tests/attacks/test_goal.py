"""The margin that an attack drives below zero, and which radii are finite."""

import math

import torch

from holdfast.attacks.goal import bounded, goal
from holdfast.threats import L2, Gaussian, Linf


def test_any_wrong_class_or_the_target_alone():
    logits = torch.tensor([[3.0, 1.0, 2.0], [3.0, 1.0, 3.0]])
    y = torch.tensor([0, 0])
    assert goal(logits, y, None).tolist() == [1.0, 0.0]
    towards = goal(logits, y, torch.tensor([2, 2]))
    assert float(towards[0]) == 1.0
    assert 0 < float(towards[1]) < 1e-30  # a tie with the target is not yet the target
    assert float(goal(logits, y, torch.tensor([0, 0]))[0]) == -1.0


def test_radii_row_by_row():
    y = torch.zeros(2, dtype=torch.int64)
    assert bounded(Linf(0.1), y).tolist() == [True, True]
    assert bounded(L2(math.inf), y).tolist() == [False, False]
    assert bounded(Linf(torch.tensor([0.1, math.inf])), y).tolist() == [True, False]
    assert bounded(Linf(torch.full((2, 3, 4), 0.1)), y).tolist() == [True, True]
    assert bounded(Gaussian(0.1), y).tolist() == [True, True]
