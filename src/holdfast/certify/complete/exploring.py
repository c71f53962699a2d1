"""What is known of a list of queries while a search goes on, and how points are tried.

A query is a list of outputs of a graph of which one has to be positive at every input of a set; the
search raises a lower bound of the least value of their maximum, and lowers an upper bound by every
input that is tried. It ends when the lower bound is above the target, or the upper one is not.

Symbols: Q queries, R the most rows that one has, n the inputs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from holdfast.certify.graphs.graph import Graph
from holdfast.certify.operators.constants import Values
from holdfast.certify.rounding import Box


class Propose(Protocol):
    """Tries inputs."""

    def __call__(
        self, points: Tensor, query: Tensor, box: Box | None = None
    ) -> tuple[Tensor, Tensor]:
        """The values (P,) of a query's largest row, float64, at inputs (P, n) of the set.

        Args:
            points: (P, n), to begin with.
            query: (P,) the query of each.
            box: (P, n) where to look for better ones; None is the whole set.

        Returns:
            Values of the network itself, and the inputs of the set that have them.
        """
        ...


@dataclass(frozen=True, eq=False)
class Explored:
    """What a search has found.

    Args:
        lower: (Q,) lower bounds of the largest row over the set.
        upper: (Q,) its least value among the inputs that were tried.
        best: (Q, n) where.
        nodes: how many subdomains were bounded.
        complete: whether no subdomain is left that could be bounded any better.
    """

    lower: Tensor
    upper: Tensor
    best: Tensor
    nodes: int
    complete: bool


class Record:
    """The bounds of all queries so far.

    Args:
        count: Q.
        inputs: n.
        target: what lower bounds have to be above; infinite to find the minimum.
        tolerance: how near the bounds have to come then.
    """

    def __init__(self, like: Tensor, count: int, inputs: int, target: float, tolerance: float):
        self.target, self.tolerance = target, tolerance
        self.closed = like.new_full((count,), torch.inf, dtype=torch.float64)
        self.upper = self.closed.clone()
        self.best = like.new_zeros(count, inputs, dtype=torch.float64)
        self.nodes = 0

    def tried(self, values: Tensor, points: Tensor, query: Tensor) -> None:
        """Takes note of inputs (P, n), their values (P,) and their queries (P,)."""
        values = values.to(self.upper)
        values = values.where(~values.isnan(), torch.inf)
        least = self.upper.scatter_reduce(0, query, values, "amin")
        found = (values == least[query]) & (values < self.upper[query])
        self.best[query[found]] = points[found].to(self.best)
        self.upper = least

    def broken(self) -> Tensor:
        """Whether an input disproves a query, (Q,)."""
        return self.upper <= min(self.target, 0.0)

    def done(self, lower: Tensor, query: Tensor) -> Tensor:
        """Whether subdomains with these bounds need not be looked at again; NaN does."""
        if self.target < torch.inf:
            return (lower > self.target) & lower.isfinite()
        return lower >= self.upper[query] - self.tolerance

    def close(self, lower: Tensor, query: Tensor) -> None:
        """Puts subdomains away, with what is known of them."""
        lower = lower.to(self.closed)
        lower = lower.where(~lower.isnan(), -torch.inf)
        self.closed = self.closed.scatter_reduce(0, query, lower, "amin")

    def lower(self, lower: Tensor, query: Tensor) -> Tensor:
        """The bounds (Q,) of the queries, with those of the subdomains that are open."""
        lower = lower.to(self.closed)
        lower = lower.where(~lower.isnan(), -torch.inf)
        return self.closed.scatter_reduce(0, query, lower, "amin")


class Network:
    """A graph with its constants looked up once, for many small batches.

    Args:
        graph: whose parameters are not to change meanwhile.
    """

    def __init__(self, graph: Graph):
        self.graph, self.input_shape = graph, graph.input_shape
        self._values: dict[object, Values] = {}

    def forward(self, x: Tensor) -> Tensor:
        """The outputs (P, K) of inputs (P, n) or (P, *E)."""
        key = (x.dtype, x.device)
        if key not in self._values:
            self._values[key] = self.graph.constants.bind(*key)
        results = [x.reshape(-1, *self.input_shape)]
        for node in self.graph.nodes[1:]:
            inputs = [results[index] for index in node.inputs]
            results.append(node.op.forward(inputs, self._values[key]))
        return results[-1].flatten(1)


@dataclass(frozen=True, eq=False)
class Replay:
    """Points as they are, in float64, on the network itself.

    Args:
        network: its outputs are the rows.
        queries: (Q, R) places of the rows of each, -1 where there are fewer.
        inside: moves points (P, n) into the set.
    """

    network: Network
    queries: Tensor
    inside: Callable[[Tensor], Tensor]

    def __call__(
        self, points: Tensor, query: Tensor, box: Box | None = None
    ) -> tuple[Tensor, Tensor]:
        """The values of points, and the points."""
        del box
        points = self.inside(points.double())
        with torch.no_grad():
            outputs = self.network.forward(points)
        return largest(outputs, self.queries[query]), points


def largest(outputs: Tensor, places: Tensor) -> Tensor:
    """The largest of the outputs (P, K) at places (P, R) that are not -1, (P,)."""
    return outputs.gather(1, places.clamp_min(0)).where(places >= 0, -torch.inf).amax(1)


def listed(sizes: Sequence[int]) -> Tensor:
    """The places (Q, R) of queries of these many rows each, one after the other."""
    places = torch.full((len(sizes), max(sizes, default=1)), -1)
    start = 0
    for query, size in enumerate(sizes):
        places[query, :size] = torch.arange(start, start + size)
        start += size
    return places
