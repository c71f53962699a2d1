import math

import pytest
import torch
from scipy.optimize import linprog
from scipy.sparse import csr_array

from holdfast.certify.rounding import Box
from holdfast.certify.solvers.duality import rebuilt, without_feasible_points


def programme(seed, rows=7, columns=5):
    """A feasible programme with rows of all kinds, and its optimum and multipliers by SciPy."""
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.randn(rows, columns, generator=generator).double()
    inside = torch.rand(columns, generator=generator).double()
    value = matrix @ inside
    lower, upper = value - 0.3, value + 0.2
    lower[0], upper[1] = -torch.inf, torch.inf
    lower[2] = upper[2] = value[2]
    cost = torch.randn(columns, generator=generator).double()
    box = Box(torch.full_like(cost, -0.5), torch.full_like(cost, 1.5))
    above, below = upper.isfinite(), lower.isfinite()
    below[2] = above[2] = False
    solved = linprog(
        cost.numpy(),
        torch.cat([matrix[above], -matrix[below]]).numpy(),
        torch.cat([upper[above], -lower[below]]).numpy(),
        matrix[2:3].numpy(),
        value[2:3].numpy(),
        list(zip(*(end.tolist() for end in box), strict=True)),
    )
    duals = torch.zeros(rows).double()
    marginal = torch.from_numpy(solved.ineqlin.marginals)
    duals[above] += marginal[: int(above.sum())]
    duals[below] -= marginal[int(above.sum()) :]
    duals[2] = float(solved.eqlin.marginals[0])
    parts = csr_array(matrix.numpy()), Box(lower, upper), box
    return parts, cost, float(solved.fun), duals


@pytest.mark.parametrize("seed", range(5))
def test_the_multipliers_of_the_optimum_give_the_optimum(seed):
    parts, cost, optimum, duals = programme(seed)
    found = rebuilt(*parts, cost, 0.25, duals)
    assert found <= optimum + 0.25
    assert found == pytest.approx(optimum + 0.25, abs=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_any_multipliers_give_a_lower_bound(seed):
    parts, cost, optimum, duals = programme(seed)
    generator = torch.Generator().manual_seed(100 + seed)
    for size in (1e-6, 1e-2, 1.0, 1e3):
        noise = size * torch.randn(len(duals), generator=generator).double()
        assert rebuilt(*parts, cost, 0.0, duals + noise) <= optimum
        assert rebuilt(*parts, cost, 0.0, noise) <= optimum


def test_multipliers_of_the_wrong_sign_are_dropped():
    """The least x in [0, 1] with x <= 2 is 0; a multiplier 1 of that row would say 2."""
    parts = csr_array([[1.0]]), Box(*torch.tensor([[-torch.inf], [2.0]]).double())
    box, one = Box(*torch.tensor([[0.0], [1.0]]).double()), torch.ones(1).double()
    assert float(one @ parts[1].upper + torch.minimum((one - one) * box.lower, one - one)) == 2.0
    assert -1e-12 < rebuilt(*parts, box, one, 0.0, one) <= 0.0


def test_multipliers_that_are_no_numbers_count_as_zero():
    parts, cost, _, _ = programme(0)
    zero = rebuilt(*parts, cost, 0.0, torch.zeros(7))
    for bad in (math.nan, math.inf, -math.inf):
        assert rebuilt(*parts, cost, 0.0, torch.full((7,), bad)) == zero
    box = parts[2]
    wanted = float(torch.minimum(cost * box.lower, cost * box.upper).sum())
    assert zero == pytest.approx(wanted, abs=1e-12)
    assert zero <= wanted


def test_rounding_is_subtracted():
    """1e16 - 1 - 1e16 is 0 in float64; the least objective is -1."""
    big = torch.tensor([1e16], dtype=torch.float64)
    box = Box(torch.zeros(2).double(), torch.tensor([2e16, 1.0], dtype=torch.float64))
    cost = torch.tensor([1.0, -1.0]).double()
    parts = csr_array([[1.0, 0.0]]), Box(big, big), box, cost
    assert rebuilt(*parts, -1e16, torch.ones(1).double()) <= -1.0


def test_a_ray_proves_that_nothing_is_feasible():
    matrix = csr_array([[1.0, 1.0]])
    box = Box(torch.zeros(2).double(), torch.ones(2).double())
    rows = Box(torch.tensor([3.0]).double(), torch.tensor([4.0]).double())
    assert without_feasible_points(matrix, rows, box, torch.tensor([1.0]))
    assert not without_feasible_points(matrix, rows, box, torch.tensor([-1.0]))
    feasible = Box(torch.tensor([1.0]).double(), torch.tensor([4.0]).double())
    for value in (1.0, -1.0, 0.0):
        assert not without_feasible_points(matrix, feasible, box, torch.tensor([value]))
