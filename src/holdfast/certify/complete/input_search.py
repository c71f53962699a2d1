"""Branch and bound over boxes of inputs, for networks of few inputs.

A box that is not settled is halved along the side i with the largest

    (|g_i| + |h_i| + 2 |f_i|) (u_i - l_i),

with g and h the slopes of the linear forms below and above its query, and f the mean absolute
gradient of the network over a few points of the box. A form may be flat in a side on which the
query depends much, where its lower lines are; the sum of all three has no such blind side.

Source: Wang et al. 2018, arXiv 1804.10829, sec 4.2 (ReluVal: gradient times width).
Departures: forms of both sides; boxes are taken from a stack, the least proved first.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from holdfast.certify.complete.exploring import Explored, Network, Propose, Record, largest
from holdfast.certify.graphs.graph import Graph
from holdfast.certify.rounding import Box
from holdfast.core.random import Keys


class BoxBounds(Protocol):
    """What a method says of N boxes.

    `known` are tables of N rows each that help with the halves of the boxes.
    """

    @property
    def known(self) -> Box:
        """What is handed on to the halves."""
        ...

    def outputs(self) -> tuple[Tensor, Tensor]:
        """Lower bounds (N, R) of all outputs, and the slopes (N, R, n) of forms below them."""
        ...

    def above(self, number: Tensor, row: Tensor) -> Tensor:
        """The slopes (M, n) of forms above one output of each of some boxes."""
        ...


@dataclass(frozen=True, kw_only=True)
class Bisection:
    """How boxes are cut.

    Args:
        batch: boxes that are bounded together.
        looks: points of each box whose gradients are taken.
        most_nodes: the search ends after as many boxes.
        target: what is to be proved.
        seed: of the points.
    """

    batch: int
    looks: int
    most_nodes: int
    target: float = 0.0
    seed: int = 0

    def explore(
        self,
        bounds: Callable[[Box, Box | None], BoxBounds],
        box: Box,
        graph: Graph,
        queries: Tensor,
        propose: Propose,
        ends: Callable[[Record], bool],
    ) -> Explored:
        """Cuts a box until nothing is open.

        Args:
            bounds: of boxes (N, n), with what is known of boxes that hold them.
            box: ends (n,), float64.
            graph: the network itself.
            queries: (Q, R) places of the outputs of each query, -1 where there are fewer.
            propose: tries inputs.
            ends: asked after each batch whether the search is to end.
        """
        with torch.no_grad():
            return _Stack(self, bounds, box, graph, queries, propose).emptied(ends)


@dataclass(frozen=True, eq=False)
class Stacked:
    """Boxes that are to be bounded.

    Args:
        box: ends (N, n).
        lower: (N, Q) bounds of all queries so far.
        known: what the boxes that they come from have shown, or None.
    """

    box: Box
    lower: Tensor
    known: Box | None = None

    def __getitem__(self, which: Tensor | slice) -> "Stacked":
        """Some of them."""
        known = self.known and Box(*(end[which] for end in self.known))
        return Stacked(Box(*(end[which] for end in self.box)), self.lower[which], known)

    def joined(self, other: "Stacked") -> "Stacked":
        """These and others."""
        if not len(self):
            return other
        ends = (torch.cat(pair) for pair in zip(self.box, other.box, strict=True))
        known = None
        if self.known and other.known:
            known = Box(*(torch.cat(pair) for pair in zip(self.known, other.known, strict=True)))
        return Stacked(Box(*ends), torch.cat((self.lower, other.lower)), known)

    def __len__(self) -> int:
        return len(self.lower)


class _Stack:
    """The open boxes of one search."""

    def __init__(
        self,
        how: Bisection,
        bounds: Callable[[Box, Box | None], BoxBounds],
        box: Box,
        graph: Graph,
        queries: Tensor,
        propose: Propose,
    ):
        self.how, self.bounds, self.network = how, bounds, Network(graph)
        self.queries, self.propose = queries, propose
        like = box.lower
        self.record = Record(like, len(queries), len(like), how.target, 0.0)
        root = Box(*(end.unsqueeze(0) for end in box))
        self.stack = Stacked(root, like.new_full((1, len(queries)), -torch.inf))
        self.scale = (root.upper - root.lower).clamp_min(torch.finfo(like.dtype).tiny)
        self.keys = Keys.of(how.seed, range(how.looks), device=like.device).fold("looks")
        self.stuck = False

    def emptied(self, ends: Callable[[Record], bool]) -> Explored:
        """The result once nothing is open, or the search is to end."""
        record = self.record
        while len(self.stack):
            self._batch()
            if ends(record) or record.nodes >= self.how.most_nodes:
                break
        every = torch.arange(len(self.queries), device=record.closed.device)
        left = every.repeat(len(self.stack))
        lower = record.lower(self.stack.lower.flatten(), left)
        complete = not (len(self.stack) or self.stuck)
        return Explored(lower, record.upper, record.best, record.nodes, complete)

    def _batch(self) -> None:
        """Bounds the boxes on top, tries inputs, and puts back the halves of those left open."""
        now, self.stack = self.stack[-self.how.batch :], self.stack[: -self.how.batch]
        boxes = self.bounds(now.box, now.known)
        outputs, below = boxes.outputs()
        self.record.nodes += len(now)
        places = self.queries.expand(len(now), -1, -1)
        rows = outputs.unsqueeze(1).expand(-1, len(self.queries), -1)
        rows = rows.gather(2, places.clamp_min(0)).where(places >= 0, -torch.inf)
        best, slot = rows.max(2)
        lower = torch.fmax(best, now.lower)  # a NaN is no bound
        every = torch.arange(len(self.queries), device=lower.device).expand_as(lower)
        done = self.record.done(lower, every)
        worst, query = torch.where(done, torch.inf, lower).min(1)
        open_ = (~done).any(1)
        self.record.close(lower[~open_].flatten(), every[~open_].flatten())
        if not bool(open_.any()):
            return
        order = worst.argsort(descending=True, stable=True)
        order = order[open_[order]]
        row = self.queries[query[order], slot[order, query[order]]]
        slopes = below[order, row]
        chosen = Stacked(now.box, lower, boxes.known)[order]
        slopes = slopes.abs() + boxes.above(order, row).abs()
        slopes = slopes + self._tried(chosen.box, below[order, row], row, query[order])
        self._halved(chosen, slopes)

    def _tried(self, box: Box, below: Tensor, row: Tensor, query: Tensor) -> Tensor:
        """Twice the mean absolute gradient (M, n) of each box's row; the points are tried."""
        width = box.upper - box.lower
        shares = self.keys.uniform(tuple(width.shape), step=self.record.nodes).to(width)
        points = (box.lower + shares * width).clamp(box.lower, box.upper)
        corner = torch.where(below > 0, box.lower, box.upper).unsqueeze(0)
        points = torch.cat((points, corner))
        with torch.enable_grad():
            leaf = points.flatten(0, 1).double().requires_grad_()
            outputs = self.network.forward(leaf)
            value = outputs.gather(1, row.repeat(len(points)).unsqueeze(1)).sum()
            (slope,) = torch.autograd.grad(value, leaf)
        slope = slope.view(points.shape)[: self.how.looks].abs()
        values = largest(outputs.detach(), self.queries[query.repeat(len(points))])
        where = values.view(len(points), -1).argmin(0)
        tried = points.gather(0, where.view(1, -1, 1).expand(1, -1, points.shape[2]))[0]
        self.record.tried(*self.propose(tried, query, box), query)
        return 2.0 * slope.mean(0).to(width)

    def _halved(self, open_: Stacked, slopes: Tensor) -> None:
        """Puts the halves of boxes on the stack; a box that no number cuts is given up."""
        lower, upper = open_.box
        middle = (lower + upper) / 2
        possible = (middle > lower) & (middle < upper)
        change = (slopes * (upper - lower)).nan_to_num(nan=0.0).where(possible, 0.0)
        shares = (upper - lower) / self.scale
        steep = change.amax(1, keepdim=True) > 0
        side = torch.where(steep, change, shares).where(possible, -1.0).argmax(1, keepdim=True)
        can = possible.any(1)
        self._give_up(open_[~can])
        open_, side, middle = open_[can], side[can], middle[can].gather(1, side[can])
        lower, upper = open_.box
        left = replace(open_, box=Box(lower, upper.scatter(1, side, middle)))
        right = replace(open_, box=Box(lower.scatter(1, side, middle), upper))
        self.stack = self.stack.joined(left).joined(right)

    def _give_up(self, boxes: Stacked) -> None:
        """Puts boxes away with the bounds that they have."""
        every = torch.arange(len(self.queries), device=boxes.lower.device).repeat(len(boxes))
        self.record.close(boxes.lower.flatten(), every)
        self.stuck = self.stuck or len(boxes) > 0
