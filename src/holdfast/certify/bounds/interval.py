"""Interval bounds: one box per node, pushed forward through the graph.

The box of the input is the threat's hull. Each operation maps boxes to a box (`ops.py`); the last
linear layer is merged with the rows of the specification, so that margins are bounded directly and
what two logits share cancels before absolute values are taken:

    S (W z + b)  in  (S W) c + S b -+ |S W| r

The first layer may use the threat's own support function (the dual norm of the weights for a norm
ball), which is tighter than its hull unless the threat is a box.

Three modes. `rigorous` computes in float64 and widens every box by an a-priori bound on the
rounding error (`rounding.py`): a positive lower bound is a proof for the network over the real
numbers. `deployed` bounds its forward pass in float32 (`deployed.py`). `fast` computes in the dtype
of x and is not a proof. For training, `interval_logits` and `interval_margins` are differentiable
in the module's parameters.

Symbols: [l, u] the box, c its center, r its radius, S the rows of the specification.
Source: Gowal et al. 2018, arXiv 1810.12715 (elision, training); Liu 2022, sec 3.1.2, Alg. 3.2.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from holdfast.certify.graphs.graph import Graph, capture
from holdfast.certify.operators.constants import Values
from holdfast.certify.operators.ops import Node
from holdfast.certify.rounding import Box, plain_kernels
from holdfast.certify.spec import checked_labels, checked_rows, classes_of
from holdfast.certify.substitution.chains import (
    Forms,
    Supported,
    first_run,
    last_run,
    rows_box,
    whole_run,
)
from holdfast.certify.substitution.deployed import float32_moves
from holdfast.certify.substitution.regions import Hulled, hull_box
from holdfast.core.errors import InputError, UnsupportedThreat
from holdfast.core.random import Keys
from holdfast.core.recipes import hyperparameters
from holdfast.core.results import Bounds


@hyperparameters
class Interval:
    """Interval bound propagation.

    Args:
        mode: `rigorous` (float64 less the rounding radius, a proof), `deployed` (a proof for the
            forward pass in float32, see `deployed.py`) or `fast` (dtype of x).
        first_layer: `hull` takes the threat's hull; `support` bounds the first linear layer by the
            threat's support function as well, as Liu 2022, Alg. 3.2 does: the same for a box,
            tighter for l2 and l1, at the cost of one linear form of the input per unit of the
            layer: cheap for a small fully connected layer, a second per image for a wide
            convolution.

    Guarantee: in `rigorous` mode the true value of every row lies in [lower, upper], for every
        input in the threat's hull; see `rounding.py` for what is covered. With
        `first_layer="support"` this holds over the threat, if its support function is as accurate
        as that of a norm ball (`chains.py`).
    Cost: two forwards in `fast` mode, three float64 forwards in `rigorous` mode.
    Needs: a graph (or a module, captured at each call); no gradients.
    Source: Gowal et al. 2018; Liu 2022, Alg. 3.2.
    """

    mode: Literal["rigorous", "fast", "deployed"] = "rigorous"
    first_layer: Literal["hull", "support"] = "hull"

    def bound(
        self,
        model: nn.Module | Graph,
        x: Tensor,
        threat: Hulled,
        spec: Tensor,
        *,
        keys: Keys | None = None,
    ) -> Bounds:
        """Bounds on spec @ logits over the threat.

        Args:
            model: a captured graph, or a module, which is captured first.
            x: (B, *E).
            threat: asked for its hull, and for its support function with `first_layer="support"`.
            spec: rows over the logits, (R, K), or (B, R, K) for rows of each example.
            keys: not used; nothing is random.

        Returns:
            lower and upper (B, R), float64 in `rigorous` mode.

        Raises:
            CaptureError: the module holds an operation that is not supported.
            InputError: x or spec does not fit the model; the threat around x is empty.
            UnsupportedThreat: the threat has no hull, or no support function where it is needed.
        """
        del keys
        graph = model if isinstance(model, Graph) else capture(model, x.shape[1:])
        graph.check_input(x)
        rigorous = self.mode != "fast"
        x = x.detach().double() if rigorous else x.detach()
        rows = checked_rows(spec.detach(), graph, len(x)).to(x)
        with torch.no_grad(), plain_kernels(rigorous):
            box = hull_box(threat, x, rigorous=rigorous)
            lower, upper = self._bound(graph, box, x, threat, rows)
        cost = {"forwards": 3.0 if rigorous else 2.0}
        return Bounds(lower, upper, sound=rigorous, exact=False, cost=cost)

    def _bound(self, graph: Graph, box: Box, x: Tensor, threat: Hulled, rows: Tensor) -> Box:
        rigorous = self.mode != "fast"
        if self.mode == "deployed":
            return _deployed_rows(graph, box, rows, self.first_layer)
        if self.first_layer == "hull":
            return bound_rows(graph, box, rows, rigorous=rigorous)
        source = Forms(graph, _supported(threat), x, box, rigorous)
        if whole := whole_run(graph):
            return source.bound(whole, rows if rows.ndim == 3 else rows.unsqueeze(0))
        first = first_run(graph)
        known = {first[-1][0].place: source.layer(first)} if first else None
        return bound_rows(graph, box, rows, rigorous=rigorous, known=known)


def _deployed_rows(graph: Graph, box: Box, rows: Tensor, first_layer: str) -> Box:
    """The box of rows @ logits of a float32 forward pass, whose last layer rounds by itself."""
    if first_layer != "hull":
        remedy = "use first_layer='hull'"
        raise InputError("first_layer", first_layer, "is not known to mode='deployed'", remedy)

    def rule(node: Node, inputs: Sequence[Box], values: Values) -> Box:
        found = node.op.interval(inputs, values, rigorous=True)
        move = float32_moves(node, inputs, found, values)
        return found if move is None else Box(found.lower - move, found.upper + move)

    last = graph.walk(box, rule, like=box.lower)[-1]
    values = graph.constants.bind(box.lower.dtype, box.lower.device)
    return rows_box([], rows if rows.ndim == 3 else rows.unsqueeze(0), last, values, graph, True)


def interval_logits(graph: Graph, lo: Tensor, hi: Tensor) -> tuple[Tensor, Tensor]:
    """Lower and upper bounds (B, K) of the logits over the box [lo, hi], each (B, *E).

    Differentiable in lo, hi and the module's parameters, in the dtype of lo; not a proof.
    Cost: two forwards.
    """
    graph.check_input(lo, "lo")
    graph.check_input(hi, "hi")
    lower, upper = boxes(graph, Box(lo, hi), rigorous=False)[-1]
    return lower, upper


def interval_margins(graph: Graph, lo: Tensor, hi: Tensor, y: Tensor) -> Tensor:
    """Lower bounds (B, K) of logit y less logit j over the box, merged with the last layer.

    Column y is zero, so that the cross-entropy of the negated margins bounds the worst
    cross-entropy over the box, and the example is robust where all other columns are positive.
    Differentiable as `interval_logits` is. Cost: two forwards.

    Source: Gowal et al. 2018, sec 3; Wong 2020, sec 3.1.4 (Theorem 2).
    """
    graph.check_input(lo, "lo")
    graph.check_input(hi, "hi")
    identity = torch.eye(classes_of(graph), dtype=lo.dtype, device=lo.device)
    rows = identity[checked_labels(y, len(identity))].unsqueeze(1) - identity
    return bound_rows(graph, Box(lo, hi), rows, rigorous=False).lower


def boxes(
    graph: Graph,
    box: Box,
    *,
    rigorous: bool,
    stop: int | None = None,
    known: Mapping[int, Box] | None = None,
) -> list[Box]:
    """The box of every node, in order.

    Args:
        box: of the input.
        rigorous: whether each box is widened by its rounding radius.
        stop: leaves out the nodes from this place on; None takes all.
        known: boxes of some nodes, by place, with which the result is intersected.
    """
    known = known or {}

    def rule(node: Node, inputs: Sequence[Box], values: Values) -> Box:
        found = node.op.interval(inputs, values, rigorous=rigorous)
        return _intersected(found, known[node.place]) if node.place in known else found

    return graph.walk(box, rule, like=box.lower, stop=stop)


def _intersected(first: Box, second: Box) -> Box:
    lower = torch.maximum(first.lower, second.lower)
    return Box(lower, torch.minimum(first.upper, second.upper))


def bound_rows(
    graph: Graph,
    box: Box,
    rows: Tensor,
    *,
    rigorous: bool,
    known: Mapping[int, Box] | None = None,
) -> Box:
    """The box of rows @ logits, (B, R); rows (R, K) or (B, R, K) in the dtype of the box."""
    run = last_run(graph)
    stop = run[0][0].place if run else len(graph.nodes)
    before = run[0][0].inputs[0] if run else stop - 1
    found = boxes(graph, box, rigorous=rigorous, stop=stop, known=known)[before]
    values = graph.constants.bind(box.lower.dtype, box.lower.device)
    rows = rows if rows.ndim == 3 else rows.unsqueeze(0)
    return rows_box(run, rows, found, values, graph, rigorous)


def _supported(threat: object) -> Supported:
    """The threat with its membership tolerance included, where it has one, if it has a support."""
    if not hasattr(threat, "support"):
        raise UnsupportedThreat(
            f"first_layer='support' needs a threat with a support function; "
            f"{type(threat).__name__} has none, use first_layer='hull'"
        )
    supported: Supported = threat.accepted() if hasattr(threat, "accepted") else threat
    return supported
