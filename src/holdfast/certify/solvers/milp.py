"""Exact verification by mixed-integer programming: one binary for each open unit.

The relaxation of `lp.py`, with a choice of side for each unit that its box leaves open
(`relations.py`), is the network itself, so that the minimum of a row over it is the true one.

What is not decided by CROWN, or by the linear programme, is solved by HiGHS with branch and bound.
Its answer holds up to the solver's tolerances and cannot be rebuilt from multipliers: a tolerance
is subtracted, and the result is not called sound. The point that it ends in is evaluated by the
network, and returned.

Source: Tjeng, Xiao and Tedrake 2019, arXiv 1711.07356; Wong 2020, sec 4.2.1 (Table 4.4).
Departures: bounds of units are CROWN's, not intervals refined by programmes; a search stops once
    the sign of the row is known.
"""

import math
from dataclasses import replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from holdfast.certify.solvers.highs import Solver, Status
from holdfast.certify.solvers.lp import Case, Programming, is_finite, proved
from holdfast.core.recipes import NonNegative, Positive, hyperparameters


@hyperparameters
class MILP(Programming):
    """The exact minimum of each row, up to the tolerances of the solver.

    Args:
        seconds: of wall time, for each row, first as a linear programme and then exactly.
        tolerance: subtracted from what branch and bound says.
        until: `sign` stops a search once the row is known to be positive, or a point is known
            where it is negative; `optimum` closes the gap to `tolerance`.

    Guarantee: rows that CROWN or the linear programme decide have proved bounds. The others hold if
        the solver's feasibility and integrality tolerances (1e-7 and 1e-9) move its
        optimum by at most `tolerance`, which is how exact verification is commonly reported; it is
        no proof, so `sound` is False. `exact` says that every row was solved to the optimum. Where
        time runs out the bound is that of the open tree.
    Cost: that of `LP`, and branch and bound for each row that it leaves open: exponential in the
        number of open units.
    Needs: ReLU, leaky ReLU, absolute value, clamp, maximum and max pooling between linear layers;
        highspy, scipy.
    Source: Tjeng et al. 2019, arXiv 1711.07356, Eq. 5-8.
    """

    seconds: Positive = 30.0
    tolerance: NonNegative = 1e-5
    until: Literal["sign", "optimum"] = "sign"
    _exact: ClassVar[bool] = True
    proves: ClassVar[bool] = False

    def _answer(self, case: Case, status: Tensor, witness: Tensor, nodes: Tensor) -> None:
        """Solves the open rows of an image, in place: as linear programmes, then exactly."""
        if not self.plain:
            super()._answer(case, status, witness, nodes)
            case = replace(case, open=self._undecided(case, status, witness))
        if case.open and not bool((status[case.open] == Status.FAILED).any()):
            self._search(case, status, witness, nodes)

    def _undecided(self, case: Case, status: Tensor, witness: Tensor) -> list[int]:
        """The rows that linear programmes leave open; they may find a negative point, too."""
        flat = case.graph.forward(witness[case.open]).flatten(1)
        value = (case.rows[case.open] * flat).sum(1)
        left = []
        for row, at in zip(case.open, value.tolist(), strict=True):
            if bool(case.lower[row] > 0):
                status[row] = int(Status.SCREENED)
            elif self.until == "sign" and at < 0:
                status[row] = int(Status.SIGNED)
            else:
                left.append(row)
        return left

    def _search(self, case: Case, status: Tensor, witness: Tensor, nodes: Tensor) -> None:
        """Branch and bound for the open rows."""
        program = case.program(exact=True, equalities=self.equalities)
        if not is_finite(program):
            status[case.open] = int(Status.FAILED)
            return
        solver = Solver(program, seconds=self.seconds, exact=True)
        for index, row in enumerate(case.open):
            constant = float(program.constants[index])
            stop = (self.tolerance - constant, -constant) if self.until == "sign" else None
            cost = torch.from_numpy(program.costs[[index]].toarray()[0])
            found = solver.minimise(cost, stop=stop)
            bounds = [float(case.lower[row]), proved(program, cost, constant, found)]
            if math.isfinite(found.bound):
                bounds.append(found.bound + constant - self.tolerance)
            case.lower[row] = max(bounds)
            status[row], nodes[row] = int(found.status), found.nodes
            if found.point is not None:
                witness[row] = case.at(program, found.point)[0]
