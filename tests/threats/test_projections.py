import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from holdfast.core.random import Keys
from holdfast.core.tensors import norm
from holdfast.threats import projections, support

torch.set_num_threads(1)
P = (math.inf, 2, 1)
BOX = (0.0, 1.0)
B, C, H, W = 3, 2, 5, 4
EVENT = (C, H, W)
SUPPORT = {math.inf: support.linf, 2: support.l2, 1: support.l1}
RADIUS = {math.inf: 0.3, 2: 1.5, 1: 4.0}


def project(p, x_adv, x, radius, box, exact=True):
    if p == math.inf:
        return projections.linf(x_adv, x, radius, box)
    return (projections.l2 if p == 2 else projections.l1)(x_adv, x, radius, box, exact=exact)


def uniform(name, *shape, low=0.0, high=1.0, seed=0):
    rows = Keys.of(seed, range(shape[0])).fold(name)
    return (low + (high - low) * rows.uniform(shape[1:])).double()


def problem(p, kind, box, seed=0):
    """x with some features on the faces of the box, a far point, a radius of the given kind."""
    x = uniform("x", B, *EVENT, low=-0.2, high=1.2, seed=seed).clamp(0, 1)
    far = x + uniform("far", B, *EVENT, low=-1.5, high=1.5, seed=seed)
    scale = RADIUS[p]
    radius = {
        "number": scale,
        "example": scale * torch.tensor([0.5, 1.0, 1.7], dtype=x.dtype).view(B, 1, 1, 1),
        "feature": scale * uniform("w", B, *EVENT, low=0.1, high=2.0, seed=seed),
        "shared": scale * uniform("w", 1, *EVENT, low=0.1, high=2.0, seed=seed),
    }[kind]
    return far, x, radius


def ratio(move, radius, p):
    return norm(move / radius, p)


def members(p, x, radius, box, count=200):
    """Points of ball and box: random, on the surface, and the extreme points of the ball, all
    clipped to the box (which moves them towards x)."""
    n = x[0].numel()
    noise = Keys.of(5, range(count)).normal((1, n)).double().view(count, 1, *x.shape[1:])
    if p == math.inf:
        unit = noise.sign()
    else:
        unit = noise / norm(noise.flatten(0, 1), p).view(count, 1, *[1] * (x.ndim - 1))
    corners = torch.eye(n, dtype=x.dtype).view(n, 1, *x.shape[1:])
    moves = torch.cat([unit, 0.5 * unit, corners, -corners]) * radius
    points = x + moves
    return points if box is None else points.clamp(*box)


def violation(point, nearest, p, x, radius, box):
    """The largest <point - nearest, z - nearest> over the set; at most 0 at the projection alone.

    Over sampled z, and over all z by the support function, whose truth is in `test_support`.
    """
    z = members(p, x, radius, box)
    normal = point - nearest
    sampled = (normal * (z - nearest)).flatten(2).sum(2)
    weight = torch.as_tensor(radius, dtype=x.dtype).expand_as(x).flatten(1)
    largest = SUPPORT[p](normal.flatten(1).unsqueeze(1), x.flatten(1), weight, box).squeeze(1)
    everywhere = largest - (normal * nearest).flatten(1).sum(1)
    assert (sampled <= everywhere + 1e-9).all()
    return everywhere.max().item()


kinds = pytest.mark.parametrize("kind", ["number", "example", "feature", "shared"])
boxes = pytest.mark.parametrize("box", [BOX, None])
norms = pytest.mark.parametrize("p", P)


@norms
@boxes
@kinds
def test_is_feasible_and_satisfies_the_variational_inequality(p, box, kind):
    for seed in range(3):
        far, x, radius = problem(p, kind, box, seed)
        nearest = project(p, far, x, radius, box)
        assert (ratio(nearest - x, radius, p) <= 1 + 1e-12).all()
        if box is not None:
            assert (nearest >= box[0]).all()
            assert (nearest <= box[1]).all()
        assert violation(far, nearest, p, x, radius, box) <= 1e-10


def test_a_radial_scaling_is_not_an_l1_projection():
    far, x, radius = problem(1, "number", None)
    scaled = x + (far - x) * (radius / norm(far - x, 1)).view(B, 1, 1, 1)
    assert (ratio(scaled - x, radius, 1) <= 1 + 1e-12).all()
    assert violation(far, scaled, 1, x, radius, None) > 0.1


@pytest.mark.parametrize("p", [2, 1])
def test_project_then_clip_is_feasible_and_not_the_nearest_point(p):
    far, x, radius = problem(p, "number", BOX)
    clipped = project(p, far, x, radius, BOX, exact=False)
    nearest = project(p, far, x, radius, BOX)
    assert (ratio(clipped - x, radius, p) <= 1 + 1e-12).all()
    torch.testing.assert_close(clipped, project(p, far, x, radius, None).clamp(*BOX))
    assert (norm(far - nearest, 2) < norm(far - clipped, 2) - 1e-3).all()
    assert violation(far, clipped, p, x, radius, BOX) > 1e-2


@norms
@pytest.mark.parametrize("kind", ["number", "feature"])
@boxes
def test_agrees_with_a_constrained_solver(p, kind, box):
    n = 6
    for seed in range(4):
        x = uniform("x", 1, n, seed=seed)
        far = x + uniform("far", 1, n, low=-1.5, high=1.5, seed=seed)
        weight = RADIUS[p] * torch.full_like(x, 0.4)
        if kind == "feature":
            weight = weight * uniform("w", 1, n, low=0.3, high=2.0, seed=seed)
        ours = project(p, far, x, weight, box)[0]
        theirs = solver(p, (far - x)[0].numpy(), weight[0].numpy(), x[0].numpy(), box)
        torch.testing.assert_close(ours, x[0] + torch.as_tensor(theirs), atol=2e-6, rtol=0)


def solver(p, a, w, x, box):
    """The nearest d by SLSQP, which may stop short of its own criterion at the optimum; |d_i| split
    into two non-negative parts for l1."""
    n = len(a)
    low, high = (-9 - x, 9 - x) if box is None else (box[0] - x, box[1] - x)
    if p == math.inf:
        low, high = [*map(max, low, -w)], [*map(min, high, w)]
    signs = [1, -1] if p == 1 else [1]
    bounds = list(zip(low, high, strict=True))
    if p == 1:
        bounds = [(0, h) for h in high] + [(0, -l) for l in low]

    join = np.concatenate([sign * np.eye(n) for sign in signs], axis=1)
    costs = np.concatenate([1 / w] * len(signs))
    budget = {
        math.inf: [],
        2: [{"fun": lambda z: 1 - ((z / w) ** 2).sum(), "jac": lambda z: -2 * z / w**2}],
        1: [{"fun": lambda z: 1 - costs @ z, "jac": lambda z: -costs}],
    }[p]
    answer = minimize(
        lambda z: ((join @ z - a) ** 2).sum(),
        [0.0] * (n * len(signs)),
        jac=lambda z: 2 * join.T @ (join @ z - a),
        bounds=bounds,
        constraints=[{"type": "ineq"} | each for each in budget],
        method="SLSQP",
        options={"ftol": 1e-11, "maxiter": 500},
    )
    return join @ answer.x


def test_the_l1_example():
    far, x = torch.tensor([[3.0, -1.0, 0.5]]), torch.zeros(1, 3)
    assert projections.l1(far, x, 2.0, None).tolist() == [[2.0, 0.0, 0.0]]


@norms
@kinds
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_points_inside_are_returned_bit_for_bit(p, kind, dtype):
    _, x, radius = problem(p, kind, BOX)
    inside = members(p, x, radius, BOX, count=9)
    inside = (x + 0.999 * (inside - x)).to(dtype)
    radius = radius.to(dtype) if isinstance(radius, torch.Tensor) else radius
    for point in inside:
        for box in (BOX, None):
            assert torch.equal(project(p, point, x.to(dtype), radius, box), point)


@norms
@kinds
@boxes
def test_is_idempotent_and_non_expansive(p, kind, box):
    far, x, radius = problem(p, kind, box)
    other = problem(p, kind, box, seed=7)[0]
    once, second = (project(p, point, x, radius, box) for point in (far, other))
    torch.testing.assert_close(project(p, once, x, radius, box), once, atol=1e-13, rtol=0)
    assert (norm(once - second, 2) <= norm(far - other, 2) + 1e-12).all()


@pytest.mark.parametrize("p", [2, 1])
def test_one_example_outside_does_not_move_those_inside(p):
    x = torch.full((2, 3), 0.5, dtype=torch.float64)
    point = x + torch.tensor([[0.1, -0.1, 0.0], [3.0, 0.2, -0.4]])
    nearest = project(p, point, x, 0.5, None)
    assert torch.equal(nearest[0], point[0])
    assert ratio(nearest - x, 0.5, p)[1].item() == pytest.approx(1)


@norms
def test_float32_stays_inside_after_rounding_also_on_the_scale_of_pixels(p):
    x = (255 * uniform("x", B, 1000)).float()
    far = x + uniform("far", B, 1000, low=-90, high=90).float()
    radius = {math.inf: 2.3, 2: 20.0, 1: 300.0}[p]
    nearest = project(p, far, x, radius, (0.0, 255.0))
    assert (norm(nearest.double() - x.double(), p) <= radius * (1 + 1e-7)).all()


@pytest.mark.parametrize("p", [2, 1])
def test_rounding_errors_that_all_point_outwards_do_not_add_up(p):
    """A grey image moved equally everywhere: to the nearest float32, l1 sizes end up 5e-5 off."""
    x = torch.full((1, 3072), 0.5)
    for tenths in range(100, 130):
        radius = tenths / 10 if p == 1 else tenths / 100
        nearest = project(p, x + 0.3, x, radius, BOX)
        size = norm(nearest.double() - x.double(), p).item()
        assert radius * (1 - 1e-4) <= size <= radius * (1 + 1e-7)


@norms
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_permuting_the_batch_permutes_the_bits(p, dtype):
    far, x, radius = (each.to(dtype) for each in problem(p, "example", BOX))
    order = torch.tensor([2, 0, 1])
    straight = project(p, far, x, radius, BOX)
    assert torch.equal(project(p, far[order], x[order], radius[order], BOX), straight[order])


@norms
@pytest.mark.parametrize("kind", ["number", "feature"])
def test_neighbours_do_not_change_the_bits(p, kind):
    far, x, radius = problem(p, kind, BOX)
    crowd = far.clone()
    crowd[1:] = x[1:] + 1e3 * (far - x)[1:]
    crowd[2, 0] = torch.nan
    nearest = project(p, crowd, x, radius, BOX)
    assert torch.equal(nearest[0], project(p, far, x, radius, BOX)[0])
    assert nearest[2].isnan().any()


@norms
def test_radius_zero_returns_x_and_features_of_radius_zero_stay(p):
    far, x, _ = problem(p, "number", BOX)
    assert torch.equal(project(p, far, x, 0.0, BOX), x)
    radius = torch.full_like(x, RADIUS[p])
    radius[:, 1] = 0
    nearest = project(p, far, x, radius, BOX)
    assert torch.equal(nearest[:, 1], x[:, 1])
    alone = project(p, far[:, :1], x[:, :1], RADIUS[p], BOX)
    torch.testing.assert_close(nearest[:, :1], alone, atol=1e-12, rtol=0)
    hardly = torch.where(radius == 0, x + 0.01, x)
    assert torch.equal(project(p, hardly, x, radius, BOX), x)


@norms
def test_an_infinite_radius_leaves_the_box_alone(p):
    far, x, _ = problem(p, "number", BOX)
    assert torch.equal(project(p, far, x, math.inf, BOX), far.clamp(*BOX))
    assert torch.equal(project(p, far, x, math.inf, None), far)


@norms
def test_weights_that_are_all_equal_are_a_radius(p):
    far, x, _ = problem(p, "number", BOX)
    weights = torch.full_like(x, RADIUS[p])
    for box in (BOX, None):
        torch.testing.assert_close(
            project(p, far, x, weights, box), project(p, far, x, RADIUS[p], box), atol=1e-12, rtol=0
        )


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_the_inequality_holds_for_awkward_numbers(data):
    """Ties, zeros, points on faces, radii and weights over many orders of magnitude."""
    n, p = data.draw(st.integers(1, 5)), data.draw(st.sampled_from([2, 1]))
    steps = st.sampled_from([0.0, 0.25, 0.5, 1.0])
    x = torch.tensor([data.draw(st.lists(steps, min_size=n, max_size=n))], dtype=torch.float64)
    moves = st.one_of(st.sampled_from([0.0, 0.5, -0.5, 2.0]), st.floats(-3, 3))
    far = x + torch.tensor([data.draw(st.lists(moves, min_size=n, max_size=n))])
    weights = st.one_of(st.just(1.0), st.floats(1e-4, 1e3))
    radius = torch.tensor([data.draw(st.lists(weights, min_size=n, max_size=n))]).double()
    box = data.draw(st.sampled_from([BOX, None]))
    nearest = project(p, far, x, radius, box)
    assert (ratio(nearest - x, radius, p) <= 1 + 1e-9).all()
    assert violation(far, nearest, p, x, radius, box) <= 1e-9


def test_filling_scale_fills_the_unit_ball_exactly():
    slope = uniform("b", B, 4, 7) ** 3
    cap = uniform("c", B, 4, 7, high=0.8)
    scale = projections.filling_scale(slope, cap)
    filled = torch.minimum(scale * slope, cap).square().sum(-1)
    torch.testing.assert_close(filled, torch.ones(B, 4).double(), atol=1e-13, rtol=0)
    low = projections.filling_scale(slope, 0.1 * cap)
    assert low.isinf().all()


def test_solvers_end_after_a_few_rounds(monkeypatch):
    """With moves and weights over many orders of magnitude."""
    monkeypatch.setattr(projections, "_ITERATIONS", 40)
    x = uniform("x", B, 500) ** 9
    far = x + uniform("far", B, 500, low=-1, high=1) * 10.0 ** uniform("e", B, 500, low=-6, high=3)
    weights = 10.0 ** uniform("w", B, 500, low=-4, high=1)
    for p in (2, 1):
        for radius in (1e-3, 5.0, weights):
            nearest = project(p, far, x, radius, BOX)
            assert (ratio(nearest - x, radius, p) <= 1 + 1e-9).all()
            assert violation(far, nearest, p, x, radius, BOX) <= 1e-9


@pytest.mark.parametrize("p", [2, 1])
def test_an_example_that_has_no_answer_does_not_hold_up_the_others(p, monkeypatch):
    far, x, radius = problem(p, "example", BOX)
    far[0], radius[1] = torch.nan, 0
    rounds = []
    monkeypatch.setattr(torch, "maximum", lambda *a, f=torch.maximum: rounds.append(1) or f(*a))
    monkeypatch.setattr(torch, "minimum", lambda *a, f=torch.minimum: rounds.append(1) or f(*a))
    nearest = project(p, far, x, radius, BOX)
    assert len(rounds) < 20
    assert torch.equal(nearest[1], x[1])
    assert violation(far[2:], nearest[2:], p, x[2:], radius[2:], BOX) <= 1e-9
