"""Bounds of the nodes that linear relaxations need, cheapest first.

A relaxation of a nonlinear node needs a box of what it reads, and the narrower, the better. Boxes
come from one walk over the graph: each node's interval from the boxes before it, and where a
nonlinear node reads, substitutions back to the input on top of it:

1. candidates: the units whose relaxation is not exact on the interval, image by image, as a flat
   list of (image, unit);
2. one substitution with parallel lines, which gives both ends (`backward.both`);
3. for the units that are still candidates, one with adaptive lines for each end.

Boxes are intersected with those before them (where all lines are parallel, only if that halves
them), and the next interval begins at the narrower box. The `plain` plan is the textbook's: every
unit, adaptive lines, no intervals; it is what published numbers are made of, and costs several
times as much.

In mode `rigorous` and with inputs in a box, substitutions are made in float32 around a reference
(`centred.py`), and repeated in float64 for units that stay open and lose a share of their width to
rounding. Lists are cut so that the coefficients of a piece stay within a number of bytes, and so do
the tables that windows read.

Source: Wong 2020, Alg. 1 (parallel lines); Zhang et al. 2018 and 2020 (CROWN, CROWN-IBP).
Departure: candidates are listed for each image, not for the batch, and are bounded twice.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor

from holdfast.certify.graphs.graph import Graph
from holdfast.certify.operators.constants import Values
from holdfast.certify.operators.ops import Input, LinearMap, Node, Scalar
from holdfast.certify.operators.structural import Add, Concatenate, ReLU, Reshape, Subtract
from holdfast.certify.rounding import Box, plain_kernels
from holdfast.certify.substitution.backward import ends, widest
from holdfast.certify.substitution.centred import Centred
from holdfast.certify.substitution.deployed import float32_moves
from holdfast.certify.substitution.open_units import OpenUnits
from holdfast.certify.substitution.regions import Around
from holdfast.certify.substitution.relaxed import Relaxed
from holdfast.certify.substitution.rows import DIAGONAL, Memo, Rows

Inner = Literal["interval", "parallel", "adaptive"]
_LINEAR = (Input, LinearMap, Add, Subtract, Concatenate)
_COPIES = 8
_ROUGH = 2.0**-7
_FOLDED = 2.0**-48


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
        casts: the constants in other precisions.
        deployed: whether values are those of a float32 forward pass.
        widths: the most numbers that a row holds on its way from a place.
    """

    values: Values
    rigorous: bool
    matrices: dict[object, tuple[Tensor, Tensor]] = field(default_factory=dict)
    casts: dict[torch.dtype, Values] = field(default_factory=dict)
    widths: dict[object, int] = field(default_factory=dict)
    deployed: bool = False


@dataclass(frozen=True, eq=False)
class Known:
    """What is known of all nodes: boxes, and lines of both kinds.

    Args:
        rows: how many rows have been pulled back, in all.
        centred: the same around a reference, where the inputs are a box.
    """

    boxes: list[Box]
    fixed: Relaxed
    adaptive: Relaxed
    rows: list[int]
    centred: Centred | None = None


def relax(graph: Graph, shared: Shared, region: Around, plan: Plan) -> Known:
    """Boxes and lines of every node of the graph around a batch of images."""
    with plain_kernels(shared.rigorous):
        return _relax(graph, shared, region, plan)


def _relax(graph: Graph, shared: Shared, region: Around, plan: Plan) -> Known:
    memo = Memo(shared.matrices, most=plan.memory // region.box.lower.element_size())
    boxes = [region.box]
    moves: dict[int, Tensor] | None = {} if shared.deployed else None
    first = Relaxed(graph, shared.values, region, boxes, {}, shared.rigorous, shared.widths)
    fixed, adaptive = (replace(first, lines={}, memo=memo, moves=moves) for _ in range(2))
    wanted = _wanted(graph) if plan.inner != "interval" else {}
    centred = _centred(fixed, adaptive, shared, plan) if region.boxed and wanted else None
    known = Known(boxes, fixed, adaptive, [], centred)
    for node in graph.nodes[1:]:
        inputs = [boxes[index] for index in node.inputs]
        box = centred.interval(node) if centred is not None else None
        if box is None:
            box = node.op.interval(inputs, shared.values, rigorous=shared.rigorous)
        move = None if moves is None else float32_moves(node, inputs, box, shared.values)
        if moves is not None and move is not None:
            moves[node.place], box = move, Box(box.lower - move, box.upper + move)
        boxes.append(box)
        if node.place in wanted and not (region.boxed and _elementwise(graph, node)):
            tighten(known, node, wanted[node.place], plan)
            memo.forget()
        units = None if isinstance(node.op, _LINEAR) else _line(known, node, inputs)
        if centred is not None:
            centred.follow(node, units)
    return known


def _centred(fixed: Relaxed, adaptive: Relaxed, shared: Shared, plan: Plan) -> Centred:
    """Substitutions around a reference: float32 unless everything is bounded as in the books."""
    like = fixed.boxes[0].lower
    dtype = like.dtype if plan.plain or not shared.rigorous else torch.float32
    if dtype not in shared.casts:
        same = dtype == like.dtype
        cast = fixed.graph.constants.bind(dtype, like.device)
        shared.casts[dtype] = shared.values if same else cast
    return Centred.start(fixed, adaptive, shared.casts[dtype], dtype)


def tighten(known: Known, node: Node, readers: Sequence[Node], plan: Plan) -> None:
    """Narrows the box of a node by substitutions, in place in the list of boxes.

    Args:
        readers: the nonlinear nodes that read it.
    """
    if plan.plain:
        everything = torch.ones_like(known.boxes[node.place].lower, dtype=torch.bool)
        known.boxes[node.place], _ = _bounded(known, node, everything, plan, plan.inner)
        return
    steps = ("parallel", "adaptive")[: 1 + (plan.inner == "adaptive")]
    for step in steps:
        loose = _loose(readers, known.boxes[node.place])
        found, rough = _bounded(known, node, loose, plan, step)
        met = _kept if plan.inner == "parallel" else _meet
        known.boxes[node.place] = met(known.boxes[node.place], found)
    if rough is None:
        return
    loose = rough & _loose(readers, known.boxes[node.place])
    if bool(loose.any()):
        found, _ = _bounded(replace(known, centred=None), node, loose, plan, steps[-1])
        known.boxes[node.place] = _meet(known.boxes[node.place], found)


def _bounded(
    known: Known, node: Node, chosen: Tensor, plan: Plan, step: str
) -> tuple[Box, Tensor | None]:
    """The box of a node, replaced at the chosen units (B, *shape) by substituted bounds.

    Returns:
        The box, and where rounding took too much of it, if the precision can be raised.
    """
    place, box = node.place, known.boxes[node.place]
    flat = [end.flatten(1).clone() for end in box]
    image, unit = chosen.flatten(1).nonzero().unbind(1)
    known.rows.append(len(image) * (1 if step == "parallel" else 2))
    relaxed = _relaxation(known, step)
    rough = torch.zeros_like(flat[0], dtype=torch.bool)
    one = relaxed.units(unit[:1], place)
    for part in pieces(relaxed, one, image, place, plan.memory, parallel=step == "parallel"):
        rows, own = relaxed.units(unit[part], place), image[part]
        least, most, slack = ends(relaxed, rows, own, place, parallel=step == "parallel")
        if known.centred is not None:
            value = known.centred.at(place, own, unit[part])
            folded = _FOLDED * value.abs() if relaxed.rigorous else 0.0
            rough[own, unit[part]] = ~(slack <= _ROUGH * (most - least))
            least, most = value + least - folded, value + most + folded
        for end, found in zip(flat, (least, most), strict=True):
            end[own, unit[part]] = found
    raised = known.centred is not None and known.centred.raised
    return Box(*(end.view_as(chosen) for end in flat)), rough.view_as(chosen) if raised else None


def _relaxation(known: Known, step: str) -> Relaxed:
    """The lines of a step, around the reference where there is one."""
    if known.centred is None:
        return known.fixed if step == "parallel" else known.adaptive
    return known.centred.fixed if step == "parallel" else known.centred.adapt()


def pieces(
    relaxed: Relaxed, one: Rows, image: Tensor, place: int, memory: int, *, parallel: bool = False
) -> Iterator[slice]:
    """A list of rows in pieces whose coefficients fit into a number of bytes.

    Args:
        one: the first row of the list.
        image: (N,) the image of each row.
        parallel: whether both ends are wanted of lines that are parallel.
    """
    if not len(image):
        return
    key = place, type(one), parallel
    if key not in relaxed.widths:
        relaxed.widths[key] = widest(relaxed, one, image[:1], place, parallel=parallel)
    held = relaxed.widths[key] * one.values.element_size() * _COPIES
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


def _line(known: Known, node: Node, inputs: Sequence[Box]) -> OpenUnits | None:
    """The lines of a nonlinear node, if there are rules for it; of a ReLU, its open units too."""
    if isinstance(node.op, ReLU):  # any slope in [0, 1] makes a lower line
        units = OpenUnits.of(node.op, inputs[0])
        fixed, adaptive = units.tables(inputs[0].lower.dtype)
        known.fixed.lines[node.place], known.adaptive.lines[node.place] = fixed, adaptive
        return units
    if isinstance(node.op, Scalar):
        known.adaptive.lines[node.place] = node.op.lines(inputs[0])
        known.fixed.lines[node.place] = node.op.lines(inputs[0], adaptive=False)
    return None


def _loose(readers: Sequence[Node], box: Box) -> Tensor:
    """The units at which the relaxation of a reader is not exact; an end that is NaN counts."""
    found = torch.zeros_like(box.lower, dtype=torch.bool)
    for node in readers:
        rule = node.op.undecided(box) if isinstance(node.op, Scalar) else box.lower != box.upper
        found = found | rule
    return found


def _meet(first: Box, second: Box) -> Box:
    lower = torch.maximum(first.lower, second.lower)
    return Box(lower, torch.minimum(first.upper, second.upper))


def _kept(interval: Box, found: Box) -> Box:
    """The box that parallel lines give, unless the interval halves it: with these lines a narrower
    box is not always better."""
    box = _meet(interval, found)
    kept = 2.0 * (box.upper - box.lower) >= found.upper - found.lower
    return Box(*(torch.where(kept, *ends) for ends in zip(found, box, strict=True)))
