"""alpha-CROWN: linear bounds whose free slopes are optimised.

A ReLU with l < 0 < u has a lower line alpha z for any alpha in [0, 1]; every choice is sound, so
that gradient ascent on the bound itself may look for the best one:

    alpha <- clamp(alpha + Adam step on d bound / d alpha, 0, 1)

Each row of the specification has slopes of its own. The ascent begins at CROWN's slopes, and the
best bound met on the way is kept: it is never below CROWN. Boxes of the nodes in between stay as
CROWN finds them. Rows that are positive are not optimised.

Source: Xu et al. 2021, arXiv 2011.13824; by duality this is the fixed-box dual of Wong and Kolter
    2018, Theorem 1, with free alpha.
Departure: the slopes of the boxes in between are not optimised.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.certify.bounds.linear import Linear
from holdfast.certify.operators.relaxation import Lines, first_slope, lines_of
from holdfast.certify.substitution.backward import lower
from holdfast.certify.substitution.relaxed import Relaxed
from holdfast.certify.substitution.rows import Dense, Memo
from holdfast.certify.substitution.schedule import Inner, Known, pieces
from holdfast.core.recipes import Count, Fraction, Positive, hyperparameters


@hyperparameters
class AlphaCrown(Linear):
    """CROWN with optimised lower slopes.

    Args:
        steps: of the ascent.
        step_size: of Adam, in slopes.
        decay: factor on the step size after each step.

    Guarantee: as `Dual`; never below `CROWN` of the same mode and schedule.
    Cost: that of CROWN, and for each row that it leaves open `steps` pulls with gradients.
    Needs: as `Dual`; gradients of the bound are its own affair.
    Source: Xu et al. 2021, arXiv 2011.13824, sec 3.1.
    """

    steps: Count = 20
    step_size: Positive = 0.1
    decay: Fraction = 0.98
    _inner: ClassVar[Inner] = "adaptive"
    _deployable: ClassVar[bool] = True

    def _final(self, known: Known, rows: Tensor, image: Tensor) -> Tensor:
        """Lower bounds (N,) of a list of rows (N, K): CROWN's, and where not positive better."""
        best = super()._final(known, rows, image)
        left = (~(best > 0)).nonzero().squeeze(1)
        if not len(left):
            return best
        relaxed = known.adaptive
        place = len(relaxed.graph.nodes) - 1
        one = Dense(rows[left[:1]])
        memory = max(1, self.memory // (2 + len(relaxed.lines)))
        for part in pieces(relaxed, one, image[left], place, memory):
            chosen = left[part]
            own = Separate.of(relaxed, image[chosen])
            best[chosen] = self._ascended(own, Dense(rows[chosen]), best[chosen])
        return best

    def _ascended(self, own: "Separate", rows: Dense, best: Tensor) -> Tensor:
        """The best bound of each row on the way up."""
        slopes = own.first_slopes()
        size = self.step_size
        optimiser = torch.optim.Adam(slopes.values(), lr=size)
        with torch.enable_grad():
            for step in range(self.steps + 1):
                found = own.bound(rows, slopes)
                best = torch.maximum(best, found.detach())
                if step == self.steps or bool((best > 0).all()):
                    break
                gradients = torch.autograd.grad(-found.sum(), list(slopes.values()))
                for slope, gradient in zip(slopes.values(), gradients, strict=True):
                    slope.grad = gradient
                optimiser.step()
                with torch.no_grad():
                    for slope in slopes.values():
                        slope.clamp_(0.0, 1.0)
                optimiser.param_groups[0]["lr"] *= self.decay
        return best


@dataclass(frozen=True, eq=False)
class Separate:
    """A relaxation with tables of their own for each row of a list.

    Args:
        relaxed: boxes by row, lines of nodes whose slopes are not free.
    """

    relaxed: Relaxed

    @classmethod
    def of(cls, relaxed: Relaxed, image: Tensor) -> "Separate":
        """The tables of each row's image (N,)."""
        return cls(relaxed.chosen(image))

    def first_slopes(self) -> dict[int, Tensor]:
        """The slopes of the adaptive lines, by place, to be optimised."""
        found = {}
        for place in self.relaxed.lines:
            node = self.relaxed.graph.nodes[place]
            box = self.relaxed.boxes[node.inputs[0]]
            found[place] = first_slope(node.op, box).requires_grad_()
        return found

    def bound(self, rows: Dense, slopes: dict[int, Tensor]) -> Tensor:
        """The lower bounds (N,) of rows of the graph's output, differentiable in the slopes."""
        lines: dict[int, Lines] = {}
        for place, slope in slopes.items():
            node = self.relaxed.graph.nodes[place]
            lines[place] = lines_of(node.op, self.relaxed.boxes[node.inputs[0]], slope=slope)
        image = torch.arange(len(rows.values), device=rows.values.device)
        free = replace(self.relaxed, lines=lines, memo=Memo())
        return lower(free, rows, image, len(self.relaxed.graph.nodes) - 1)
