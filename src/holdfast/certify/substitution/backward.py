"""Backward substitution: a linear form of a node's value as a linear form of the input.

From a node back to the input, a form <c, z> of a node's value is replaced by a lower bound that is
a form of what the node reads. Linear nodes are exact: c becomes W^T c, and <c, b> is added up. A
scalar node has lines a z + a0 <= op(z) <= d z + d0 that hold where z lies (`relaxation.py`), and

    <c, op(z)>  >=  <[c]+ a + [c]- d, z> + <[c]+, a0> + <[c]-, d0>,   [c]+ = max(c, 0)

with [c]- = min(c, 0). A maximum has lines in two of its inputs. Any other node ends the form at its
box, and so does a maximum where lines have to be parallel. Where paths join, forms are added;
at the input, the threat's support function gives the smallest value. An upper bound is the negated
lower bound of -c; where the lines of every node are parallel (a = d), both share one substitution
(`both`), which halves the cost: that is the dual bound of Wong and Kolter with its fixed slopes.

Rounding (mode rigorous): the computed coefficients stand for themselves, so what rounding can move
is at each linear node the difference that errors of its coefficients make, one number per row and
node (`noise.py`), and in each sum of intercepts gamma_n times its absolute terms. Lines hold as
they are stored, and boxes hold by the same argument. At a ReLU the product with a slope is off by
u |c| |z|, a part of what is counted at the linear node that gives z. The same holds where all is
measured from a reference (`centred.py`), with the distance from it in the place of |z|.

Source: Wong 2020, sec 3.1.2 and 3.4.1 (dual, any graph); Zhang et al. 2018, arXiv 1811.00866.
"""

import torch
from torch import Tensor

from holdfast.certify.substitution.relaxed import Relaxed
from holdfast.certify.substitution.rows import Rows
from holdfast.certify.substitution.units import Units
from holdfast.certify.substitution.walk import Substitution


def lower(relaxed: Relaxed, rows: Rows, image: Tensor, place: int) -> Tensor:
    """Lower bounds (N,) of rows over the value of the node at a place.

    Args:
        image: (N,) which image of the batch each row belongs to.

    Guarantee: with `rigorous` boxes and lines, true for the real-valued network.
    Cost: one pull of N rows through the graph before the node.
    """
    return Substitution(relaxed, image, parallel=False).run(rows, place)[0]


def both(relaxed: Relaxed, rows: Rows, image: Tensor, place: int) -> tuple[Tensor, Tensor]:
    """Lower and upper bounds (N,) by one substitution; the lines of every node are parallel."""
    low, high = Substitution(relaxed, image, parallel=True).run(rows, place)
    assert high is not None
    return low, high


def form(relaxed: Relaxed, rows: Rows, image: Tensor, place: int) -> tuple[Tensor, Tensor]:
    """Linear forms of the input below rows over the value of the node at a place.

    Returns:
        Coefficients (N, *E) and constants (N,), with <rows, z> >= <coefficients, x'> + constants.
    """
    walk = Substitution(relaxed, image, parallel=False)
    first = walk.back(rows, place)
    if first is None:
        nothing = relaxed.boxes[0].lower.new_zeros(len(image), *relaxed.graph.input_shape)
        return nothing, walk.settled()[0].expand(len(image))
    first = first.clean().dense()
    walk.count(first, relaxed.graph.nodes[0])
    return first.values, walk.settled()[0].expand(len(image))


def ends(
    relaxed: Relaxed, rows: Units, image: Tensor, place: int, *, parallel: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Lower and upper bounds (N,) of single units, and what of them is for rounding, per end.

    Args:
        parallel: whether the lines of all nodes are parallel, so that one substitution does.
    """
    walk = Substitution(relaxed, image, parallel=parallel, twin=not parallel)
    low, high = walk.run(rows, place)
    slack = torch.as_tensor(walk.slack).expand_as(low)
    if high is not None:
        return low, high, slack
    (low, high), slack = walk.halves(low), torch.maximum(*walk.halves(slack))
    return low, -high, slack


def widest(
    relaxed: Relaxed, rows: Rows, image: Tensor, place: int, *, parallel: bool = True
) -> int:
    """The most numbers that a row holds on its way, found by a walk with these rows."""
    walk = Substitution(relaxed, image, parallel=parallel)
    walk.run(rows, place)
    return walk.widest
