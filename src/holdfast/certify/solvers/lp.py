"""Linear programming bounds: the best that the triangle relaxation can say.

Each row of a specification that cheaper bounds leave open is minimised over the relaxation of the
network (`programs.py`), by the solver HiGHS, one after the other from the last basis. The answer is
not the solver's: its multipliers are turned into a bound that is proved in float64 (`duality.py`).

    min <s, f(x')>   over x' in the threat, with l <= z <= u at every layer and, where l < 0 < u,
    y >= 0,  y >= z,  y <= u (z - l) / (u - l)

By duality this is the largest value of the dual bound over all lower slopes in [0, 1] (Wong and
Kolter 2018, Theorem 1): never below CROWN and alpha-CROWN with the same boxes.

Source: Ehlers 2017, arXiv 1705.01320; Wong and Kolter 2018, arXiv 1711.00851, sec 3.1; Salman et
    al. 2019, arXiv 1902.08722.
"""

import math
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import torch
from torch import Tensor, nn

from holdfast.certify.bounds.linear import CROWN, CrownIBP, Dual, Linear, Problem
from holdfast.certify.graphs.graph import Graph
from holdfast.certify.rounding import Box
from holdfast.certify.solvers.duality import rebuilt, without_feasible_points
from holdfast.certify.solvers.expressions import Picture
from holdfast.certify.solvers.highs import Found, Solver, Status
from holdfast.certify.solvers.programs import Octahedron, Program, program_of
from holdfast.certify.solvers.relations import check_pieces
from holdfast.certify.substitution.regions import Around, Hulled
from holdfast.certify.substitution.schedule import Inner, Known
from holdfast.core.errors import UnsupportedThreat
from holdfast.core.random import Keys
from holdfast.core.recipes import Positive, Range, hyperparameters
from holdfast.core.results import Bounds
from holdfast.threats.balls import L1
from holdfast.threats.radius import per_feature, widened

_UP = 1 + 2.0**-50
_METHODS: dict[Inner, type[Linear]] = {"interval": CrownIBP, "parallel": Dual, "adaptive": CROWN}


@dataclass(frozen=True, eq=False)
class Answers:
    """What a solver found, row by row.

    Args:
        bounds: lower bounds.
        status: (B, R) codes of `highs.Status`.
        witness: (B, R, *E), float64, in the threat: where the relaxation or the search is lowest; x
            itself for a row that was not solved.
        value: (B, R), the row at the witness, by a float64 forward of the graph: an upper bound of
            its minimum. A negative value is a counterexample once the model itself confirms it.
        nodes: (B, R) of branch and bound.
    """

    bounds: Bounds
    status: Tensor
    witness: Tensor
    value: Tensor
    nodes: Tensor


@dataclass(frozen=True, eq=False)
class Case:
    """One image: what is known of it, the rows that are open, and where they are answered.

    Args:
        x: (1, *E).
        rows: (R, K).
        lower: (R,) the bounds so far, to be raised in place.
        open: the rows that are to be solved.
        within: what limits the inputs beside their box.
    """

    graph: Graph
    known: Known
    x: Tensor
    threat: Hulled
    rows: Tensor
    lower: Tensor
    open: list[int]
    within: Octahedron | None

    def program(self, *, exact: bool, equalities: bool) -> Program:
        """The programme of the open rows."""
        boxes = [Box(*(end.double().cpu() for end in box)) for box in self.known.boxes]
        values = self.graph.constants.bind(torch.float64, torch.device("cpu"))
        picture = Picture.of(self.graph, values, boxes, equalities=equalities)
        rows = self.rows[self.open].cpu()
        return program_of(picture, rows, exact=exact, within=self.within)

    def at(self, program: Program, point: Tensor) -> Tensor:
        """The input (1, *E) of a point of a programme, in the threat."""
        found = program.input_of(point, self.x[0].cpu()).to(self.x).unsqueeze(0)
        if not hasattr(self.threat, "project"):
            return found
        inside: Tensor = self.threat.project(found, self.x)
        return inside


@hyperparameters
class Programming:
    """What the bounds by programming share; use `LP` or `MILP`.

    Args:
        seconds: of wall time, for each row that is solved.
        boxes: of the units, and the bound that screens rows: by intervals (CROWN-IBP), by parallel
            lines (dual), or by adaptive lines (CROWN).
        plain: solves all rows, and leaves screening bounds out of the answer.
        equalities: gives units that are on a column and a sparse row each, instead of substituting
            them; for networks whose substituted rows are dense.
        memory: bytes for the coefficients of the boxes' rows.
    """

    seconds: Positive = 10.0
    boxes: Inner = "adaptive"
    plain: bool = False
    equalities: bool = False
    memory: Annotated[int, Range(ge=1)] = 2**23
    _exact: ClassVar[bool] = False

    def bound(
        self,
        model: nn.Module | Graph,
        x: Tensor,
        threat: Hulled,
        spec: Tensor,
        *,
        keys: Keys | None = None,
    ) -> Bounds:
        """Lower bounds on spec @ logits over the threat.

        Args:
            model: a captured graph, or a module, which is captured first.
            x: (B, *E).
            threat: a box (an Linf ball), or an l1 ball within one.
            spec: rows over the logits, (R, K), or (B, R, K) for rows of each example.
            keys: not used; nothing is random.

        Returns:
            lower (B, R), float64; upper is None, ask for negated rows. The cost is in programmes
            solved per image.

        Raises:
            CaptureError: the module holds an operation that is not supported.
            InputError: x or spec does not fit the model; the threat around x is empty.
            UnsupportedThreat: the threat is no polytope.
        """
        del keys
        return self.solve(model, x, threat, spec).bounds

    def solve(self, model: nn.Module | Graph, x: Tensor, threat: Hulled, spec: Tensor) -> Answers:
        """The bounds, and how each row was left, with the lowest point that was met."""
        screen = _METHODS[self.boxes](memory=self.memory)
        problem = screen.posed(model, x.detach(), threat, spec.detach())
        rows, x = problem.rows, problem.x
        if self._exact:
            check_pieces(problem.graph)
        status = torch.zeros(rows.shape[:2], dtype=torch.int64, device=x.device)
        nodes = torch.zeros_like(status)
        lower = rows.new_full(rows.shape[:2], -torch.inf)
        witness = x.unsqueeze(1).repeat(1, rows.shape[1], *(1,) * (x.ndim - 1))
        with torch.no_grad(), problem.kernels():
            for image in range(len(x)):
                case = self._case(screen, problem, image, lower[image])
                if case.open:
                    self._answer(case, status[image], witness[image], nodes[image])
            flat = problem.graph.forward(witness.flatten(0, 1))
            value = (rows * flat.view(*rows.shape[:2], -1)).sum(2)
        solved = (status != Status.SCREENED).double().sum(1)
        exact = self._exact and bool((status == Status.SOLVED).all())
        cost = {"programmes": float(solved.mean()) if len(x) else 0.0}
        bounds = Bounds(lower, None, sound=not self._exact, exact=exact, cost=cost)
        return Answers(bounds, status, witness, value, nodes)

    def _case(self, screen: Linear, problem: Problem, image: int, lower: Tensor) -> Case:
        """One image of a problem, screened."""
        which = torch.tensor([image], device=problem.x.device)
        threat = problem.threat.rows(which) if hasattr(problem.threat, "rows") else problem.threat
        own = replace(problem, x=problem.x[which], rows=problem.rows[which], threat=threat)
        known, rows = next(iter(screen.known(own)))
        if not self.plain:
            lower.copy_(screen.rows(known, rows)[0])
        open_ = (~(lower > 0)).nonzero().squeeze(1).tolist()
        region = known.fixed.region
        assert isinstance(region, Around)
        within = _octahedron(region, threat)
        return Case(problem.graph, known, own.x, threat, rows[0], lower, open_, within)

    def _answer(self, case: Case, status: Tensor, witness: Tensor, nodes: Tensor) -> None:
        """Solves the open rows of an image, in place."""
        program = case.program(exact=False, equalities=self.equalities)
        if not is_finite(program):
            status[case.open] = int(Status.FAILED)
            return
        solver = Solver(program, seconds=self.seconds)
        for index, row in enumerate(case.open):
            cost = torch.from_numpy(program.costs[[index]].toarray()[0])
            found = solver.minimise(cost)
            bound = proved(program, cost, float(program.constants[index]), found)
            case.lower[row] = max(float(case.lower[row]), bound)
            status[row] = int(found.status)
            if found.point is not None:
                witness[row] = case.at(program, found.point)[0]


@hyperparameters
class LP(Programming):
    """The linear programme of the triangle relaxation, proved from its multipliers.

    Guarantee: the true value of every row is at least `lower`, for every input that the threat
        accepts, in float64 arithmetic with its rounding covered (`programs.py`, `duality.py`); also
        when the solver stops early or errs. Never below the screening bound.
    Cost: the screening bound, and for each row that it leaves open a linear programme with two or
        three rows per open unit.
    Needs: a graph (or a module, captured at each call); highspy, scipy.
    Source: Wong and Kolter 2018, arXiv 1711.00851, sec 3.1; Ehlers 2017, arXiv 1705.01320.
    Departures: boxes are CROWN's, cut with intervals; stable units are substituted; sigmoid, tanh
        and arc tangent lie between lines.
    """


def proved(program: Program, cost: Tensor, constant: float, found: Found) -> float:
    """The lower bound that a solver's multipliers prove; inf where they prove the set empty."""
    parts = program.matrix, program.rows, program.columns
    if found.status is Status.INFEASIBLE:
        return torch.inf if without_feasible_points(*parts, found.duals) else -torch.inf
    bound = rebuilt(*parts, cost, constant, found.duals)
    return -torch.inf if math.isnan(bound) else bound


def _octahedron(region: Around, threat: Hulled) -> Octahedron | None:
    """The set of a threat beside its hull; None if it is its hull.

    Raises:
        UnsupportedThreat: the threat is neither a box nor an l1 ball.
    """
    if region.boxed:
        return None
    if isinstance(threat, L1) and not per_feature(threat.radius):
        radius = widened(torch.as_tensor(threat.radius, dtype=torch.float64))
        return Octahedron(region.x[0].cpu(), float(radius) * _UP)
    raise UnsupportedThreat(
        f"{type(threat).__name__} is no polytope that lp and milp know (a box, or an l1 ball with "
        "one radius); use crown, or an Linf ball that contains it"
    )


def is_finite(program: Program) -> bool:
    """Whether a programme holds numbers only."""
    ends = torch.stack([end.isfinite().all() for end in program.columns]).all()
    matrix = torch.from_numpy(program.matrix.data).isfinite().all()
    costs = torch.from_numpy(program.costs.data).isfinite().all()
    rows = ~torch.stack([end.isnan().any() for end in program.rows]).any()
    return bool(ends & matrix & costs & rows & program.constants.isfinite().all())
