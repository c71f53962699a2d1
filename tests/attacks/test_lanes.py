"""A lane keeps the best iterate of each row and takes new rows in place of those that left."""

import math

import torch

from holdfast.attacks.lanes import Final, Lane, wide
from holdfast.attacks.rows import Rows
from holdfast.core.random import Keys
from holdfast.threats import Linf


def block(first):
    example = torch.arange(first, first + 3)
    x = example[:, None].float()
    zero = torch.zeros_like(example)
    return Rows(
        example,
        zero,
        zero.clone(),
        zero.clone(),
        Keys.of(0, example),
        x,
        x.clone(),
        example,
        None,
        Linf(0.1),
    )


def test_best_iterate_of_each_row_is_kept_until_it_is_replaced():
    lane = Lane(3)
    lane.place(torch.arange(3), block(0), torch.arange(3))
    margin = torch.tensor([0.5, 0.4, float("nan")])
    lane.note(margin, margin, torch.zeros(3))
    lane.rows.point = lane.rows.point + 100
    margin = torch.tensor([0.6, 0.1, 0.3])
    lane.note(margin, -margin.reciprocal(), torch.ones(3))
    assert lane.best_point.flatten().tolist() == [0.0, 101.0, 102.0]
    assert lane.best_loss.tolist() == [0.0, 1.0, 1.0]
    lane.place(torch.tensor([1]), block(7), torch.tensor([2]))
    assert lane.best_rank[1] == math.inf
    point, rank, margin, loss = lane.best(torch.tensor([2]))
    assert (rank, margin) == (torch.tensor([0.3]), torch.tensor([-1 / 0.3]))
    assert (point.tolist(), loss.tolist()) == ([[102.0]], [1.0])
    assert lane.rows.example.tolist() == [0, 9, 2]
    assert lane.active.tolist() == [True, True, True]


def test_finals_join_in_order():
    zeros = torch.zeros(2)
    parts = [
        Final(*(torch.full((n,), v) for v in (n, 0)), torch.ones(n, 2), zeros[:n], zeros[:n], None)
        for n in (1, 2)
    ]
    assert Final.join(parts).example.tolist() == [1, 2, 2]
    assert Final.join(parts).target is None


def test_masks_broadcast_over_inputs():
    assert wide(torch.tensor([True, False]), torch.zeros(2, 3, 4)).shape == (2, 1, 1)
