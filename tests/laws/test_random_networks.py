"""Every bound holds on hundreds of random networks, in which each operation of the table stands.

A network has a linear map, the operation with its constants, a linear map, a ReLU or another
nonlinearity, and a last linear map. It is bounded over a ball of two inputs, which a grid of 10^4
points covers with its boundary, or of five, of which 10^4 points are drawn, a quarter of them
corners; besides, signed gradient steps go down each row. No point may lie below a bound.
"""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from certify.complete.test_branch_and_bound import Cube
from certify.nets import Ball2
from certify.operators.test_aten import CASES
from holdfast.certify import CROWN, AlphaCrown, BranchAndBound, CrownIBP, Dual, Interval, capture
from holdfast.certify.bounds.forward import Forward
from holdfast.certify.bounds.mixed import ForwardBackward, IntervalLinear
from holdfast.certify.solvers.lp import LP
from holdfast.core.random import Keys

NETWORKS = 5  # of each operation, 310 in all
SIDE, DRAWN = 101, 10_000
TAILS = [torch.relu, torch.sigmoid, lambda z: F.leaky_relu(z, 0.1), torch.tanh, F.hardtanh]
METHODS = [
    Interval(), Interval(first_layer="support"), Dual(), Dual(schedule="plain"), CROWN(),
    CrownIBP(), IntervalLinear(), ForwardBackward(), Forward(), Forward(lines="symbols"),
    AlphaCrown(steps=2), BranchAndBound(target=math.inf, most_nodes=8, root_steps=3, steps=2),
]  # fmt: skip


class Around(nn.Module):
    """An operation between linear maps of keyed weights."""

    def __init__(self, name: str, seed: int, features: int):
        super().__init__()
        self.operation, self.shape = CASES[name]
        self.tail = TAILS[seed % len(TAILS)]
        self.first = nn.Linear(features, math.prod(self.shape))
        with torch.no_grad():
            size = self.operation(torch.zeros(1, *self.shape)).numel()
        self.second, self.last = nn.Linear(size, 6), nn.Linear(6, 3)
        with torch.no_grad():
            for index, (tensor, scale) in enumerate(
                zip(self.parameters(), (1.0, 1.0, 3 / size**0.5, 0.5, 1.0, 0.5), strict=True)
            ):
                keys = Keys.of(97 * seed + index, [len(name)]).fold(name)
                tensor.copy_(scale * keys.uniform(tuple(tensor.shape), low=-1.0, high=1.0)[0])

    def forward(self, x):
        z = self.operation(0.5 + self.first(x).unflatten(1, self.shape))  # where its bends are
        return self.last(self.tail(self.second(z.flatten(1))))


def reached(x, ball, features):
    """Points of a ball (B, S, n): a grid of two inputs, or drawn points and corners of more."""
    if features == 2:
        line = torch.linspace(-1, 1, SIDE).double()
        moves = torch.cartesian_prod(line, line)
    else:
        moves = Keys.of(5, range(DRAWN)).uniform((features,), low=-1.0, high=1.0).double()
        moves[: DRAWN // 4] = moves[: DRAWN // 4].sign()
    if isinstance(ball, Ball2):
        moves = moves / torch.linalg.vector_norm(moves, dim=1, keepdim=True).clamp_min(1)
    return x.unsqueeze(1) + ball.radius * moves


def descended(graph, x, ball, rows, steps=12):
    """Values (B, R) at the end of signed or normalised gradient steps, each row on its own."""
    at = x.unsqueeze(1).repeat(1, len(rows), 1)
    for step in range(steps):
        at.requires_grad_()
        values = (graph.forward(at.flatten(0, 1)).view(len(x), len(rows), -1) * rows).sum()
        (gradient,) = torch.autograd.grad(values, at)
        move = (at - x.unsqueeze(1)).detach()
        size = ball.radius / (1 + step / 3)
        if isinstance(ball, Ball2):
            move = move - size * F.normalize(gradient, dim=2)
            far = torch.linalg.vector_norm(move, dim=2, keepdim=True) / ball.radius
            move = move / far.clamp_min(1)
        else:
            move = (move - size * gradient.sign()).clamp(-ball.radius, ball.radius)
        at = x.unsqueeze(1) + move
    with torch.no_grad():
        return (graph.forward(at.flatten(0, 1)).view(len(x), len(rows), -1) * rows).sum(2)


def least_of(graph, x, ball, rows, features):
    """The least value of each row (B, R) that was seen."""
    points = reached(x, ball, features)
    with torch.no_grad():
        values = graph.forward(points.flatten(0, 1)) @ rows.T
    seen = values.view(len(x), -1, len(rows)).amin(1)
    return torch.minimum(seen, descended(graph, x, ball, rows))


def below(name, seed, methods):
    """The gaps (B, R) of all methods on one network, each at least zero."""
    features = 2 + 3 * (seed % 2)
    graph = capture(Around(name, seed, features), (features,))
    x = Keys.of(seed, range(2)).uniform((features,), low=-0.5, high=0.5).double()
    ball = (Cube if seed % 3 else Ball2)((0.05, 0.1, 0.4, 0.9)[seed % 4])
    rows = torch.tensor([[1.0, -1.0, 0.0], [-1.0, 0.5, 2.0], [0.0, 0.0, -1.0]]).double()
    least, gaps = least_of(graph, x, ball, rows, features), {}
    for method in methods:
        found = method.bound(graph, x, ball, rows)
        assert found.sound
        assert (found.lower <= least).all(), (name, seed, method)
        gaps[repr(method)] = least - found.lower
    return gaps


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_no_point_lies_below_a_bound(name):
    for seed in range(NETWORKS):
        gaps = below(name, seed, METHODS)
        assert all(gap.isfinite().all() for gap in gaps.values())


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_no_point_lies_below_a_linear_programme(name):
    below(name, 1, [LP(plain=True), LP(plain=True, boxes="interval")])


@pytest.mark.parametrize("name", ["hardtanh", "max_pool2d"])
def test_what_was_seen_is_near_the_bounds(name):
    """Points that never come near a bound would test nothing."""
    gaps = below(name, 1, [Interval(), CROWN()])
    assert gaps[repr(CROWN())].min() < 0.1
    assert gaps[repr(Interval())].mean() > gaps[repr(CROWN())].mean()
