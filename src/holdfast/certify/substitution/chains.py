"""Runs of linear maps at the two ends of a graph, through which linear forms are pulled.

At the output, a run that starts with a linear layer is merged with the rows of a specification, so
that what two logits share cancels before absolute values are taken. At the input, the first layer
is a set of linear forms of the input, which a threat can bound by its own support function.

With V = S W_k ... W_1 the pulled rows, f(0) the run's value at zero, [l, u] the box before it:

    S (W_k (... W_1 z + b_1 ...) + b_k)  in  V c + S f(0) -+ |V| r

Rounding: every number that is added up on the way is a term of T = |S| (|W_k| (... |W_1| m + |b_1|
...) + |b_k|), so the radius of `rounding.py` holds with T and the total number of terms: those of
each product of the pull (at most the size of the layer's output), of each layer's own sum, and of
the last product with c.

Source: Gowal et al. 2018 (elision of the last layer); Liu 2022, sec 3.1.2 and Alg. 3.1, step 1.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from holdfast.certify.graphs.graph import Graph
from holdfast.certify.operators.affine import Convolution, Linear
from holdfast.certify.operators.constants import Values
from holdfast.certify.operators.ops import Affine, LinearMap, Node, center_radius
from holdfast.certify.operators.structural import Negate, Reshape
from holdfast.certify.rounding import Box, widened

_CHUNK = 2**22
_SUPPORT_TERMS = 64


class Supported(Protocol):
    """A threat that bounds linear functions."""

    def support(self, v: Tensor, x: Tensor) -> Tensor:
        """The largest <v, x'> over the threat, (B, R), for v (B, R, *E)."""
        ...


Run = Sequence[tuple[Node, LinearMap]]


def last_run(graph: Graph) -> Run:
    """The linear maps at the end, from a linear layer on; empty where there is none.

    Convolutions and pooling end the run: pulling rows through them costs more than it gains.
    """
    run: list[tuple[Node, LinearMap]] = []
    start = 0
    for node in reversed(graph.nodes[1:]):
        op = node.op
        if not isinstance(op, Affine | Reshape | Negate) or isinstance(op, Convolution):
            break
        run.append((node, op))
        if isinstance(op, Linear):
            start = len(run)
        if node.inputs[0] != node.place - 1:
            break
    return run[:start][::-1]


def first_run(graph: Graph) -> Run:
    """The linear maps from the input to the first linear layer or convolution; else empty."""
    run: list[tuple[Node, LinearMap]] = []
    for node in graph.nodes[1:]:
        if not isinstance(node.op, LinearMap) or node.inputs != (node.place - 1,):
            break
        run.append((node, node.op))
        if isinstance(node.op, Linear | Convolution):
            return run
    return []


def whole_run(graph: Graph) -> Run:
    """All nodes after the input where each is a linear map of the one before; else empty."""
    run: list[tuple[Node, LinearMap]] = []
    for node in graph.nodes[1:]:
        if not isinstance(node.op, LinearMap) or node.inputs != (node.place - 1,):
            return []
        run.append((node, node.op))
    return run


def pulled(run: Run, rows: Tensor, values: Values, graph: Graph) -> Tensor:
    """Rows (N, R, *out) over the end of the run as flat rows (N, R, n) over its beginning."""
    flat = rows.flatten(0, 1)  # (N R, *out)
    for node, op in reversed(run):
        flat = op.pull(flat, values, graph.nodes[node.inputs[0]].shape)
    return flat.reshape(*rows.shape[:2], -1)


def rows_box(run: Run, rows: Tensor, box: Box, values: Values, graph: Graph, rigorous: bool) -> Box:
    """The box of rows (N, R, *out) over the run's image of a box, (B, R); N is B or 1."""
    form = pulled(run, rows, values, graph)
    center, spread = center_radius(Box(box.lower.flatten(1), box.upper.flatten(1)))
    middle = _apply(form, center) + _constant(run, rows, box.lower[:1], values)
    around = _apply(form.abs(), spread)
    result = Box(middle - around, middle + around)
    return _widened(result, run, rows, box, values) if rigorous else result


@dataclass(frozen=True, eq=False)
class Forms:
    """Linear forms of the input, bounded by a threat's support function.

    Rounding: the support function of a norm ball adds <v, x> and a sum of terms of one sign, each
    computed with a few roundings; both are at most T, and four times the radius covers them.

    Args:
        graph: the captured model.
        threat: asked for its support function.
        x: (B, *E).
        box: the threat's hull around x.
        rigorous: whether results are widened by the rounding radius.
    """

    graph: Graph
    threat: Supported
    x: Tensor
    box: Box
    rigorous: bool

    def bound(self, run: Run, rows: Tensor) -> Box:
        """The box of rows (N, R, *out) over the image of a run that starts at the input, (B, R)."""
        values = self.graph.constants.bind(self.x.dtype, self.x.device)
        form = pulled(run, rows, values, self.graph).reshape(*rows.shape[:2], *self.x.shape[1:])
        form = form.expand(len(self.x), *form.shape[1:])
        constant = _constant(run, rows, self.x[:1], values)
        lower = constant - self.threat.support(-form, self.x)
        result = Box(lower, constant + self.threat.support(form, self.x))
        return _widened(result, run, rows, self.box, values, 4.0) if self.rigorous else result

    def layer(self, run: Run) -> Box:
        """The box (B, *out) of the run's own value, in chunks of units."""
        shape, x = run[-1][0].shape, self.x
        units = math.prod(shape)
        step = max(1, _CHUNK // max(1, x.numel()))
        parts = []
        for start in range(0, units, step):
            identity = torch.zeros(
                1, min(step, units - start), units, dtype=x.dtype, device=x.device
            )
            identity[0].diagonal(start).fill_(1.0)
            parts.append(self.bound(run, identity.reshape(1, -1, *shape)))
        lower, upper = (torch.cat(ends, dim=1) for ends in zip(*parts, strict=True))
        return Box(lower.reshape(-1, *shape), upper.reshape(-1, *shape))


def _constant(run: Run, rows: Tensor, like: Tensor, values: Values) -> Tensor:
    """Rows times the run's value at zero, (N, R)."""
    origin = torch.zeros_like(like)
    for _, op in run:
        origin = op.forward([origin], values)
    return _apply(rows.flatten(2), origin.flatten(1))


def _widened(
    box: Box, run: Run, rows: Tensor, start: Box, values: Values, factor: float = 1.0
) -> Box:
    """The result, widened by the rounding radius of the whole run."""
    size, terms = start.magnitude, math.prod(start.lower.shape[1:]) + _SUPPORT_TERMS
    terms += math.prod(rows.shape[2:])
    for node, op in run:
        size = op.size(size, values)
        terms += math.prod(node.shape) + op.terms(values) + 2
    return widened(box, terms, factor * _apply(rows.abs().flatten(2), size.flatten(1)))


def _apply(rows: Tensor, z: Tensor) -> Tensor:
    """Rows (N, R, n) times z (B, n), giving (B, R); N is B or 1, or B is 1."""
    if len(rows) == 1:
        return z @ rows[0].T
    return (rows @ z.unsqueeze(-1)).squeeze(-1)
