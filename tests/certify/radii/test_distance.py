import itertools

import pytest
import torch
from scipy.optimize import linprog

from holdfast.certify.radii.distance import distance, signed_distance

GOLDEN = {
    torch.inf: (0.2, 0.3, 0.4),
    2.0: (0.320713, 0.414729, 0.482183),
    3.0: (0.276841, 0.370206, 0.432006),
}
INF = float("inf")


def golden():
    a = torch.tensor([[[3.0, -2.0, 1.0, 0.0]]], dtype=torch.float64)
    low = torch.tensor([[-0.1, -1, -1, -1]], dtype=torch.float64)
    high = torch.tensor([[0.9, 0.25, 0.5, 0.5]], dtype=torch.float64)
    return a, torch.tensor([[1.2]], dtype=torch.float64), low, high


def problems(count=3, rows=4, size=5, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(count, rows, size, generator=generator, dtype=dtype)
    a[0, 0, 1] = 0.0
    b = torch.rand(count, rows, generator=generator, dtype=dtype) * 3
    low = -torch.rand(count, size, generator=generator, dtype=dtype)
    high = torch.rand(count, size, generator=generator, dtype=dtype)
    low[1, 2] = 0.0
    return a, b, low, high


def by_programme(a, b, low, high, p):
    """The optimum of the linear programme for p = 1 and inf, inf where it is infeasible."""
    n = len(a)
    if p == torch.inf:
        cost = [0.0] * n + [1.0]
        above = [[*row, -1.0] for row in (*torch.eye(n).tolist(), *(-torch.eye(n)).tolist())]
        rows, bounds = (
            [[*a.tolist(), 0.0], *above],
            [*zip(low.tolist(), high.tolist(), strict=True), (0, None)],
        )
        limits = [-float(b)] + [0.0] * (2 * n)
    else:
        cost, rows, limits = [1.0] * (2 * n), [[*a.tolist(), *(-a).tolist()]], [-float(b)]
        bounds = [(0, float(h)) for h in high] + [(0, -float(e)) for e in low]
    found = linprog(cost, A_ub=rows, b_ub=limits, bounds=bounds)
    return found.fun if found.status == 0 else INF


def by_multiplier(a, b, low, high, p):
    """Theorem 3.1: the least multiplier whose clipped move reaches the half-space, by bisection."""
    if torch.where(a > 0, a * low, a * high).sum() + b > 0:
        return INF

    def move(scale):
        return torch.clamp(-a.sign() * scale * a.abs() ** (1 / (p - 1)), low, high)

    small, large = 0.0, 1e6
    for _ in range(200):
        middle = (small + large) / 2
        small, large = (middle, large) if a @ move(middle) + b > 0 else (small, middle)
    return float(torch.linalg.vector_norm(move(large), ord=p))


@pytest.mark.parametrize("p", list(GOLDEN))
def test_the_golden_problem_and_its_iterates(p):
    found = [float(distance(*golden(), p, rounds=rounds)) for rounds in (0, 1, 2)]
    assert found == pytest.approx(GOLDEN[p], abs=1e-6)
    assert float(distance(*golden(), p)) == pytest.approx(GOLDEN[p][-1], abs=1e-6)


@pytest.mark.parametrize("p", [1.0, torch.inf])
def test_it_is_the_optimum_of_the_linear_programme(p):
    a, b, low, high = problems()
    found = distance(a, b, low, high, p)
    for i, r in itertools.product(range(3), range(4)):
        want = by_programme(a[i, r], b[i, r], low[i], high[i], p)
        assert float(found[i, r]) == pytest.approx(want, abs=1e-7)
    assert found.isinf().any()
    assert found.isfinite().any()


@pytest.mark.parametrize("p", [1.5, 2.0, 3.0])
def test_it_is_the_least_feasible_multiplier(p):
    a, b, low, high = problems(seed=1)
    found = distance(a, b, low, high, p)
    for i, r in itertools.product(range(3), range(4)):
        want = by_multiplier(a[i, r], b[i, r], low[i], high[i], p)
        assert float(found[i, r]) == pytest.approx(want, rel=1e-6)


@pytest.mark.parametrize("p", [1.5, 2.0, torch.inf])
def test_an_early_stop_gives_a_lower_bound_that_rises(p):
    problem = problems(rows=7, size=11, seed=2)
    iterates = torch.stack([distance(*problem, p, rounds=rounds) for rounds in range(8)])
    assert (iterates.diff(dim=0).nan_to_num() >= -1e-12).all()
    assert (iterates <= distance(*problem, p) + 1e-12).all()
    assert (iterates[0] < iterates[-1]).any()


@pytest.mark.parametrize(("p", "q"), [(1.0, torch.inf), (2.0, 2.0), (3.0, 1.5), (torch.inf, 1.0)])
def test_without_a_box_it_is_the_constant_over_the_dual_norm(p, q):
    a, b, low, _ = problems(seed=3)
    ends = torch.full_like(low, INF)
    want = b / torch.linalg.vector_norm(a, ord=q, dim=2)
    torch.testing.assert_close(distance(a, b, -ends, ends, p), want)


def moved(a, b, low, high, p):
    """The move of least norm: the gradient in a over that in b, both times the multiplier."""
    a, b = a.clone().requires_grad_(), b.clone().requires_grad_()
    found = distance(a, b, low, high, p)
    slopes = torch.autograd.grad(found.where(found.isfinite(), 0.0).sum(), (a, b))
    return slopes[0] / slopes[1].unsqueeze(2), found.detach()


@pytest.mark.parametrize("p", list(GOLDEN))
def test_the_golden_move(p):
    move, _ = moved(*golden(), p)
    assert move.flatten().tolist() == pytest.approx([-0.1, 0.25, -0.4, 0], abs=1e-12)


@pytest.mark.parametrize(("p", "q"), [(1.5, 3.0), (2.0, 2.0), (3.0, 1.5), (torch.inf, 1.0)])
def test_the_move_attains_hoelders_inequality(p, q):
    """Eq. 3.15: <a, D> = -b with ||D||_p = b / ||a||_q, and signs against those of a."""
    a, b, low, _ = problems(seed=3)
    ends = torch.full_like(low, INF)
    move, found = moved(a, b, -ends, ends, p)
    torch.testing.assert_close((a * move).sum(2), -b)
    torch.testing.assert_close(torch.linalg.vector_norm(move, ord=p, dim=2), found)
    torch.testing.assert_close(found, b / torch.linalg.vector_norm(a, ord=q, dim=2))
    assert (move * a <= 0).all()
    assert move[0, 0, 1] == 0


def test_a_box_only_adds_distance():
    a, b, low, high = problems(seed=4)
    ends = torch.full_like(low, INF)
    for p in (1.0, 2.0, torch.inf):
        assert (distance(a, b, low, high, p) >= distance(a, b, -ends, ends, p) - 1e-12).all()
        assert (distance(a, b, low, high, p) > distance(a, b, -ends, ends, p) + 1e-6).any()


@pytest.mark.parametrize("p", [1.0, 2.0, torch.inf])
def test_edges(p):
    a = torch.tensor([[[0.0, 0.0], [0.0, 0.0], [1.0, 2.0], [float("nan"), 1.0], [1.0, 1.0]]])
    b = torch.tensor([[1.0, -1.0, 0.0, 0.1, float("nan")]])
    ends = torch.full((1, 2), 0.5)
    found = distance(a, b, -ends, ends, p)[0]
    assert found[:3].tolist() == [INF, 0.0, 0.0]
    assert found[3:].isnan().all()


def test_the_sign_says_on_which_side_it_is():
    a, b, low, high = problems(seed=5)
    for p in (1.0, 2.0, torch.inf):
        torch.testing.assert_close(
            signed_distance(a, b, low, high, p), distance(a, b, low, high, p)
        )
        other = signed_distance(-a, -b, low, high, p)
        torch.testing.assert_close(other, -distance(a, b, low, high, p))


@pytest.mark.parametrize("p", [1.0, 2.0, torch.inf])
@pytest.mark.parametrize("boxed", [False, True])
def test_gradients_are_those_of_finite_differences(p, boxed):
    a, b, low, high = problems(count=2, rows=2, size=3, seed=6)
    low, high = (low - 9, high + 9) if boxed else (low - INF, high + INF)
    a, b = a.add(0.05).requires_grad_(), (b * 2 + 0.5).requires_grad_()
    torch.autograd.gradcheck(lambda a, b: signed_distance(a, b, low, high, p), (a, b))
