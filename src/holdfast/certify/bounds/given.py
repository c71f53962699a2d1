"""The last step of a linear bound, from boxes that another method has found.

Lines follow from boxes, and rows of a specification are pulled back through them: so CROWN-IBP does
with intervals, and so any way to bound the nodes in between can be joined to a backward
substitution of the rows (`Linear.rows`, `Linear.forms`).

Source: Zhang et al. 2020, arXiv 1906.06316 (the idea); Wong 2020, sec 3.4.5 (with estimates).
"""

from collections.abc import Sequence

from holdfast.certify.graphs.graph import Graph
from holdfast.certify.operators.constants import Values
from holdfast.certify.operators.ops import Scalar
from holdfast.certify.rounding import Box
from holdfast.certify.substitution.regions import Around
from holdfast.certify.substitution.relaxed import Relaxed
from holdfast.certify.substitution.schedule import Known


def known_from(
    graph: Graph, values: Values, region: Around, boxes: Sequence[Box], *, rigorous: bool
) -> Known:
    """Boxes and lines of all nodes.

    Args:
        boxes: of the nodes from the input on; those that are missing at the end are intervals.
    """
    found = list(boxes)
    for node in graph.nodes[len(found) :]:
        inputs = [found[index] for index in node.inputs]
        found.append(node.op.interval(inputs, values, rigorous=rigorous))
    fixed, adaptive = (Relaxed(graph, values, region, found, {}, rigorous) for _ in range(2))
    for node in graph.nodes:
        if isinstance(node.op, Scalar):
            box = found[node.inputs[0]]
            adaptive.lines[node.place] = node.op.lines(box)
            fixed.lines[node.place] = node.op.lines(box, adaptive=False)
    return Known(found, fixed, adaptive, [])
