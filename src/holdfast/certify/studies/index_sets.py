"""How many units a certificate finds off, on, or unstable, layer by layer and input by input.

A ReLU whose input lies in [l, u] over the threat is off where u <= 0, on where l >= 0, else
unstable: only the last are relaxed, so that their number says how loose a linear bound may be, and
how many binary variables an exact verifier needs. Robust training makes most units off.

Symbols: I^- off, I^+ on, I unstable.

Source: Wong 2020, sec 3.1.2 (the sets) and Fig 3.11 (their shares); Liu 2022, sec 1.2.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from holdfast.certify.bounds.linear import Linear
from holdfast.certify.graphs.graph import Graph, capture
from holdfast.certify.operators.structural import ReLU
from holdfast.certify.rounding import Box
from holdfast.certify.substitution.regions import Hulled


@dataclass(frozen=True, eq=False)
class IndexSets:
    """The units of one ReLU layer.

    Args:
        name: where the model calls it, or its name in the graph.
        size: units of the layer; off + on + unstable of every input.
        off: (B,) units that are zero all over the threat.
        on: (B,) units that are linear all over it.
        unstable: (B,) the others.
    """

    name: str
    size: int
    off: Tensor
    on: Tensor
    unstable: Tensor

    def share(self, kind: str) -> Tensor:
        """The share (B,) of the units that are `off`, `on` or `unstable`."""
        counts: dict[str, Tensor] = {"off": self.off, "on": self.on, "unstable": self.unstable}
        return counts[kind].double() / self.size


def index_sets(
    method: Linear, model: nn.Module | Graph, x: Tensor, threat: Hulled
) -> list[IndexSets]:
    """The index sets of every ReLU layer, in the order of the network.

    Args:
        method: whose boxes are looked at; `CROWN` has the tightest, `CrownIBP` those of intervals.
        x: (B, *E).

    Guarantee: in mode `rigorous` every unit that is said to be off or on is so over the threat.
    Cost: that of `method.bound` without its last step.

    Raises:
        CaptureError: the module holds an operation that is not supported.
        InputError: x does not fit the model; the threat around x is empty.
        UnsupportedThreat: the threat has no hull, or no support function.
    """
    graph = model if isinstance(model, Graph) else capture(model, x.shape[1:])
    spec = torch.eye(graph.output_shape[0], dtype=x.dtype, device=x.device)
    problem = method.posed(graph, x.detach(), threat, spec)
    layers = [node for node in graph.nodes if isinstance(node.op, ReLU)]
    with torch.no_grad(), problem.kernels():
        groups = [
            [_counts(known.boxes[node.inputs[0]]) for node in layers]
            for known, _ in method.known(problem)
        ]
    return [
        IndexSets(
            node.where or node.name,
            math.prod(node.shape),
            *(torch.cat(parts) for parts in zip(*(each[at] for each in groups), strict=True)),
        )
        for at, node in enumerate(layers)
    ]


def _counts(box: Box) -> tuple[Tensor, Tensor, Tensor]:
    """How many entries are off, on, and neither; an entry with NaN is neither."""
    off = box.upper <= 0
    on = (box.lower >= 0) & ~off
    neither = ~(off | on)
    return off.flatten(1).sum(1), on.flatten(1).sum(1), neither.flatten(1).sum(1)
