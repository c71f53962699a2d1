"""Forward linear bounds: forms of the input carried from node to node, concretised where needed.

Every number of every node lies between two linear forms of the input (`pushing.py`). A threat
bounds a form by its support function, which gives the boxes that lines need and, at the end, the
bounds of the rows of a specification, merged with the last linear layer. One walk bounds all units
of all layers, where a backward substitution starts anew at each layer; its cost is one forward pass
per coordinate of the input, so that it is good where the input has few.

    adaptive   lines as CROWN's, two forms per unit; n + 1 columns, twice
    parallel   Fast-Lin's lines, one form and a band per unit; n + 1 columns
    symbols    the same, and a column for every unit that is open: the dual bound, exactly

Source: Xu et al. 2020, arXiv 2002.12920 (forward mode); Liu 2022, sec 3.3.1 (parallel, the mode of
    its published code) and Alg. 3.1 (symbols; the same numbers as Wong and Kolter 2018, Alg. 1).
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor, nn

from holdfast.certify.bounds.linear import Linear, Problem
from holdfast.certify.graphs.graph import Graph
from holdfast.certify.operators.ops import LinearMap, Node
from holdfast.certify.rounding import Box, radius
from holdfast.certify.substitution.chains import last_run, pulled, rows_box
from holdfast.certify.substitution.pushing import Form, Push, Rounding, met, slack_of
from holdfast.certify.substitution.regions import Around, Hulled, around
from holdfast.certify.substitution.relaxed import Relaxed
from holdfast.certify.substitution.rows import Dense
from holdfast.certify.substitution.schedule import Inner, Known
from holdfast.core.random import Keys
from holdfast.core.recipes import Range, hyperparameters
from holdfast.core.results import Bounds

_CONCRETE_TERMS = 64
_CONCRETE = 4.0


@dataclass(frozen=True, eq=False)
class Coordinates:
    """Forms over the coordinates of the input, and over errors of units if `symbols` is set.

    Args:
        region: the threat around the images.
    """

    region: Around
    symbols: bool
    rigorous: bool

    @property
    def box(self) -> Box:
        """The hull of the inputs."""
        return self.region.box

    @property
    def count(self) -> int:
        """The number of coordinates."""
        return self.box.lower[0].numel()

    def start(self) -> Form:
        """The identity, shared by all images until a line tells them apart."""
        x, shape = self.box.lower, self.box.lower.shape[1:]
        identity = torch.eye(self.count, dtype=x.dtype, device=x.device).view(1, -1, *shape)
        zero = torch.zeros_like(x)
        return Form(identity, identity, zero, zero)

    def fresh(self, node: Node, gap: Tensor) -> Tensor | None:
        """One column for each unit with a gap, image by image; shorter lists end in zeros."""
        del node
        return spread_out(gap) if self.symbols else None

    def ends(self, form: Form) -> Box:
        """By the threat's support function, and errors at their worst."""
        low, high = self._inner(form)
        below, above = (errors(each, self.count) for each in (form.lower, form.upper))
        low, high = form.low + low - below, form.high + high + above
        if self.rigorous:
            slack = radius(form.lower.shape[1] + _CONCRETE_TERMS, _CONCRETE * self.size(form))
            low, high = low - slack, high + slack
        return Box(low, high)

    def size(self, form: Form) -> Tensor:
        """The sum of absolute terms over the hull."""
        table = torch.maximum(form.lower.detach().abs(), form.upper.detach().abs())
        inner = _products(table[:, : self.count], self.box.magnitude.detach())
        return inner + errors(table, self.count) + torch.maximum(form.low.abs(), form.high.abs())

    def reach(self) -> Tensor:
        """The input's, and one for each unit."""
        return self.box.magnitude.flatten(1).sum(1) + 2.0**32

    def _inner(self, form: Form) -> tuple[Tensor, Tensor]:
        """The least and the greatest value of the part in the input's coordinates."""
        if not form.lower.shape[1]:
            return torch.zeros_like(form.low), torch.zeros_like(form.high)
        lower, upper = form.lower[:, : self.count], form.upper[:, : self.count]
        if self.region.boxed:
            center, spread = self.region.center, self.region.spread
            middle, around = _products(lower, center), _products(lower.abs(), spread)
            if form.shared:
                return middle - around, middle + around
            return middle - around, _products(upper, center) + _products(upper.abs(), spread)
        least, most = self._supported(lower, both=form.shared)
        return least, -self._supported(-upper, both=False)[0] if most is None else most

    def _supported(self, table: Tensor, *, both: bool) -> tuple[Tensor, Tensor | None]:
        """The ends of forms (N, n, *shape) over the threat, (B, *shape)."""
        batch, shape = len(self.box.lower), table.shape[2:]
        rows = table.flatten(2).mT.expand(batch, -1, -1)  # (B, U, n)
        image = torch.arange(batch, device=rows.device).repeat_interleave(rows.shape[1])
        forms = Dense(rows.reshape(-1, *self.box.lower.shape[1:]))
        least, most = self.region.ends(forms, image, both=both)
        return least.view(batch, *shape), None if most is None else most.view(batch, *shape)


def spread_out(gap: Tensor) -> Tensor:
    """A column for each number that is not zero, (B, S, *shape), S the most of an image."""
    flat = gap.flatten(1)
    open_ = flat != 0
    rank = open_.cumsum(1) - 1
    image, unit = open_.nonzero().unbind(1)
    most = int(rank.max()) + 1 if flat.numel() else 0
    columns = flat.new_zeros(len(flat), most, flat.shape[1])
    columns = columns.index_put((image, rank[image, unit], unit), flat[image, unit])
    return columns.view(len(flat), most, *gap.shape[1:])


def errors(table: Tensor, count: int) -> Tensor:
    """The sum of the absolute coefficients of the errors, which follow `count` coordinates."""
    return table[:, count:].abs().sum(1)


def _products(table: Tensor, x: Tensor) -> Tensor:
    """Forms (N, n, *shape) at points (B, *E), (B, *shape)."""
    shape = table.shape[2:]
    if not table.shape[1]:
        return x.new_zeros(len(x), *shape)
    flat = x.flatten(1)
    if len(table) == 1:
        return (flat @ table[0].flatten(1)).view(-1, *shape)
    return (flat.unsqueeze(1) @ table.flatten(2)).view(-1, *shape)


@dataclass(frozen=True, eq=False)
class Result:
    """Forms of rows of a specification, after a walk.

    Args:
        walk: over the nodes before the last run of linear maps.
        run: these maps, merged with the rows.
    """

    walk: Push
    run: Sequence[tuple[Node, LinearMap]]

    @property
    def before(self) -> int:
        """The place of the node that the run reads."""
        return self.run[0][0].inputs[0] if self.run else len(self.walk.graph.nodes) - 1

    def rows(self, pulled: Tensor, rows: Tensor) -> Form:
        """The forms of rows @ logits, with values of shape (R,).

        Args:
            pulled: the rows over what the run reads, (B, R, n).
            rows: (B, R, K).
        """
        walk, form = self.walk, self.walk.forms[self.before]
        ends = (end.flatten(1).unsqueeze(1) for end in (form.low, form.high))
        low, high = _combined(pulled, *ends)
        if form.shared:
            lower = upper = form.lower.flatten(2) @ pulled.mT
        else:
            pair = _combined(pulled, form.lower.flatten(2), form.upper.flatten(2))
            lower, upper = pair[0], pair[1]
        constant = self._constant(rows, form)
        low, high = low.squeeze(1) + constant, high.squeeze(1) + constant
        if walk.rounding:
            slack = self._slack(walk.rounding, rows, form)
            low, high = low - slack, high + slack
        return Form(lower, upper, low, high)

    def _constant(self, rows: Tensor, form: Form) -> Tensor:
        """Rows times the run's value at zero, (B, R)."""
        origin = torch.zeros_like(form.low[:1])
        for _, op in self.run:
            origin = op.forward([origin], self.walk.values)
        return (rows.flatten(2) @ origin.flatten(1).mT).squeeze(2)

    def _slack(self, rounding: Rounding, rows: Tensor, form: Form) -> Tensor:
        size, values = 2 * rounding.size(form), self.walk.values
        terms = rows.shape[2] + math.prod(size.shape[1:])
        for node, op in self.run:
            size = op.size(size, values)
            terms += math.prod(node.shape) + op.terms(values) + 2
        total = (rows.abs().flatten(2) @ size.flatten(1).unsqueeze(2)).squeeze(2)
        return slack_of(rounding, terms, total)


def _combined(rows: Tensor, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
    """Rows (B, R, n) of forms (N, C, n), lower where positive, upper where negative; (B, C, R)."""
    middle, around = (lower + upper) / 2 @ rows.mT, (upper - lower) / 2 @ rows.abs().mT
    return middle - around, middle + around


@dataclass(frozen=True, eq=False)
class Pushed(Known):
    """What a forward walk knows.

    Args:
        result: the walk, and the linear maps that are left for the rows.
    """

    result: Result = field(kw_only=True)

    @property
    def variables(self) -> Coordinates:
        """Those of the forms."""
        assert isinstance(self.result.walk.variables, Coordinates)
        return self.result.walk.variables


@hyperparameters
class Forward(Linear):
    """Linear forms pushed forward from the input.

    Args:
        mode: `rigorous` (float64 less the rounding radius, a proof) or `fast` (dtype of x).
        schedule: `cheap` intersects every box with its interval; `plain` is forms alone.
        memory: bytes for the forms of the images that are pushed together, at least one.
        lines: `adaptive`, `parallel` or `symbols`.

    Guarantee: in `rigorous` mode the true value of every row lies in [lower, upper], for every
        input that the threat accepts (`pushing.py` says what of rounding is covered). With
        `lines="symbols"` and the plain schedule the bounds are those of `Dual`, up to rounding.
    Cost: n + 1 forwards for n coordinates of the input, twice for `adaptive`; for `symbols` one
        more for each open unit, from its layer on. All forms of the widest layer are held at once:
        (n + symbols) numbers per unit.
    Needs: a graph (or a module, captured at each call); no gradients.
    Source: Xu et al. 2020, arXiv 2002.12920 (adaptive); Liu 2022, sec 3.3.1 (parallel) and Alg. 3.1
        (symbols); Wong and Kolter 2018, arXiv 1711.00851, Alg. 1 (symbols).
    Departure: with the cheap schedule, boxes are intersected with intervals.
    """

    memory: Annotated[int, Range(ge=1)] = 2**26
    lines: Literal["adaptive", "parallel", "symbols"] = "adaptive"
    _inner: ClassVar[Inner] = "interval"

    def bound(
        self,
        model: nn.Module | Graph,
        x: Tensor,
        threat: Hulled,
        spec: Tensor,
        *,
        keys: Keys | None = None,
    ) -> Bounds:
        """Bounds on spec @ logits over the threat; arguments and errors as in `Linear.bound`.

        Returns:
            lower and upper (B, R), float64 in `rigorous` mode. The cost is in columns per image.
        """
        del keys
        problem = self.posed(model, x.detach(), threat, spec.detach())
        found, columns = [], 0
        with torch.no_grad(), problem.kernels():
            for known, rows in self.known(problem):
                found.append(self.box(known, rows))
                columns += sum(known.rows)
        lower, upper = (torch.cat(ends) for ends in zip(*found, strict=True))
        cost = {"columns": columns / max(1, len(x))}
        return Bounds(lower, upper, sound=problem.rigorous, exact=False, cost=cost)

    def known(self, problem: Problem) -> Iterator[tuple["Pushed", Tensor]]:
        """The walk for one group of images after another, and their rows."""
        x, threat, graph = problem.x, problem.threat, problem.graph
        values = graph.constants.bind(x.dtype, x.device)
        run = last_run(graph)
        stop = run[0][0].place if run else None
        for part in self._groups(problem):
            own = threat.rows(part) if hasattr(threat, "rows") else threat
            region = around(own, x[part], rigorous=problem.rigorous)
            variables = Coordinates(region, self.lines == "symbols", problem.rigorous)
            rounding = variables if problem.rigorous else None
            plain = self.schedule == "plain"
            walk = Push(graph, values, variables, self.lines, rounding, plain).run(stop)
            relaxed = Relaxed(graph, values, region, walk.boxes, {}, problem.rigorous)
            columns, result = [walk.columns * len(part)], Result(walk, run)
            known = Pushed(walk.boxes, relaxed, relaxed, columns, result=result)
            yield known, problem.rows[part]

    def box(self, known: Known, rows: Tensor) -> Box:
        """The bounds (B, R) of the rows of a specification (B, R, K)."""
        assert isinstance(known, Pushed)
        result, graph = known.result, known.result.walk.graph
        values = result.walk.values
        form = result.rows(pulled(result.run, rows, values, graph), rows)
        found = known.variables.ends(form)
        if self.schedule == "plain":
            return found
        box = known.boxes[result.before]
        return met(rows_box(result.run, rows, box, values, graph, known.variables.rigorous), found)

    def rows(self, known: Known, rows: Tensor) -> Tensor:
        """Lower bounds (B, R) of the rows of a specification (B, R, K)."""
        return self.box(known, rows).lower

    def forms(self, known: Known, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Coefficients (N, *E) and constants (N,) of forms of the input below all rows (B, R, K).

        Returns:
            Rows image by image, N = B R.
        """
        assert isinstance(known, Pushed)
        result, variables = known.result, known.variables
        form = result.rows(pulled(result.run, rows, result.walk.values, result.walk.graph), rows)
        constants = form.low - errors(form.lower, variables.count)
        if variables.rigorous:
            constants = constants - radius(form.lower.shape[1], variables.size(form))
        lower = form.padded(variables.count, 1).lower[:, : variables.count]
        coefficients = lower.expand(len(rows), -1, -1).mT
        shape = variables.box.lower.shape[1:]
        return coefficients.reshape(-1, *shape), constants.flatten()

    def _groups(self, problem: Problem) -> list[Tensor]:
        """The images in groups whose forms fit into the memory."""
        x = problem.x
        widest = max(math.prod(node.shape) for node in problem.graph.nodes)
        columns = math.prod(problem.graph.input_shape) * (2 if self.lines == "adaptive" else 1)
        if self.lines == "symbols":
            columns += sum(math.prod(node.shape) for node in problem.graph.nodes[1:])
        size = max(1, self.memory // (2 * columns * widest * x.element_size()))
        index = torch.arange(len(x), device=x.device)
        selects = hasattr(problem.threat, "rows")
        return list(torch.split(index, size if selects else max(1, len(x))))
