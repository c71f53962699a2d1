"""CROWN and the dual bound written with whole matrices, for small networks of ReLUs.

Every node's value is an affine function M v + b of the variables v = (x, outputs of all ReLUs). A
row over a node is then a row over v, from which the ReLUs are eliminated from the last to the first
by their lines; what remains is a row over x.
"""

import torch
from torch import Tensor

from holdfast.certify.graphs.graph import Graph
from holdfast.certify.operators.ops import LinearMap
from holdfast.certify.operators.structural import Add, ReLU, Subtract


class Textbook:
    """Bounds of one image's box, in float64.

    Args:
        adaptive: CROWN's lower slopes, else those of the upper lines.
    """

    def __init__(self, graph: Graph, low: Tensor, high: Tensor, *, adaptive: bool):
        self.center, self.spread = ((high + low) / 2).flatten(), ((high - low) / 2).flatten()
        self.adaptive = adaptive
        self.values = graph.constants.bind(low.dtype, low.device)
        self.relus = [node for node in graph.nodes if isinstance(node.op, ReLU)]
        sizes = [len(self.center)] + [torch.Size(node.shape).numel() for node in self.relus]
        self.starts = torch.tensor([0, *sizes]).cumsum(0).tolist()
        self.count = sum(sizes)
        self.affine: list[tuple[Tensor, Tensor]] = []
        self.boxes: dict[int, tuple[Tensor, Tensor]] = {}
        for node in graph.nodes:
            self.affine.append(self._of(node))

    def _block(self, index: int, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        length = self.starts[index + 1] - self.starts[index]
        columns = torch.zeros(self.count, length, dtype=torch.float64)
        columns[self.starts[index] : self.starts[index + 1]] = torch.eye(length)
        return columns.view(-1, *shape), torch.zeros(1, *shape, dtype=torch.float64)

    def _of(self, node) -> tuple[Tensor, Tensor]:
        inputs = [self.affine[index] for index in node.inputs]
        if not inputs:
            return self._block(0, node.shape)
        if isinstance(node.op, LinearMap):
            columns, origin = inputs[0]
            return node.op.linear(columns, self.values), node.op.forward([origin], self.values)
        if isinstance(node.op, Add | Subtract):
            sign = 1 if isinstance(node.op, Add) else -1
            (first, one), (second, two) = inputs
            return first + sign * second, one + sign * two
        assert isinstance(node.op, ReLU)
        columns, origin = inputs[0]
        rows = columns.flatten(1).T
        offset = origin.flatten()
        self.boxes[node.place] = (
            self.lower(rows, offset),
            -self.lower(-rows, -offset),
        )
        return self._block(self.relus.index(node) + 1, node.shape)

    def lower(self, rows: Tensor, offset: Tensor) -> Tensor:
        """Lower bounds (R,) of rows @ v + offset; rows (R, |v|)."""
        rows, offset = rows.clone(), offset.clone()
        for index in range(len(self.relus) - 1, -1, -1):
            block = slice(self.starts[index + 1], self.starts[index + 2])
            coefficients = rows[:, block].clone()
            rows[:, block] = 0
            if not coefficients.any():
                continue
            node = self.relus[index]
            columns, origin = self.affine[node.inputs[0]]
            low, high = self.boxes[node.place]
            slope = torch.where(low >= 0, 1.0, torch.where(high <= 0, 0.0, high / (high - low)))
            above = torch.where((low < 0) & (high > 0), -slope * low, 0.0)
            below = (high > -low).double() * (high > 0) if self.adaptive else slope
            below = torch.where(low >= 0, 1.0, below)
            up, down = coefficients.clamp_min(0), coefficients.clamp_max(0)
            pulled = up * below + down * slope
            rows += pulled @ columns.flatten(1).T
            offset += down @ above + pulled @ origin.flatten()
        assert not rows[:, len(self.center) :].any()
        rows = rows[:, : len(self.center)]
        return offset + rows @ self.center - rows.abs() @ self.spread

    def margins(self, spec: Tensor) -> Tensor:
        """Lower bounds (R,) of spec @ logits."""
        columns, origin = self.affine[-1]
        return self.lower(spec @ columns.T, spec @ origin.flatten())
