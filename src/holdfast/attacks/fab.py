"""FAB, the fast adaptive boundary attack: small adversarial perturbations, step by step.

With x the clean input, x_i the iterate, and P(.) the nearest point in the box of the linearised
boundary at x_i,

    d_i = P(x_i) - x_i,   d_0 = P(x) - x,   a = min( ||d_i|| / (||d_i|| + ||d_0||), alpha_max )
    x_{i+1} = clip( (1 - a) (x_i + eta d_i) + a (x + eta d_0) )

An iterate that is adversarial is recorded and drawn back, x + beta (x_i - x), before the next
boundary is taken. The boundary is the nearest of all classes (FAB), or that of one likely class
after the other (FAB-T, one gradient per step).

Source: Croce and Hein 2020, arXiv:1907.02044, Alg 1 (its final search is not in the authors' code
    either); FAB-T: Croce and Hein 2020, arXiv:2003.01690, sec 5.
Departures: with a finite radius a run ends at its first success inside; the boundary is sought
among the leading `most_classes` other classes; random starts do not shrink with the best size found
(as in the authors' code); with `targets` the boundary is that of the target to the best other.
"""

import math
from typing import Annotated, Literal

import torch
from torch import Tensor

from holdfast.attacks.hyperplane import Hyperplanes
from holdfast.attacks.lanes import wide
from holdfast.attacks.linearised import (
    LinearisedAttack,
    Sight,
    aimed_boundary,
    leading_rivals,
    nearest_boundary,
)
from holdfast.attacks.protocol import Seen
from holdfast.attacks.rows import Rows
from holdfast.core.frozen import FrozenModel
from holdfast.core.recipes import Count, Fraction, Positive, Range, hyperparameters
from holdfast.core.tensors import norm, per_example
from holdfast.losses.margin import margin, others

_START_RADIUS = {math.inf: 0.3, 2.0: 1.0, 1.0: 5.0}
_LEAST = 1e-8


@hyperparameters
class FAB(LinearisedAttack):
    """The fast adaptive boundary attack, for Linf, L2 and L1.

    Args:
        steps: boundary steps of a run.
        restarts: runs from each start: the clean input, then random points.
        alpha_max: largest weight of the step from the clean input, which pulls iterates to it.
        eta: overshoot of a step, at least 1.
        beta: what is kept of an adversarial perturbation when it is drawn back.
        targeting: `none` seeks the nearest boundary of all classes; `multi` aims each run at one
            class, by clean logits from the largest down (FAB-T).
        most_targets: how many classes `multi` aims at.
        most_classes: how many other classes `none` considers at a point, by logit.
        start_radius: random starts have half this norm; None takes the radius, or where that is
            infinite 0.3 (Linf), 1 (L2), 5 (L1).

    Guarantee: success is re-checked; with a finite radius the first success inside, else the
        smallest found.
    Cost: per run 2 steps + 1 forwards, and backwards as many as steps (`multi`), times
        1 + min(K - 1, most_classes) for `none`. `multi` has restarts * min(K - 1, most_targets)
        runs, `none` has `restarts`.
    Needs: input gradients; a norm ball.

    Example:
        >>> import torch
        >>> from holdfast.threats import L2
        >>> model = torch.nn.Linear(4, 3)
        >>> x = torch.full((2, 4), 0.5)
        >>> y = model(x).argmax(dim=1)
        >>> result = FAB(steps=10).run(model, x, y, L2("inf"))
        >>> result.x_adv.shape
        torch.Size([2, 4])
    """

    steps: Count = 100
    restarts: Count = 1
    alpha_max: Fraction = 0.1
    eta: Annotated[float, Range(ge=1)] = 1.05
    beta: Annotated[float, Range(gt=0, lt=1)] = 0.9
    targeting: Literal["none", "multi"] = "none"
    most_targets: Count = 9
    most_classes: Count = 9
    start_radius: Positive | None = None

    def passes(self, classes: int | None) -> tuple[int, int]:
        """Two forwards, and a backward for each class whose gradient is needed."""
        if classes is None or self.targeting == "multi":
            return 2, 1
        return 2, min(classes, self.most_classes + 1)

    def runs(self, classes: int) -> int:
        """Restarts, times the classes aimed at."""
        if self.targeting == "none":
            return self.restarts
        return self.restarts * min(classes - 1, self.most_targets)

    def target(self, run: Tensor, y: Tensor, logits: Tensor) -> Tensor | None:
        """For `multi`, the wrong class whose turn it is, from the largest clean logit down."""
        if self.targeting == "none":
            return None
        wrong = others(logits, y).argsort(dim=1, descending=True, stable=True)
        return wrong.gather(1, (run // self.restarts).unsqueeze(1))[:, 0]

    def begin(self, rows: Rows) -> Tensor:
        """The clean input for the first of a target's runs, then random points."""
        rows.memory["base"] = rows.origin.clone()
        if self.restarts == 1:
            return rows.origin
        again = wide(rows.run % self.restarts > 0, rows.origin)
        return torch.where(again, self._random(rows), rows.origin)

    def observe(
        self, model: FrozenModel, rows: Rows, *, aimed: bool, classes: int | None = None
    ) -> Sight:
        """Logits at the points; gap and slope where the next step begins: at the point, or drawn
        back from it where it is adversarial."""
        del classes
        logits = model.logits(rows.point)
        if aimed and rows.target is not None:
            fooled = margin(logits, rows.target) > 0
        else:
            fooled = ~(margin(logits, rows.y) > 0)
        kept = torch.where(fooled & (rows.step > 0), self.beta, 1.0).to(rows.point)
        base = rows.origin.lerp(rows.point, wide(kept, rows.point))
        rows.memory["base"] = base
        if rows.target is None:
            rivals = leading_rivals(logits, rows.y, self.most_classes)
            _, gap, slope = nearest_boundary(model, base, rows.y, rivals, rows.threat.p)
        else:
            _, gap, slope = aimed_boundary(model, base, rows, aimed=aimed)
        return logits, gap, slope

    def advance(self, rows: Rows, seen: Seen) -> Tensor:
        """To the boundary linearised at the base, from there and from the clean input."""
        base, clean, slope = rows.memory["base"], rows.origin, seen.slope
        gap = torch.nan_to_num(seen.loss)
        clean_gap = gap + torch.linalg.vecdot(slope.flatten(1), (clean - base).flatten(1))
        box, boundary = rows.threat.box, Hyperplanes(slope, rows.threat.p)
        move, size = boundary.nearest_move(base, gap, box)
        clean_move, clean_size = boundary.nearest_move(clean, clean_gap, box)
        size, clean_size = size.clamp_min(_LEAST), clean_size.clamp_min(_LEAST)
        pull = (size / (size + clean_size)).clamp_max_(self.alpha_max)
        ahead = move.mul_(self.eta).add_(base)
        ahead = ahead.lerp_(clean_move.mul_(self.eta).add_(clean), wide(pull, ahead))
        return ahead if box is None else ahead.clamp_(*box)

    def _random(self, rows: Rows) -> Tensor:
        """Points at half the start radius from the clean input, in a random direction."""
        x, p, keys = rows.origin, rows.threat.p, rows.keys.fold("start")
        if p == math.inf:
            direction = keys.uniform(x.shape[1:], low=-1.0, high=1.0).to(x)
        else:
            direction = keys.normal(x.shape[1:]).to(x)
        radius = rows.threat.radius if self.start_radius is None else self.start_radius
        length = torch.as_tensor(radius, dtype=x.dtype, device=x.device)
        length = torch.where(length.isinf(), _START_RADIUS[p], length).expand(len(x)) / 2
        moved = x + direction * per_example(length / norm(direction, p), x)
        return moved if rows.threat.box is None else moved.clamp_(*rows.threat.box)


def fab_t(steps: Count = 100, most_targets: Count = 9) -> FAB:
    """FAB aimed at one likely wrong class after the other (FAB-T), as in AutoAttack.

    Args:
        steps: of each run.
        most_targets: how many classes are aimed at.
    """
    return FAB(steps=steps, targeting="multi", most_targets=most_targets)
