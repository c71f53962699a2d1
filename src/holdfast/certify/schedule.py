"""Bounds of the nodes that linear relaxations need, cheapest first.

A relaxation of a nonlinear node needs a box of what it reads, and the narrower, the better. Boxes
come from one walk over the graph: each node's interval from the boxes before it, and where a
nonlinear node reads, substitutions back to the input on top of it:

1. candidates: the units whose relaxation is not exact on the interval, image by image, as a flat
   list of (image, unit);
2. one substitution with parallel lines, which gives both ends (`backward.both`);
3. for the units that are still candidates, one with adaptive lines for each end.

Every box is intersected with those before it, and the next interval begins at the narrower box. The
`plain` plan is the textbook's: every unit, adaptive lines, no intervals; it is what published
numbers are made of, and costs several times as much.

Lists are cut so that the coefficients of a piece stay within a number of bytes.

Source: Wong 2020, Alg. 1 (parallel lines); Zhang et al. 2018 and 2020 (CROWN, CROWN-IBP).
Departure: candidates are listed for each image, not for the batch, and are bounded twice.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from holdfast.certify.backward import Relaxed, both, lower, widest
from holdfast.certify.constants import Values
from holdfast.certify.graph import Graph
from holdfast.certify.ops import Input, LinearMap, Node
from holdfast.certify.regions import Around
from holdfast.certify.relaxation import lines_of, undecided
from holdfast.certify.rounding import Box
from holdfast.certify.rows import DIAGONAL, Memo, Rows
from holdfast.certify.structural import Add, Concatenate, ReLU, Reshape, Subtract
from holdfast.core.errors import CaptureError

Inner = Literal["interval", "parallel", "adaptive"]
_LINEAR = (Input, LinearMap, Add, Subtract, Concatenate)
_COPIES = 4


@dataclass(frozen=True)
class Plan:
    """How the boxes of the nodes in between are found.

    Args:
        inner: the last step that is taken: intervals, parallel lines, or adaptive lines.
        plain: the textbook's order instead of the cheap one.
        memory: bytes for the coefficients of one piece of a list.
    """

    inner: Inner
    plain: bool
    memory: int


@dataclass(frozen=True, eq=False)
class Shared:
    """What the groups of a batch share.

    Args:
        values: the constants of the graph.
        matrices: of its convolutions, as they are needed.
        widths: the most numbers that a row holds on its way from a place.
    """

    values: Values
    rigorous: bool
    matrices: dict[object, tuple[Tensor, Tensor]] = field(default_factory=dict)
    widths: dict[object, int] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Known:
    """What is known of all nodes: boxes, and lines of both kinds.

    Args:
        rows: how many rows have been pulled back, in all.
    """

    boxes: list[Box]
    fixed: Relaxed
    adaptive: Relaxed
    rows: list[int]


def relax(graph: Graph, shared: Shared, region: Around, plan: Plan) -> Known:
    """Boxes and lines of every node of the graph around a batch of images."""
    memo = Memo(shared.matrices)
    boxes = [region.box]
    fixed, adaptive = (
        Relaxed(graph, shared.values, region, boxes, {}, shared.rigorous, shared.widths, memo=memo)
        for _ in range(2)
    )
    known = Known(boxes, fixed, adaptive, [])
    wanted = _wanted(graph) if plan.inner != "interval" else {}
    for node in graph.nodes[1:]:
        inputs = [boxes[index] for index in node.inputs]
        boxes.append(node.op.interval(inputs, shared.values, rigorous=shared.rigorous))
        if node.place in wanted and not (region.boxed and _elementwise(graph, node)):
            tighten(known, node, wanted[node.place], plan)
        if not isinstance(node.op, _LINEAR):
            _line(known, node, inputs)
    return known


def tighten(known: Known, node: Node, readers: Sequence[Node], plan: Plan) -> None:
    """Narrows the box of a node by substitutions, in place in the list of boxes.

    Args:
        readers: the nonlinear nodes that read it.
    """
    if plan.plain:
        everything = torch.ones_like(known.boxes[node.place].lower, dtype=torch.bool)
        known.boxes[node.place] = _bounded(known, node, everything, plan, plan.inner)
        return
    for step in ("parallel", "adaptive")[: 1 + (plan.inner == "adaptive")]:
        loose = _loose(readers, known.boxes[node.place])
        found = _bounded(known, node, loose, plan, step)
        known.boxes[node.place] = _meet(known.boxes[node.place], found)


def _bounded(known: Known, node: Node, chosen: Tensor, plan: Plan, step: str) -> Box:
    """The box of a node, replaced at the chosen units (B, *shape) by substituted bounds."""
    flat = [end.flatten(1).clone() for end in known.boxes[node.place]]
    image, unit = chosen.flatten(1).nonzero().unbind(1)
    relaxed = known.fixed if step == "parallel" else known.adaptive
    known.rows.append(len(image) * (1 if step == "parallel" else 2))
    one = relaxed.units(unit[:1], node.place)
    for part in pieces(relaxed, one, image, node.place, plan.memory):
        rows = relaxed.units(unit[part], node.place)
        if step == "parallel":
            least, most = both(relaxed, rows, image[part], node.place)
        else:
            least = lower(relaxed, rows, image[part], node.place)
            most = -lower(relaxed, rows.negated(), image[part], node.place)
        for end, value in zip(flat, (least, most), strict=True):
            end[image[part], unit[part]] = value
    return Box(*(end.view_as(chosen) for end in flat))


def pieces(relaxed: Relaxed, one: Rows, image: Tensor, place: int, memory: int) -> Iterator[slice]:
    """A list of rows in pieces whose coefficients fit into a number of bytes.

    Args:
        one: the first row of the list.
        image: (N,) the image of each row.
    """
    if not len(image):
        return
    if (place, type(one)) not in relaxed.widths:
        relaxed.widths[place, type(one)] = widest(relaxed, one, image[:1], place)
    held = relaxed.widths[place, type(one)] * one.values.element_size() * _COPIES
    step = max(1, memory // held)
    for start in range(0, len(image), step):
        yield slice(start, start + step)


def _wanted(graph: Graph) -> dict[int, list[Node]]:
    """The linear nodes that nonlinear ones read, with their readers."""
    found: dict[int, list[Node]] = {}
    for node in graph.nodes[1:]:
        for index in node.inputs if not isinstance(node.op, _LINEAR) else ():
            if index and isinstance(graph.nodes[index].op, _LINEAR):
                found.setdefault(index, []).append(node)
    return found


def _elementwise(graph: Graph, node: Node) -> bool:
    """Whether a node is one weighted layer of the input, of which intervals are exact on a box."""
    weighted = 0
    while node.place:
        if not isinstance(node.op, LinearMap):
            return False
        scaled = isinstance(node.op, (*DIAGONAL, Reshape))
        weighted += not (scaled and node.shape == graph.nodes[node.inputs[0]].shape)
        node = graph.nodes[node.inputs[0]]
    return weighted <= 1


def _line(known: Known, node: Node, inputs: Sequence[Box]) -> None:
    """The lines of a nonlinear node, if there are rules for it."""
    try:
        lines = lines_of(node.op, inputs[0])
    except CaptureError:
        return
    known.adaptive.lines[node.place] = lines
    if isinstance(node.op, ReLU):  # any slope in [0, 1] makes a lower line
        lines = lines._replace(lower_slope=lines.upper_slope)
    else:
        lines = lines_of(node.op, inputs[0], adaptive=False)
    known.fixed.lines[node.place] = lines


def _loose(readers: Sequence[Node], box: Box) -> Tensor:
    """The units at which the relaxation of a reader is not exact; an end that is NaN counts."""
    found = torch.zeros_like(box.lower, dtype=torch.bool)
    for node in readers:
        try:
            found = found | undecided(node.op, box)
        except CaptureError:
            found = found | ~(box.lower == box.upper)
    return found


def _meet(first: Box, second: Box) -> Box:
    lower = torch.maximum(first.lower, second.lower)
    return Box(lower, torch.minimum(first.upper, second.upper))
