"""Nearest points of hyperplanes in boxes: linear programs, closed forms, scale, independence."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import linprog, minimize

from holdfast.attacks.hyperplane import Hyperplanes
from holdfast.core.tensors import norm

NORMS = (math.inf, 2.0, 1.0)


def instances(count=40, features=6, dtype=torch.float64, seed=0):
    """Points of the box, some at its faces; slopes, some zero; gaps of both signs."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(count, features, generator=generator, dtype=dtype)
    x[torch.rand(count, features, generator=generator) < 0.2] = 0.0
    slope = torch.randn(count, features, generator=generator, dtype=dtype)
    slope[torch.rand(count, features, generator=generator) < 0.1] = 0.0
    gap = torch.randn(count, generator=generator, dtype=dtype)
    return x, slope, gap


def residual(slope, gap, move):
    return gap + (slope * move).flatten(1).sum(1)


def furthest(x, slope, gap, box):
    """The corner of the box that moves the gap towards zero most, as a move."""
    up = slope * -gap.sign()[:, None] > 0
    corner = torch.where(up, box[1], box[0])
    return torch.where(slope == 0, 0.0, corner - x)


def smallest(x, slope, gap, box, p):
    """The optimal value by an independent solver."""
    lower, upper = (box[0] - x).numpy(), (box[1] - x).numpy()
    a, n = slope.numpy(), len(x)
    if p == 2:
        bounds = list(zip(lower, upper, strict=True))
        equality = {"type": "eq", "fun": lambda d: a @ d + float(gap), "jac": lambda d: a}
        found = minimize(
            lambda d: d @ d, np.zeros(n), jac=lambda d: 2 * d, bounds=bounds,
            constraints=[equality], method="SLSQP", options={"ftol": 1e-14, "maxiter": 500},
        )  # fmt: skip
        return math.sqrt(found.fun)
    extra = 1 if p == math.inf else n
    cover = np.ones((n, 1)) if p == math.inf else np.eye(n)
    found = linprog(
        np.r_[np.zeros(n), np.ones(extra)],
        A_ub=np.block([[np.eye(n), -cover], [-np.eye(n), -cover]]),
        b_ub=np.zeros(2 * n),
        A_eq=np.r_[a, np.zeros(extra)][None],
        b_eq=[-float(gap)],
        bounds=[*zip(lower, upper, strict=True), *[(0, None)] * extra],
    )
    assert found.status == 0
    return found.fun


@pytest.mark.parametrize("p", NORMS)
def test_is_the_smallest_move_or_the_furthest_corner(p):
    x, slope, gap = instances()
    box = (0.0, 1.0)
    move, size = Hyperplanes(slope, p).nearest_move(x, gap, box)
    corner = furthest(x, slope, gap, box)
    feasible = residual(slope, gap, corner) * gap.sign() <= 0
    assert 10 < int(feasible.sum()) < 40
    assert torch.allclose(move[~feasible], corner[~feasible], atol=1e-12)
    assert torch.allclose(
        residual(slope, gap, move)[feasible], torch.zeros((), dtype=x.dtype), atol=1e-12
    )
    assert bool(((x + move >= -1e-12) & (x + move <= 1 + 1e-12)).all())
    assert torch.allclose(size, norm(move, p))
    for i in feasible.nonzero().flatten().tolist():
        assert size[i] == pytest.approx(smallest(x[i], slope[i], gap[i], box, p), abs=1e-6)


@pytest.mark.parametrize("p", NORMS)
@pytest.mark.parametrize("box", [None, (-50.0, 70.0)])
def test_distance_without_active_box_is_gap_over_dual_norm(p, box):
    x, slope, gap = instances(count=7, dtype=torch.float32)
    move, size = Hyperplanes(slope, p).nearest_move(x, gap, box)
    dual = {math.inf: 1.0, 2.0: 2.0, 1.0: math.inf}[p]
    assert torch.allclose(size, gap.abs() / norm(slope, dual), rtol=1e-5)
    assert torch.allclose(residual(slope, gap, move), torch.zeros(()), atol=1e-5)


@pytest.mark.parametrize("p", NORMS)
def test_many_features_in_float32_land_within_rounding(p):
    generator = torch.Generator().manual_seed(3)
    x = torch.rand(5, 3, 20, 21, generator=generator)
    slope = torch.randn(x.shape, generator=generator) * 1e-3
    reach = slope.abs().flatten(1).sum(1)
    gap = torch.tensor([-1e-6, 0.01, -0.1, 0.3, -0.45]) * reach
    move, _ = Hyperplanes(slope, p).nearest_move(x, gap, (0.0, 1.0))
    assert bool((residual(slope, gap, move).abs() < 2e-6 * reach).all())


@pytest.mark.parametrize("p", NORMS)
def test_tied_zero_and_vanishing_coefficients(p):
    x = torch.full((5, 4), 0.5)
    slope = torch.tensor([[1.0, 1, 1, 1], [0, 0, 0, 0], [0, 2, 0, -2], [1e-38, 0, 0, 0], [1] * 4])
    gap = torch.tensor([-1.0, -1.0, 0.5, -1.0, 0.0])
    move, size = Hyperplanes(slope, p).nearest_move(x, gap, (0.0, 1.0))
    one = {math.inf: 0.25, 2.0: 0.5, 1.0: 1.0}[p]
    two = {math.inf: 0.125, 2.0: 0.125 * math.sqrt(2), 1.0: 0.25}[p]
    assert torch.allclose(size, torch.tensor([one, 0.0, two, 0.5, 0.0]), atol=1e-6)
    assert torch.allclose(residual(slope, gap, move)[[0, 2]], torch.zeros(2), atol=1e-6)
    bare, _ = Hyperplanes(slope, p).nearest_move(x, gap, None)
    assert bool(bare.isfinite().all())


@pytest.mark.parametrize("p", NORMS)
def test_a_row_does_not_depend_on_its_neighbours(p):
    x, slope, gap = instances(count=9, features=300, dtype=torch.float32)
    move, size = Hyperplanes(slope, p).nearest_move(x, gap, (0.0, 1.0))
    others = gap * 60
    others[4] = gap[4]
    again, length = Hyperplanes(slope, p).nearest_move(x, others, (0.0, 1.0))
    assert torch.equal(move[4], again[4])
    assert size[4] == length[4]
    assert not torch.equal(move, again)


def test_l1_needs_more_than_the_first_coordinates():
    x = torch.zeros(2, 500)
    slope = torch.linspace(1, 2, 500).expand(2, -1).contiguous()
    gap = torch.tensor([-1.5, -300.0])
    move, size = Hyperplanes(slope, 1.0).nearest_move(x, gap, (0.0, 1.0))
    assert int((move[0] > 0).sum()) == 1
    assert int((move[1] > 0).sum()) > 128
    assert torch.allclose(residual(slope, gap, move), torch.zeros(2), atol=1e-3)
    assert bool((move[1][-int(size[1]) :] == 1).all())
