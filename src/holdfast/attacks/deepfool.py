"""DeepFool: step to the nearest linearised boundary until the class changes.

    x_{i+1} = clip( x_i + (1 + overshoot) r_i ),   r_i = (dist + 1e-4) v(slope)

with dist = |gap_j| / ||slope_j||_q smallest over the other classes j, and v the direction of norm 1
in which the gap closes fastest: slope / ||slope||_2 for L2, sign(slope) for Linf.

Source: Moosavi-Dezfooli, Fawzi and Frossard 2016, arXiv:1511.04599, Alg 2 and eq 10-12.
Departures: 1e-4 and the overshoot inside the loop as in the authors' code; iterates are clipped to
the box. For L1, which the paper does not treat, r_i leads to the nearest point of the boundary in
the box: the one largest coordinate would be clipped away. With more than `candidates` classes those
with the largest logits at the iterate are considered, not those at the clean input.
"""

from typing import Annotated

import torch
from torch import Tensor

from holdfast.attacks.hyperplane import Hyperplanes
from holdfast.attacks.linearised import (
    LinearisedAttack,
    Sight,
    aimed_boundary,
    all_rivals,
    leading_rivals,
    nearest_boundary,
)
from holdfast.attacks.protocol import Seen
from holdfast.attacks.rows import Rows
from holdfast.core.frozen import FrozenModel
from holdfast.core.recipes import Count, NonNegative, Range, hyperparameters
from holdfast.core.tensors import dual_exponent, norm
from holdfast.losses.margin import margin

_BEYOND = 1e-4


@hyperparameters
class DeepFool(LinearisedAttack):
    """DeepFool, for L2 and Linf (and L1).

    Args:
        steps: boundary steps at most.
        overshoot: what a step goes beyond the boundary, relative to its length.
        candidates: classes considered at a point, the label among them.

    Guarantee: success is re-checked; the answer is the first adversarial iterate.
    Cost: per step one forward and min(K, candidates) backwards; with more classes than candidates
        two forwards. Towards `targets` one of each.
    Needs: input gradients; a norm ball.

    Example:
        >>> import torch
        >>> from holdfast.threats import L2
        >>> model = torch.nn.Linear(4, 3)
        >>> x = torch.full((2, 4), 0.5)
        >>> y = model(x).argmax(dim=1)
        >>> result = DeepFool().run(model, x, y, L2("inf"))
        >>> result.x_adv.shape
        torch.Size([2, 4])
    """

    steps: Count = 50
    overshoot: NonNegative = 0.02
    candidates: Annotated[int, Range(ge=2)] = 10

    def passes(self, classes: int | None) -> tuple[int, int]:
        """A forward and a backward per class considered; a forward more to choose among many."""
        if classes is None:
            return 1, 1
        return (1, classes) if classes <= self.candidates else (2, self.candidates)

    def begin(self, rows: Rows) -> Tensor:
        """The clean input."""
        return rows.origin

    def observe(
        self, model: FrozenModel, rows: Rows, *, aimed: bool, classes: int | None = None
    ) -> Sight:
        """Logits, and gap and slope of the nearest boundary, or of that towards the target."""
        if rows.target is not None:
            return aimed_boundary(model, rows.point, rows, aimed=aimed)
        if classes is not None and classes <= self.candidates:
            rivals = all_rivals(rows.y, classes)
        else:
            rivals = leading_rivals(model.logits(rows.point), rows.y, self.candidates - 1)
        return nearest_boundary(model, rows.point, rows.y, rivals, rows.threat.p)

    def advance(self, rows: Rows, seen: Seen) -> Tensor:
        """Past the boundary; a point that is adversarial is the last."""
        box, p = rows.threat.box, rows.threat.p
        ahead = margin(seen.logits, rows.y) if rows.target is None else seen.margin
        done = ~(ahead > 0)
        rows.step = torch.where(done, self.steps - 1, rows.step)
        gap = torch.nan_to_num(seen.loss) - _BEYOND * norm(seen.slope, dual_exponent(p))
        boundary = Hyperplanes(seen.slope, p)
        move, _ = boundary.nearest_move(
            rows.point, gap.masked_fill(done, 0.0), box if p == 1 else None
        )
        moved = move.mul_(1 + self.overshoot).add_(rows.point)
        return moved if box is None else moved.clamp_(*box)
