"""What rounding may move at each node of a backward substitution, per unit of length of a row.

A row c over the value z of a node becomes a row c' over what the node reads, each coefficient a sum
of n products. The computed c' stands for itself, so what matters is the difference it makes over
the box: at most

    gamma_n <|c|, T>  <=  gamma_n ||c||_2 ||T||_2,    T = |W| m + |b|,  m = max |z_in| over the box

by Cauchy and Schwarz: one number for each image and node, times the length of the row. A product
that underflows is off by at most the smallest normal number, whatever its size; these add up to
`floor`, (1 + ||c||) n tiny ||m||_1.

In a *centred* substitution (`centred.py`) m is the distance from the reference, much smaller than
|z|, so that float32 does. The reference is computed in float64 with an error of a sum of n products
of its own, which `SHARE` of |z| covers.

Source: Higham 2002, Accuracy and Stability of Numerical Algorithms, sec 3.1.
"""

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from holdfast.certify.operators.affine import Convolution, Linear
from holdfast.certify.operators.ops import LinearMap, Node, OrderStatistic
from holdfast.certify.operators.structural import Add, Concatenate, Reshape, Subtract
from holdfast.certify.rounding import tiny, unit
from holdfast.certify.substitution.rows import DIAGONAL

if TYPE_CHECKING:
    from holdfast.certify.substitution.relaxed import Relaxed

SHARE = 2.0**-20
_EXTRA = 16
_WHOLE = 64


def noise(relaxed: "Relaxed", node: Node) -> Tensor:
    """What rounding may move at a node: for a row of length 1 what is relative, and the floor.

    Returns:
        (B, 2).
    """
    inputs = [relaxed.boxes[index].magnitude.detach() for index in node.inputs]
    table = moved(relaxed, node)
    reach = sum((each.flatten(1).sum(1) for each in inputs), table.flatten(1).sum(1) + 1.0)
    floor = _count(relaxed, node) * tiny(table.dtype) * reach
    return torch.stack([_length(table), floor], dim=1).double()


def moved(relaxed: "Relaxed", node: Node) -> Tensor:
    """What rounding may move at each unit of a node, but for underflow, (B, *shape)."""
    inputs = [relaxed.boxes[index].magnitude.detach() for index in node.inputs]
    table = terms(relaxed, node, inputs or [relaxed.boxes[0].magnitude.detach()]).detach()
    table = 2.0 * _count(relaxed, node) * unit(table.dtype) * table
    if relaxed.moves is not None and node.place in relaxed.moves:
        table = table + relaxed.moves[node.place].to(table)
    return table


def terms(relaxed: "Relaxed", node: Node, inputs: list[Tensor]) -> Tensor:
    """The sums of absolute terms of a node's value, (B, *shape), for |inputs| up to these."""
    if relaxed.reference is not None:
        return _centred_terms(relaxed, node, inputs)
    if isinstance(node.op, LinearMap):
        return node.op.size(inputs[0], relaxed.values)
    if node.place in relaxed.lines:
        each = relaxed.lines[node.place]
        slope = torch.maximum(each.lower_slope.abs(), each.upper_slope.abs())
        return slope * inputs[0] + each.lower_intercept.abs() + each.upper_intercept.abs()
    if isinstance(node.op, Add | Subtract):
        return inputs[0] + inputs[1]
    if isinstance(node.op, OrderStatistic):
        low, high, lines = relaxed.selection(node)
        joined = torch.cat([each.flatten(1) for each in inputs], dim=1)
        chosen = (joined.gather(1, each.flatten(1)).view(each.shape) for each in (low, high))
        return sum(chosen, lines.lower_intercept.abs() + lines.upper_intercept.abs())
    return relaxed.boxes[node.place].magnitude


def _centred_terms(relaxed: "Relaxed", node: Node, inputs: list[Tensor]) -> Tensor:
    assert relaxed.reference is not None
    like = inputs[0]
    share = 1.0 if relaxed.reference[0].dtype == like.dtype else SHARE
    sources = [share * relaxed.reference[index].detach().abs().to(like) for index in node.inputs]
    if isinstance(node.op, LinearMap):
        found = node.op.absolute(like + sources[0], relaxed.values)
        offset = node.op.offset_size(relaxed.values)
        return found if offset is None else found + share * offset
    if isinstance(node.op, Add | Subtract):
        return inputs[0] + inputs[1] + sources[0] + sources[1]
    if isinstance(node.op, Concatenate):
        sums = [each + source for each, source in zip(inputs, sources, strict=True)]
        return node.op.forward(sums, relaxed.values)
    own = share * relaxed.reference[node.place].detach().abs().to(like)
    return relaxed.boxes[node.place].magnitude + own


def _count(relaxed: "Relaxed", node: Node) -> int:
    """How many roundings one coefficient of the pulled rows sees, generously."""
    op, values = node.op, relaxed.values
    own = op.terms(values) if isinstance(op, LinearMap) else 0
    if relaxed.reference is not None:
        same = relaxed.reference[0].dtype == relaxed.boxes[0].lower.dtype
        own = own if same or isinstance(op, DIAGONAL) else own // 2**8
        return _pulled(relaxed, node) + own + _EXTRA
    shapes = relaxed.graph.nodes
    inputs = max((math.prod(shapes[index].shape) for index in node.inputs), default=0)
    return math.prod(node.shape) + own + inputs + _WHOLE


def _pulled(relaxed: "Relaxed", node: Node) -> int:
    """How many products one coefficient adds up when it is pulled through a node."""
    op, values, whole = node.op, relaxed.values, math.prod(node.shape)
    if not node.inputs:
        return 1
    same = relaxed.graph.nodes[node.inputs[0]].shape == node.shape
    if isinstance(op, Reshape) or (isinstance(op, DIAGONAL) and same):
        return 1
    if isinstance(op, Linear):
        return values[op.weight].shape[0] if len(node.shape) == 1 else whole
    if isinstance(op, Convolution):
        weight = values[op.weight]
        taps = zip(weight.shape[2:], op.stride, strict=True)
        return weight.shape[0] * math.prod(-(-size // stride) for size, stride in taps)
    return whole


def _length(table: Tensor) -> Tensor:
    return torch.linalg.vector_norm(table.flatten(1), dim=1)
