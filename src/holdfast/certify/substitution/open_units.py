"""The lines of a ReLU node, computed where the sign is open and known elsewhere.

Of thousands of units a few dozen are open. Lines of these are computed on a flat list, and put into
tables that hold 1 or 0 elsewhere:

    z >= 0 on the box     op(z) = z        slopes 1, intercepts 0
    z <= 0 on the box     op(z) = 0        slopes 0, intercepts 0

Source: Wong and Kolter 2018, arXiv 1711.00851, sec 3 (the sets I+, I- and I).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from holdfast.certify.operators.lines import Lines
from holdfast.certify.operators.structural import ReLU
from holdfast.certify.rounding import Box


@dataclass(frozen=True, eq=False)
class OpenUnits:
    """A ReLU node around a batch of images.

    Args:
        on: where the unit is its input, (B, *shape).
        index: of the open units, one tensor per axis.
        fixed: their parallel lines, (n,).
        adaptive: their adaptive lines, (n,).
    """

    on: Tensor
    index: tuple[Tensor, ...]
    fixed: Lines
    adaptive: Lines

    @classmethod
    def of(cls, op: ReLU, box: Box) -> "OpenUnits":
        """The open units of what the node reads; a box with NaN is open."""
        index = op.undecided(box).nonzero(as_tuple=True)
        mine = Box(*(end[index] for end in box))
        adaptive = op.lines(mine)
        fixed = adaptive._replace(lower_slope=adaptive.upper_slope)
        return cls(box.lower >= 0, index, fixed, adaptive)

    def tables(self, dtype: torch.dtype) -> tuple[Lines, Lines]:
        """The parallel and the adaptive lines of all units, (B, *shape)."""
        on = self.on.to(dtype)
        zero = torch.zeros_like(on)
        slope = self.put(on, self.adaptive.upper_slope)
        intercept = self.put(zero, self.adaptive.upper_intercept)
        below = self.put(on, self.adaptive.lower_slope)
        return Lines(slope, zero, slope, intercept), Lines(below, zero, slope, intercept)

    def put(self, table: Tensor, found: Tensor) -> Tensor:
        """A table with other numbers at the open units."""
        return table.index_put(self.index, found.to(table.dtype))
