"""Sets of inputs given by their ends, and their bounds by any method of the catalogue.

B = { x : l <= x <= u },    sup_B <v, x> = sum_i max(v_i l_i, v_i u_i)
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from holdfast.certify.graphs.graph import Graph
from holdfast.certify.rounding import Box
from holdfast.core.results import Bounds


@dataclass(frozen=True, eq=False)
class InputBox:
    """A threat that is a box of each example's own, whatever the example; ends (B, *E)."""

    lower: Tensor
    upper: Tensor

    boxed = True

    def hull(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The ends, in the dtype of x."""
        return self.lower.to(x), self.upper.to(x)

    def rows(self, which: Tensor) -> "InputBox":
        """The boxes of some examples."""
        return InputBox(self.lower[which], self.upper[which])

    def support(self, v: Tensor, x: Tensor) -> Tensor:
        """The largest <v, x'> over the box, (B, R), for v (B, R, *E)."""
        lower, upper = (end.unsqueeze(1) for end in self.hull(x))
        return torch.maximum(v * lower, v * upper).flatten(2).sum(dim=2)

    def contains(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """Whether points lie in the box, (B,), without tolerance."""
        lower, upper = self.hull(x_adv)
        return ((x_adv >= lower) & (x_adv <= upper)).flatten(1).all(dim=1)


class Bounding(Protocol):
    """A method that bounds rows of the outputs over a box."""

    def bound(self, model: Graph, x: Tensor, threat: InputBox, spec: Tensor) -> Bounds:
        """Bounds on spec @ outputs over the threat around x."""
        ...


class Bounded:
    """Boxes whose outputs any method bounds; it says nothing of where they should be cut.

    Args:
        method: of the bounds.
        graph: its outputs are the rows that are wanted.
    """

    def __init__(self, method: Bounding, graph: Graph):
        self.method, self.graph = method, graph
        self.sound = True

    def __call__(self, box: Box, known: Box | None = None) -> "BoundedBoxes":
        """The bounds of boxes (N, n)."""
        del known
        lower, upper = (end.reshape(-1, *self.graph.input_shape) for end in box)
        x = ((lower + upper) / 2).clamp(lower, upper)
        spec = torch.eye(*self.graph.output_shape * 2, dtype=lower.dtype, device=lower.device)
        bounds = self.method.bound(self.graph, x, InputBox(lower, upper), spec)
        self.sound = self.sound and bounds.sound
        return BoundedBoxes(bounds.lower, box.lower.shape[1])


@dataclass(frozen=True, eq=False)
class BoundedBoxes:
    """Bounds (N, R) without slopes."""

    lower: Tensor
    inputs: int

    @property
    def known(self) -> Box:
        """Nothing is handed on."""
        return Box(self.lower[:, :0], self.lower[:, :0])

    def outputs(self) -> tuple[Tensor, Tensor]:
        """The bounds, and no slopes."""
        return self.lower, self.lower.new_zeros(*self.lower.shape, self.inputs)

    def above(self, number: Tensor, row: Tensor) -> Tensor:
        """No slopes."""
        return self.lower.new_zeros(len(row), self.inputs)
