"""Boxes of the nodes in between by a cheap method, rows of the specification pulled back.

    IntervalLinear    boxes by intervals, Fast-Lin's parallel lines for the rows
    ForwardBackward   boxes by a forward pass of linear forms, CROWN's lines for the rows

The first is the thesis text of "IBP-inspired linear bounds": pre-activation bounds by IBP, every
activation replaced by its two parallel lines, the maps composed and the intercepts weighed by sign
as in Alg. 3.1. For a network with one hidden layer it is LA itself, hence `Dual`. (CROWN-IBP is the
same with CROWN's lines.)

Source: Liu 2022, sec 3.3.1; Xu et al. 2020, arXiv 2002.12920 (Forward+Backward).
"""

from collections.abc import Iterator
from typing import ClassVar, Literal

from torch import Tensor

from holdfast.certify.bounds.forward import Forward
from holdfast.certify.bounds.given import known_from
from holdfast.certify.bounds.interval import boxes
from holdfast.certify.bounds.linear import Linear, Problem
from holdfast.certify.graphs.graph import Graph
from holdfast.certify.rounding import Box
from holdfast.certify.substitution.chains import Forms, first_run
from holdfast.certify.substitution.regions import Around, around
from holdfast.certify.substitution.schedule import Inner, Known
from holdfast.core.recipes import hyperparameters


@hyperparameters
class IntervalLinear(Linear):
    """Intervals for the nodes in between, parallel lines for the rows of the specification.

    Args:
        mode: `rigorous` (float64 less the rounding radius, a proof) or `fast` (dtype of x).
        schedule: `cheap` keeps the interval of a row that it proves; `plain` pulls all rows.
        memory: bytes that the coefficients of a list of rows may take.

    Guarantee: as `Dual`.
    Cost: three forwards, and a pull of one row for each row of the specification that is open. For
        a threat that is not a box also a pull for each unit of the first layer, whose bounds are
        those of the threat's support function.
    Needs: a graph (or a module, captured at each call); no gradients.
    Source: Liu 2022, sec 3.3.1 (the composition of the text, with the intercepts of Alg. 3.1).
    """

    _inner: ClassVar[Inner] = "interval"
    _fixed: ClassVar[bool] = True

    def known(self, problem: Problem) -> Iterator[tuple[Known, Tensor]]:
        """What is known of all nodes, for one group of images after another, and their rows."""
        x, threat, graph = problem.x, problem.threat, problem.graph
        values = graph.constants.bind(x.dtype, x.device)
        for part in self._groups(problem):
            own = threat.rows(part) if hasattr(threat, "rows") else threat
            region = around(own, x[part], rigorous=problem.rigorous)
            first = _first_layer(graph, region, rigorous=problem.rigorous)
            found = boxes(graph, region.box, rigorous=problem.rigorous, known=first)
            known = known_from(graph, values, region, found, rigorous=problem.rigorous)
            yield known, problem.rows[part]


def _first_layer(graph: Graph, region: Around, *, rigorous: bool) -> dict[int, Box]:
    """The box of the first weighted layer by the support function, where intervals are looser."""
    run = first_run(graph)
    if region.boxed or not run:
        return {}
    forms = Forms(graph, region.threat, region.x, region.box, rigorous)
    return {run[-1][0].place: forms.layer(run)}


@hyperparameters
class ForwardBackward(Linear):
    """A forward pass for the nodes in between, CROWN's lines for the rows of the specification.

    Args:
        mode: `rigorous` (float64 less the rounding radius, a proof) or `fast` (dtype of x).
        schedule: `cheap` intersects boxes with intervals; `plain` does not.
        memory: bytes that the coefficients of a list of rows may take.
        lines: of the forward pass, as of `Forward`.

    Guarantee: as `Dual`.
    Cost: that of `Forward`, and a pull of one row for each row of the specification that is open.
    Needs: a graph (or a module, captured at each call); no gradients.
    Source: Xu et al. 2020, arXiv 2002.12920.
    """

    lines: Literal["adaptive", "parallel", "symbols"] = "adaptive"
    _inner: ClassVar[Inner] = "interval"

    def known(self, problem: Problem) -> Iterator[tuple[Known, Tensor]]:
        """What is known of all nodes, for one group of images after another, and their rows."""
        forward = Forward(mode=self.mode, schedule=self.schedule, lines=self.lines)
        for pushed, rows in forward.known(problem):
            walk, region = pushed.result.walk, pushed.variables.region
            rigorous = problem.rigorous
            yield known_from(walk.graph, walk.values, region, walk.boxes, rigorous=rigorous), rows
