import math

import pytest
import torch
from scipy.sparse import csr_array

from holdfast.certify.rounding import Box
from holdfast.certify.solvers.duality import without_feasible_points
from holdfast.certify.solvers.highs import Solver, Status
from holdfast.certify.solvers.programs import Program


def program(rows, low, high, *, integral=False, box=(0.0, 3.0)):
    """Rows over two columns in [0, 3]."""
    ends = torch.tensor([low, high]).double()
    columns = Box(*(torch.full((2,), end, dtype=torch.float64) for end in box))
    whole = torch.full((2,), integral)
    costs = csr_array(torch.eye(2).double().numpy())
    return Program(
        csr_array(torch.tensor(rows).double().numpy()),
        Box(ends[0], ends[1]),
        columns,
        whole,
        torch.arange(2),
        costs,
        torch.zeros(2).double(),
    )


def test_objectives_one_after_the_other():
    solver = Solver(program([[1, 1]], [2.5], [math.inf]), seconds=5.0)
    for cost, wanted in (([1, 2], 2.5), ([2, 1], 2.5), ([-1, 1], -3.0), ([1, 1], 2.5)):
        found = solver.minimise(torch.tensor(cost).double())
        assert found.status is Status.SOLVED
        assert found.objective == pytest.approx(wanted)
        assert found.bound == -math.inf
        assert found.point.dtype == torch.float64
    assert found.duals.tolist() == pytest.approx([1.0])


def test_multipliers_keep_all_digits():
    solver = Solver(program([[3, 7]], [1.0], [math.inf]), seconds=5.0)
    found = solver.minimise(torch.tensor([1.0, 100.0]).double())
    assert found.duals.item() == pytest.approx(1 / 3, abs=1e-15)


def test_whole_numbers():
    relaxed = Solver(program([[2, 2]], [5.0], [math.inf], integral=True), seconds=5.0)
    exact = Solver(program([[2, 2]], [5.0], [math.inf], integral=True), seconds=5.0, exact=True)
    cost = torch.tensor([1.0, 1.0]).double()
    assert relaxed.minimise(cost).objective == pytest.approx(2.5)
    found = exact.minimise(cost)
    assert (found.objective, found.bound) == pytest.approx((3.0, 3.0))
    assert not found.duals.any()


def test_what_is_not_feasible_has_a_ray():
    mine = program([[1, 1]], [7.0], [8.0])
    found = Solver(mine, seconds=5.0).minimise(torch.ones(2).double())
    assert found.status is Status.INFEASIBLE
    assert found.point is None
    assert without_feasible_points(mine.matrix, mine.rows, mine.columns, found.duals)
    exact = Solver(mine, seconds=5.0, exact=True).minimise(torch.ones(2).double())
    assert exact.status is Status.INFEASIBLE


def test_what_is_not_bounded_has_failed():
    mine = program([[1, 1]], [1.0], [math.inf], box=(0.0, math.inf))
    found = Solver(mine, seconds=5.0).minimise(-torch.ones(2).double())
    assert found.status is Status.FAILED
    assert str(found.status) == "failed"


def test_a_search_may_be_told_when_to_stop():
    generator = torch.Generator().manual_seed(0)
    rows = torch.randint(1, 50, (20, 30), generator=generator).double()
    half = (rows.sum(1) * 0.4 + 0.5).floor()
    mine = Program(
        csr_array(rows.numpy()),
        Box(torch.full_like(half, -torch.inf), half),
        Box(torch.zeros(30).double(), torch.ones(30).double()),
        torch.ones(30, dtype=torch.bool),
        torch.arange(30),
        csr_array((1, 30)),
        torch.zeros(1).double(),
    )
    solver, cost = Solver(mine, seconds=0.3, exact=True), -rows.mean(0)
    stopped = solver.minimise(cost, stop=(-1e4, -1e9))
    assert stopped.status is Status.SIGNED
    assert math.isfinite(stopped.bound)
    full = solver.minimise(cost)
    assert full.status in (Status.SOLVED, Status.TIMEOUT)
    assert full.bound >= stopped.bound - 1e-6
