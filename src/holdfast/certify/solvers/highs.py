"""The solver HiGHS, kept warm: one programme, several objectives.

A programme is passed once. For another objective a linear programme goes on from the last basis,
which stays feasible and saves most of the steps. One thread, a fixed seed, nothing printed: without
a time limit in the way, the same programme gives the same answer.

What it says is taken as a proposal: `duality.py` turns multipliers into a proof.

Source: Huangfu and Hall 2018, Parallelizing the dual revised simplex method (HiGHS).
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
import torch
from torch import Tensor

from holdfast.certify.solvers.programs import Program


class Status(IntEnum):
    """How a row of a specification was left; `str` gives the word.

    screened: a cheaper bound is positive; solved: to the optimum; signed: stopped once the sign
    was known; infeasible: no point is feasible; timeout; failed: the solver gave up.
    """

    SCREENED = 0
    SOLVED = 1
    SIGNED = 2
    INFEASIBLE = 3
    TIMEOUT = 4
    FAILED = 5

    def __str__(self) -> str:
        return self.name.lower()


@dataclass(frozen=True, eq=False)
class Found:
    """What the solver says of one objective.

    Args:
        status: how it ended.
        point: (n,) the best point, or None.
        duals: (m,) multipliers of the rows, of a linear programme; those of a ray where nothing is
            feasible; zeros where there are none.
        objective: of the point; inf without one.
        bound: what branch and bound says of the optimum, not proved; -inf for a linear programme.
        nodes: of branch and bound.
    """

    status: Status
    point: Tensor | None
    duals: Tensor
    objective: float
    bound: float
    nodes: int


class Solver:
    """HiGHS with one programme.

    Args:
        seconds: wall time for each objective.
        exact: whether the binaries of the programme are whole numbers; else they are relaxed. A
            programme without any is a linear one either way.
    """

    def __init__(self, program: Program, *, seconds: float, exact: bool = False):
        self._exact, self._count = exact and bool(program.integral.any()), len(program.numbers)
        self._height = program.matrix.shape[0]
        self._stop = float("inf"), -float("inf")
        self._highs = _loaded(program, self._exact)
        self._highs.setOptionValue("time_limit", float(seconds))

    def minimise(self, cost: Tensor, *, stop: tuple[float, float] | None = None) -> Found:
        """The least <cost, v>.

        Args:
            cost: (n,).
            stop: branch and bound ends once the optimum is above the first number, or a point is
                known that is below the second.
        """
        index = np.arange(self._count, dtype=np.int32)
        self._highs.changeColsCost(self._count, index, cost.double().numpy())
        if stop is not None and self._exact:
            self._stop = stop
            self._highs.cbMipInterrupt.subscribe(self._settled)
        self._highs.run()
        if stop is not None and self._exact:
            self._highs.cbMipInterrupt.unsubscribe(self._settled)
        return self._found()

    def _settled(self, event: Any) -> None:
        """Ends the search once enough is known."""
        above, below = self._stop
        if event.data_out.mip_dual_bound > above or event.data_out.mip_primal_bound < below:
            event.interrupt()

    def _found(self) -> Found:
        from highspy import SolutionStatus

        info, solution = self._highs.getInfo(), self._highs.getSolution()
        status = self._status()
        feasible = info.primal_solution_status == int(SolutionStatus.kSolutionStatusFeasible)
        point = torch.tensor(solution.col_value, dtype=torch.float64) if feasible else None
        duals = torch.zeros(self._height, dtype=torch.float64)
        if not self._exact and solution.dual_valid:
            duals = torch.tensor(solution.row_dual, dtype=torch.float64)
        if not self._exact and status is Status.INFEASIBLE:
            _, there, ray = self._highs.getDualRay()
            duals = torch.from_numpy(np.array(ray)) if there else duals
        objective = info.objective_function_value if feasible else float("inf")
        return Found(
            status,
            point,
            duals,
            objective,
            min(info.mip_dual_bound, objective) if self._exact else -float("inf"),
            max(0, info.mip_node_count),
        )

    def _status(self) -> Status:
        from highspy import HighsModelStatus as Model

        return {
            Model.kOptimal: Status.SOLVED,
            Model.kInterrupt: Status.SIGNED,
            Model.kInfeasible: Status.INFEASIBLE,
            Model.kTimeLimit: Status.TIMEOUT,
            Model.kIterationLimit: Status.TIMEOUT,
        }.get(self._highs.getModelStatus(), Status.FAILED)


def _loaded(program: Program, exact: bool) -> Any:
    """A solver that holds the programme, with an objective of zeros."""
    import highspy

    highs: Any = highspy.Highs()  # type: ignore[no-untyped-call]
    highs.silent()
    options: dict[str, Any] = {"threads": 1, "parallel": "off", "random_seed": 0}
    if exact:
        options |= {"mip_rel_gap": 0.0, "mip_feasibility_tolerance": 1e-9}
    else:
        options |= {"presolve": "off"}  # nothing is left to remove, and rays stay available
    for name, value in options.items():
        highs.setOptionValue(name, value)
    lp, matrix = highspy.HighsLp(), program.matrix
    lp.num_row_, lp.num_col_ = matrix.shape
    lp.col_cost_ = np.zeros(matrix.shape[1])
    lp.col_lower_, lp.col_upper_ = (end.numpy() for end in program.columns)
    lp.row_lower_, lp.row_upper_ = (end.numpy() for end in program.rows)
    lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    lp.a_matrix_.start_ = matrix.indptr.astype(np.int32)
    lp.a_matrix_.index_ = matrix.indices.astype(np.int32)
    lp.a_matrix_.value_ = matrix.data
    if exact:
        kinds = highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger
        lp.integrality_ = [kinds[whole] for whole in program.integral.tolist()]
    highs.passModel(lp)
    return highs
