"""Estimated linear bounds: boxes by random projections, rows of the specification pulled back.

The exact boxes of a wide network cost a column per input coordinate and per open unit. Projected
boxes cost r columns per layer (`projections.py`), whatever the widths; the rows of the
specification are then pulled back exactly through lines on these boxes.

What comes out is an estimate: a box may be too narrow, so that a positive bound proves nothing.
`EstimatedBounds.estimate` says so, and `sound` is False. `HighProbability` makes every norm large
enough that all boxes of an image hold together with probability 1 - failure over its keys, whatever
the image and the network: N norms are estimated, each as the largest of m corrected geometric
means,

    tail(r, t)^m <= failure / N,      N = sum over bounded layers of units x blocks before

Source: Wong 2020, sec 3.4.5 (Alg. 3), 3.4.6 (Eq. 3.92) and 3.5.4.
Departures: with `fresh` (the default) every layer is bounded with projections of its own: the tail
    holds for vectors that do not depend on the random numbers, and those of a later layer depend on
    all boxes before it. The thesis shares one set.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, ClassVar

import torch
from torch import Tensor, nn

from holdfast.certify.bounds.estimators import (
    geometric,
    geometric_tail,
    largest_root,
    least_slack,
    median,
    normal_tail,
    root_mean_square,
)
from holdfast.certify.bounds.given import known_from
from holdfast.certify.bounds.linear import Linear, Problem
from holdfast.certify.bounds.projections import Estimator, Projections
from holdfast.certify.graphs.graph import Graph
from holdfast.certify.operators.ops import OrderStatistic, Scalar
from holdfast.certify.rounding import Box
from holdfast.certify.substitution.pushing import Push, read_by_nonlinear
from holdfast.certify.substitution.regions import Around, Hulled, around
from holdfast.certify.substitution.schedule import Inner, Known
from holdfast.core.random import Keys
from holdfast.core.recipes import Count, Range, hyperparameters
from holdfast.core.results import Bounds


@dataclass(frozen=True, eq=False)
class EstimatedBounds(Bounds):
    """Bounds that hold with some probability only; they never prove anything.

    Args:
        failure: the probability, over the keys of an example, that one of its bounds is wrong; None
            where nothing is known of it.
    """

    failure: float | None = None

    @property
    def estimate(self) -> bool:
        """True: not a certificate."""
        return True


@dataclass(frozen=True, eq=False)
class KeyedProblem(Problem):
    """A problem with the keys of its examples."""

    keys: Keys


@hyperparameters
class Projected(Linear):
    """Boxes estimated by medians of Cauchy projections, the dual bound of the rows on top.

    Args:
        mode: `rigorous` computes in float64, `fast` in the dtype of x; neither is a proof.
        schedule: `cheap` intersects the estimated boxes with intervals; `plain` does not.
        memory: bytes for the forms of the images that are pushed together, at least one.
        samples: r, the random columns per block.

    Guarantee: none; `EstimatedBounds`. With r growing the bounds tend to those of `Dual`.
    Cost: r forwards for the input and r more from each nonlinear layer on, and a pull of one row
        for each row of the specification that is open.
    Needs: a box or an l2 ball as a threat; a graph (or a module, captured at each call).
    Source: Wong 2020, sec 3.4.5, Theorem 4 and Alg. 3 (r = 50 in the thesis's experiments).
    """

    samples: Count = 50
    proves: ClassVar[bool] = False
    _inner: ClassVar[Inner] = "interval"
    _fixed: ClassVar[bool] = True

    def bound(
        self,
        model: nn.Module | Graph,
        x: Tensor,
        threat: Hulled,
        spec: Tensor,
        *,
        keys: Keys | None = None,
    ) -> EstimatedBounds:
        """Estimated lower bounds on spec @ logits; arguments and errors as in `Linear.bound`.

        Args:
            keys: of the examples; None takes their own bytes.

        Returns:
            lower (B, R), upper None, `sound` False, `estimate` True.
        """
        problem = self.keyed(self.posed(model, x.detach(), threat, spec.detach()), keys)
        with torch.no_grad(), problem.kernels():
            parts = [self.rows(known, rows) for known, rows in self.known(problem)]
        failure, cost = self._failure(), {"columns": float(self._columns())}
        return EstimatedBounds(
            torch.cat(parts), None, sound=False, exact=False, cost=cost, failure=failure
        )

    def keyed(self, problem: Problem, keys: Keys | None) -> KeyedProblem:
        """The problem with keys, those of the examples' own bytes if None are given."""
        own = Keys.by_content(0, problem.x) if keys is None else keys.to(problem.x.device)
        each = problem.graph, problem.x, problem.threat, problem.rows, problem.rigorous
        return KeyedProblem(*each, own)

    def known(self, problem: Problem) -> Iterator[tuple[Known, Tensor]]:
        """Estimated boxes, for one group of images after another, and their rows."""
        given = problem if isinstance(problem, KeyedProblem) else self.keyed(problem, None)
        x, threat, graph = given.x, given.threat, given.graph
        values = graph.constants.bind(x.dtype, x.device)
        for part in self._groups(problem):
            own = threat.rows(part) if hasattr(threat, "rows") else threat
            region = around(own, x[part], rigorous=False)
            keys = given.keys[part].fold(type(self).__name__)
            variables, plain = self._variables(graph, region, keys), self.schedule == "plain"
            boxes = self._boxes(Push(graph, values, variables, "symbols", plain=plain))
            yield known_from(graph, values, region, boxes, rigorous=False), given.rows[part]

    def _variables(self, graph: Graph, region: Around, keys: Keys) -> Projections:
        del graph
        return Projections(region, keys, self.samples, median, root_mean_square)

    def _boxes(self, push: Push) -> list[Box]:
        return push.run().boxes

    def _failure(self) -> float | None:
        return None

    def _columns(self) -> int:
        return self.samples

    def _groups(self, problem: Problem) -> list[Tensor]:
        """The images in groups whose forms fit into the memory."""
        widest = max(math.prod(node.shape) for node in problem.graph.nodes)
        blocks = 1 + sum(isinstance(node.op, Scalar) for node in problem.graph.nodes)
        held = 4 * blocks * self._columns() * widest * problem.x.element_size()
        index = torch.arange(len(problem.x), device=problem.x.device)
        selects = hasattr(problem.threat, "rows")
        size = max(1, self.memory // held)
        return list(torch.split(index, size if selects else max(1, len(index))))


@hyperparameters
class HighProbability(Projected):
    """Boxes by corrected geometric means of Cauchy projections: all hold with high probability.

    Args:
        samples: r, the random columns of one geometric mean.
        repeats: m, how many means each norm is the largest of.
        failure: the probability, for each example, that any of its boxes fails to hold.
        fresh: whether every layer is bounded with projections of its own; else one set is shared,
            as in the thesis, for which the probability is not proved.

    Guarantee: with probability at least 1 - failure over the keys of an example, all its bounds
        hold (up to rounding). It is not a certificate: `EstimatedBounds`.
    Cost: m r columns in the place of r; with `fresh`, one walk per bounded layer.
    Needs: as `Projected`.
    Source: Wong 2020, sec 3.4.6 (r = 200, m = 10, failure 0.01 in its example).
    """

    samples: Count = 200
    repeats: Count = 10
    failure: Annotated[float, Range(gt=0, lt=1)] = 0.01
    fresh: bool = True

    def _variables(self, graph: Graph, region: Around, keys: Keys) -> Projections:
        share = (self.failure / max(1, norms_needed(graph))) ** (1 / self.repeats)
        absolute, euclidean = (
            _corrected(partial(norm, repeats=self.repeats), tail, self.samples, share)
            for norm, tail in ((geometric, geometric_tail), (largest_root, normal_tail))
        )
        return Projections(region, keys, self._columns(), absolute, euclidean)

    def _boxes(self, push: Push) -> list[Box]:
        if not self.fresh:
            return push.run().boxes
        variables, known = push.variables, dict[int, Box]()
        assert isinstance(variables, Projections)
        for place in sorted(read_by_nonlinear(push.graph)):
            own = replace(variables, keys=variables.keys.fold(place), exact=[])
            walk = replace(push, variables=own, known=known).run(place + 1)
            known[place] = walk.boxes[place]
        return replace(push, known=known).run().boxes

    def _failure(self) -> float | None:
        return self.failure if self.fresh else None

    def _columns(self) -> int:
        return self.samples * self.repeats


def _corrected(
    norm: Estimator, tail: Callable[[int, float], float], samples: int, share: float
) -> Estimator:
    """The estimator, divided by 1 - t for the smallest slack t with this tail."""
    factor = 1 / (1 - least_slack(tail, samples, share))
    return lambda projected: factor * norm(projected)


def norms_needed(graph: Graph) -> int:
    """How many norms the boxes of all nodes take: for each unit of a node that is bounded, one of
    the input and one for each nonlinear node before it.

    Source: Wong 2020, sec 3.4.6 (n_2 + 2 n_3 + ... + (k - 2) n_(k-1)).
    """
    before: list[set[int]] = []
    for node in graph.nodes:
        found = set().union(*(before[index] for index in node.inputs)) if node.inputs else set()
        if isinstance(node.op, Scalar | OrderStatistic):
            found = found | {node.place}
        before.append(found)
    return sum(
        math.prod(graph.nodes[place].shape) * (1 + len(before[place]))
        for place in read_by_nonlinear(graph)
    )


def projected_bounds(
    method: Projected,
    model: nn.Module | Graph,
    x: Tensor,
    threat: Hulled,
    spec: Tensor,
    *,
    keys: Keys | None = None,
) -> Tensor:
    """Estimated lower bounds (B, R) with gradients, for training; arguments as for `bound`.

    Differentiable in x, spec, a radius of the threat that is a tensor, and the parameters of the
    model. The gradient of a median goes through one of its columns only.

    Args:
        keys: fresh ones at every step; None takes the examples' own bytes.

    Source: Wong 2020, sec 3.4.5.
    """
    problem = method.keyed(method.posed(model, x, threat, spec), keys)
    with torch.enable_grad(), problem.kernels():
        return torch.cat([method.rows(known, rows) for known, rows in method.known(problem)])
