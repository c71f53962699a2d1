"""Projected gradient descent towards the unsafe set of a case, within its box.

    x <- P( x - a_t w sign(grad e(x)) ),    e(x) = max_r ( rows_r f(x) - limits_r )

An input is unsafe when e <= 0. All cases of a box and all starts run side by side, from the best of
random points for each case; steps shrink linearly, in units of the box's sides w.

Source: Madry et al. 2018, arXiv 1706.06083, with the specification's excess as the loss.
Departures: one step per side of the box instead of one radius, since sides differ.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Protocol

import torch
from torch import Tensor

from holdfast.certify.complete.exploring import Network
from holdfast.certify.formats.properties import Case, by_box
from holdfast.certify.graphs.graph import Graph
from holdfast.certify.rounding import Box
from holdfast.core.random import Keys
from holdfast.core.recipes import Count, Range, hyperparameters

_SCALES = 6
_RUNS, _LENGTH = 16, 0.25


class Falsifier(Protocol):
    """Looks for unsafe inputs; what it proposes is replayed by who asks."""

    def falsify(self, graph: Graph, cases: Sequence[Case], *, seed: int) -> Tensor:
        """Points (P, n) that may be unsafe, in any number."""
        ...


@hyperparameters
class BoxDescent:
    """Projected gradient descent in the boxes of a property.

    Args:
        steps: of each run.
        restarts: runs of each case.
        samples: random points of the box, of which each case starts from its best.
        step_size: of the first step, as a share of the box's sides; the last is a fiftieth of it.
            Of six runs each takes half the step of the one before.

    Guarantee: all points lie in their boxes.
    Cost: at most steps + 1 forwards and steps backwards of restarts x cases points, and one
        forward of the samples; it stops at the first unsafe one.
    Needs: gradients of the graph.
    Source: Madry et al. 2018, arXiv 1706.06083.
    """

    steps: Count = 24
    restarts: Count = 12
    samples: Count = 1024
    step_size: Annotated[float, Range(gt=0, le=1)] = 0.25

    def falsify(self, graph: Graph, cases: Sequence[Case], *, seed: int) -> Tensor:
        """The best points of all runs, (cases x restarts, n) float64."""
        network = Network(graph)
        return torch.cat([self._descend(network, group, seed) for group in by_box(cases)])

    def _descend(self, network: Network, cases: Sequence[Case], seed: int) -> Tensor:
        """The same for cases that share their box."""
        box = Box(cases[0].lower, cases[0].upper)
        x, which = self._starts(network, cases, seed)
        order = torch.arange(len(x), device=x.device) % self.restarts % _SCALES
        length = self.step_size * 0.5 ** order.unsqueeze(1)
        return descend(network, cases, which, x, box, self.steps, length)

    def _starts(self, network: Network, cases: Sequence[Case], seed: int) -> tuple[Tensor, Tensor]:
        """The best of the samples for each case, and the cases that the runs belong to."""
        lower, upper = cases[0].lower, cases[0].upper
        samples = max(self.samples, self.restarts)
        share = Keys.of(seed, range(samples)).fold("falsify").uniform(lower.shape).to(lower)
        share[0] = 0.5
        x = (lower + share * (upper - lower)).clamp(lower, upper)
        with torch.no_grad():
            outputs = network.forward(x)
        best = [case.excess(outputs).argsort(stable=True)[: self.restarts] for case in cases]
        which = torch.arange(len(cases), device=x.device).repeat_interleave(self.restarts)
        return x[torch.cat(best)], which


def descend(
    network: Network,
    cases: Sequence[Case],
    which: Tensor,
    x: Tensor,
    box: Box,
    steps: int,
    length: Tensor | float,
) -> Tensor:
    """The best point of each run, (P, n); all runs stop at the first unsafe point.

    Args:
        which: (P,), the case of each run.
        x: (P, n), where the runs start.
        box: that they stay in, ends (n,) or (P, n).
        length: of the first step as a share of the sides, (P, 1) or a number; the last is a
            fiftieth of it.
    """
    best, least = x, x.new_full((len(x),), torch.inf)
    for step in range(steps + 1):
        slope, excess = _excess_slope(network, cases, which, x)
        better = excess < least
        best, least = torch.where(better.unsqueeze(1), x, best), torch.where(better, excess, least)
        if bool((least <= 0).any()):
            break
        share = length * (1 - step / (steps + 1) + 0.02)
        x = (x - share * (box.upper - box.lower) * slope.sign()).clamp(box.lower, box.upper)
    return best


def _excess_slope(
    network: Network, cases: Sequence[Case], which: Tensor, x: Tensor
) -> tuple[Tensor, Tensor]:
    """The gradient of each run's excess, and the excess itself."""
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        outputs = network.forward(leaf)
        excess = torch.stack([case.excess(outputs) for case in cases])[which, range(len(which))]
        (slope,) = torch.autograd.grad(excess.sum(), leaf)
    return slope, excess.detach()


@dataclass(frozen=True, eq=False)
class Nearby:
    """Tries the inputs that a search believes in, and goes a few steps down from the best of them.

    Args:
        network: to be asked.
        cases: that share their box, one for each query of the search.
        steps: of the descent.
    """

    network: Network
    cases: Sequence[Case]
    steps: int = 10

    def __call__(
        self, points: Tensor, query: Tensor, box: Box | None = None
    ) -> tuple[Tensor, Tensor]:
        """The excess (P,) of the query's case at points (P, n), or at better ones, and these."""
        points = self._inside(points)
        excess = self._excess(points, query)
        start = excess.argsort(stable=True)[:_RUNS]
        if self.steps and len(start) and not bool((excess <= 0).any()):
            whole = Box(self.cases[0].lower, self.cases[0].upper)
            own = whole if box is None else Box(*(end[start] for end in box))
            order = torch.arange(len(start), device=points.device) % _SCALES
            length = _LENGTH * 0.5 ** order.unsqueeze(1) if box is None else _LENGTH
            which, x = query[start], points[start]
            ends = descend(self.network, self.cases, which, x, own, self.steps, length)
            points[start], excess[start] = ends, self._excess(ends, which)
        return excess, points

    def unsafe(self, points: Tensor) -> Tensor | None:
        """The most unsafe of points (P, n) of the box in any case, if any is."""
        every = torch.arange(len(self.cases), device=points.device)
        inside = points[torch.stack([case.inside(points) for case in self.cases]).any(0)]
        excess = self._excess(inside.repeat_interleave(len(every), 0), every.repeat(len(inside)))
        if not len(excess) or not bool((excess <= 0).any()):
            return None
        return inside[int(excess.argmin()) // len(every)]

    def _inside(self, points: Tensor) -> Tensor:
        lower, upper = self.cases[0].lower, self.cases[0].upper
        return points.to(lower).clamp(lower, upper)

    def _excess(self, points: Tensor, query: Tensor) -> Tensor:
        with torch.no_grad():
            outputs = self.network.forward(points.double())
        each = torch.stack([case.excess(outputs) for case in self.cases])
        found = each.gather(0, query.unsqueeze(0)).squeeze(0)
        return found.where(~found.isnan(), torch.inf)
