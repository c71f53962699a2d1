import math

import numpy as np
import pytest
import torch
from scipy.optimize import linprog, minimize

from holdfast.core.random import Keys
from holdfast.threats import projections, support

torch.set_num_threads(1)
B, R, N = 3, 4, 6
BOX = (0.0, 1.0)
SUPPORT = {math.inf: support.linf, 2: support.l2, 1: support.l1}
RADIUS = {math.inf: 0.3, 2: 0.6, 1: 1.1}
norms = pytest.mark.parametrize("p", SUPPORT)
boxes = pytest.mark.parametrize("box", [BOX, None])
kinds = pytest.mark.parametrize("kind", ["number", "example", "feature"])


def problem(p, kind="number", seed=0, n=N):
    keys = Keys.of(seed, range(B))
    x = keys.fold("x").uniform((n,), low=-0.2, high=1.2).double().clamp(0, 1)
    v = keys.fold("v").normal((R, n)).double()
    v[0, 0, :2] = 0
    scale = RADIUS[p]
    radius = {
        "number": scale,
        "example": scale * torch.tensor([[0.5], [1.0], [3.0]]).double(),
        "feature": scale * keys.fold("w").uniform((n,), low=0.1, high=2.0).double(),
    }[kind]
    return v, x, radius


@pytest.mark.parametrize("p", [math.inf, 1])
@boxes
@kinds
def test_agrees_with_a_linear_program(p, box, kind):
    v, x, radius = problem(p, kind)
    ours = SUPPORT[p](v, x, radius, box)
    weight = torch.as_tensor(radius, dtype=torch.float64).expand(B, N).numpy()
    for b in range(B):
        for r in range(R):
            assert ours[b, r].item() == pytest.approx(
                best_linear(p, v[b, r].numpy(), x[b].numpy(), weight[b], box), abs=1e-9
            )


def best_linear(p, v, x, w, box):
    """The maximum by an LP over d = up - down, both non-negative."""
    up, down = (np.full(N, 9.0), np.full(N, 9.0)) if box is None else (box[1] - x, x - box[0])
    if p == math.inf:
        up, down = np.minimum(up, w), np.minimum(down, w)
    budget = {"A_ub": [np.concatenate([1 / w, 1 / w])], "b_ub": [1.0]} if p == 1 else {}
    bounds = [(0, cap) for cap in (*up, *down)]
    return v @ x - linprog(np.concatenate([-v, v]), bounds=bounds, **budget).fun


@boxes
@kinds
def test_l2_agrees_with_a_constrained_solver(box, kind):
    v, x, radius = problem(2, kind)
    ours = support.l2(v, x, radius, box)
    weight = torch.as_tensor(radius, dtype=torch.float64).expand(B, N).numpy()
    for b in range(B):
        w, low, high = weight[b], -np.full(N, 9.0), np.full(N, 9.0)
        if box is not None:
            low, high = box[0] - x[b].numpy(), box[1] - x[b].numpy()
        for r in range(R):
            row = v[b, r].numpy()
            answer = minimize(
                lambda d, row=row: -row @ d,
                np.zeros(N),
                jac=lambda d, row=row: -row,
                bounds=list(zip(low, high, strict=True)),
                constraints=[{"type": "ineq", "fun": lambda d, w=w: 1 - ((d / w) ** 2).sum()}],
                method="SLSQP",
                options={"ftol": 1e-14, "maxiter": 500},
            )
            expected = (v[b, r] @ x[b]).item() - answer.fun
            assert ours[b, r].item() == pytest.approx(expected, abs=1e-6)


@norms
@kinds
@boxes
def test_no_member_exceeds_it_and_some_member_attains_it(p, kind, box):
    """10,000 members stay below; a projected ascent along v comes to it."""
    v, x, radius = problem(p, kind)
    bound = SUPPORT[p](v, x, radius, box)
    noise = Keys.of(3, range(B)).normal((10_000 // B, N)).double()
    noise = noise * Keys.of(4, range(B)).uniform((len(noise[0]), 1), high=3.0)
    project = {math.inf: projections.linf, 2: projections.l2, 1: projections.l1}[p]
    for b in range(B):
        weight = torch.as_tensor(radius, dtype=torch.float64).expand(B, N)[b : b + 1]
        centre = x[b].expand(len(noise[b]), N)
        inside = project(centre + noise[b], centre, weight.expand_as(centre), box)
        assert ((inside @ v[b].T) <= bound[b] + 1e-9).all()
        centre = x[b].expand(R, N)
        point = project(centre + 1e6 * v[b], centre, weight.expand_as(centre), box)
        torch.testing.assert_close((point * v[b]).sum(1), bound[b], atol=2e-5, rtol=0)


@norms
@kinds
@boxes
def test_gradients_are_those_of_finite_differences(p, kind, box):
    v, x, radius = problem(p, kind, seed=2)
    v[0, 0, :2] = torch.tensor([0.3, -0.7])
    x = x.clamp(0.07, 0.93)
    radius = (
        torch.as_tensor(radius, dtype=torch.float64)
        .expand(B, N if kind == "feature" else 1)
        .clone()
    )
    arguments = [each.requires_grad_(True) for each in (v, x, radius)]
    assert torch.autograd.gradcheck(lambda v, x, w: SUPPORT[p](v, x, w, box), arguments)


@norms
@boxes
def test_float32_agrees_with_float64_on_an_image(p, box):
    v, x, _ = problem(p, n=784)
    radius = {math.inf: 0.1, 2: 2.0, 1: 12.0}[p]
    double = SUPPORT[p](v, x, radius, box)
    single = SUPPORT[p](v.float(), x.float(), radius, box)
    torch.testing.assert_close(single.double(), double, rtol=1e-5, atol=1e-4)


@norms
def test_a_zero_form_and_a_zero_or_infinite_radius(p):
    v, x, _ = problem(p)
    v[1, 2] = 0
    centre = torch.einsum("brn,bn->br", v, x)
    torch.testing.assert_close(SUPPORT[p](v, x, 0.0, BOX), centre)
    whole = torch.where(v > 0, v, 0.0).sum(2)
    torch.testing.assert_close(SUPPORT[p](v, x, math.inf, BOX), whole)
    assert SUPPORT[p](v, x, RADIUS[p], BOX)[1, 2] == 0
    unbounded = SUPPORT[p](v, x, math.inf, None)
    assert unbounded[1, 2] == 0
    assert unbounded[0].isinf().all()


@pytest.mark.parametrize("p", [2, 1])
def test_a_box_that_holds_the_ball_changes_nothing(p):
    v, _, _ = problem(p)
    x = torch.full((B, N), 0.5).double()
    small = 0.4
    torch.testing.assert_close(SUPPORT[p](v, x, small, BOX), SUPPORT[p](v, x, small, None))


@norms
def test_permuting_the_batch_permutes_the_bits(p):
    v, x, radius = problem(p, "example")
    order = torch.tensor([2, 0, 1])
    straight = SUPPORT[p](v, x, radius, BOX)
    assert torch.equal(SUPPORT[p](v[order], x[order], radius[order], BOX), straight[order])
