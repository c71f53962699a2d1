"""Jacobian saliency map attack (JSMA): few features change, chosen greedily by what they do.

For a target class t, with alpha_i = dF_t / dx_i and beta_i = sum_{j != t} dF_j / dx_i, the attack
moves the features p (and q) of largest saliency by theta,

    S(p, q) = max(alpha_p + alpha_q, 0) * max(-(beta_p + beta_q), 0),

until the goal is reached, the allowed share of features has changed or no saliency is positive.
Features that have reached the box are left out. Moving down, alpha and beta change signs. A feature
with less than theta of room in the box counts with the share of theta that it has.

Symbols: Upsilon, the allowed share, is `most`; F are the logits or the probabilities.
Source: Papernot et al. 2016, arXiv:1511.07528, alg 2 and 3; Carlini and Wagner 2017,
arXiv:1608.04644, sec VII.B (on logits or probabilities).
Departures: the slopes weighed by the room, where the published ones treat a feature just below the
box as if it could go all the way; without targets the classes of the largest clean logits are tried
in turn, and any wrong answer ends a walk; with `both` each step takes the better direction; a
feature that went up never comes down again, nor the other way round.
"""

from collections.abc import Callable
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor

from holdfast.attacks.ddn import check_norm
from holdfast.attacks.lanes import wide
from holdfast.attacks.lockstep import LockstepAttack, Oracle
from holdfast.attacks.targets import likely
from holdfast.core.recipes import Count, Positive, Range, hyperparameters
from holdfast.losses.margin import at
from holdfast.threats.protocol import Threat

_ENTRIES = 2**22  # of a block of the table of pairs


@hyperparameters
class JSMA(LockstepAttack):
    """The saliency map attack for L0.

    Args:
        theta: how far a chosen feature moves in a step, in input units.
        most: share of the features that may change; the threat's radius bounds their number too.
        features: how many features move in a step, together.
        direction: whether they move up, down, or whichever is better.
        scores: what is differentiated.
        classes: how many of the nearest classes are tried, untargeted.
        steps: most steps of a walk.

    Guarantee: the success of fewest changed features over the classes tried; with a finite radius
        it ends at the first inside.
    Cost: per example and class two forwards and backwards for each step, one of both for the last.
        A step on n features compares n^2 / 2 pairs: for large images take `features=1`.
    Needs: input gradients; an L0 ball. The walk begins at a `start`.

    Example:
        >>> import torch
        >>> from holdfast.threats.l0 import L0
        >>> model = torch.nn.Linear(4, 2)
        >>> x, y = torch.full((1, 4), 0.5), torch.tensor([0])
        >>> JSMA(most=1.0).run(model, x, y, L0("inf")).x_adv.shape
        torch.Size([1, 4])
    """

    theta: Positive = 1.0
    most: Annotated[float, Range(gt=0, le=1)] = 0.145
    features: Literal[1, 2] = 2
    direction: Literal["up", "down", "both"] = "up"
    scores: Literal["logits", "probabilities"] = "probabilities"
    classes: Count = 1
    steps: Count = 1000
    smallest: ClassVar[bool] = True

    def check(self, threat: Threat) -> None:
        """Refuses threats other than L0."""
        check_norm(threat, (0.0,), "jsma")

    def walk(self, oracle: Oracle) -> None:
        """One walk towards each class tried."""
        if oracle.targets is not None:
            self._towards(oracle, oracle.targets)
            return
        for place in range(min(self.classes, oracle.classes - 1)):
            target = likely(torch.full_like(oracle.y, place), oracle.y, oracle.logits)
            self._towards(oracle, target)

    def _towards(self, oracle: Oracle, target: Tensor) -> None:
        """Moves features until the goal, the limit or the end of all saliency is reached."""
        point = oracle.x if oracle.start is None else oracle.start
        limit = torch.full_like(oracle.smallest_size, self.most * oracle.x[0].numel())
        limit = torch.minimum(limit, _column(oracle.threat.radius, limit))
        walking = oracle.open.clone()
        for step in range(self.steps + 1):
            seen = oracle.ask_gradient(point, walking, value=self._value(target, others=False))
            walking = walking & oracle.open & (seen.margin > 0)
            walking &= oracle.threat.size(point, oracle.x) < oracle.smallest_size
            if step == self.steps or not bool(walking.any()):
                return
            value = self._value(target, others=True)
            rest = oracle.ask_gradient(point, walking, value=value, keep=False)
            rows = walking.nonzero().flatten()
            slopes = seen.slope[rows], rest.slope[rows]
            moved = self._moved(*slopes, point[rows], oracle, rows, limit[rows])
            walking[rows] = (moved != point[rows]).flatten(1).any(dim=1)
            point = point.clone()
            point[rows] = moved

    def _value(self, target: Tensor, others: bool) -> Callable[[Tensor], Tensor]:
        """The target's score, or the sum of all others."""

        def value(logits: Tensor) -> Tensor:
            scores = logits if self.scores == "logits" else logits.softmax(dim=1)
            aimed = at(scores, target)
            return scores.sum(dim=1) - aimed if others else aimed

        return value

    def _moved(
        self,
        alpha: Tensor,
        beta: Tensor,
        point: Tensor,
        oracle: Oracle,
        rows: Tensor,
        limit: Tensor,
    ) -> Tensor:
        """The points (b, *E) after the most salient features moved; themselves where none are."""
        x, threat = oracle.x[rows], oracle.threat.rows(rows)
        low, high = threat.box or (-torch.inf, torch.inf)
        full = threat.size(point, x) + self.features > limit
        free = (point != x) | ~wide(full, x)
        alpha, beta = (each.flatten(1).nan_to_num() for each in (alpha, beta))
        best, step = torch.zeros_like(alpha[:, 0]), torch.zeros_like(alpha)
        for sign, name in ((1.0, "up"), (-1.0, "down")):
            if self.direction not in (name, "both"):
                continue
            room = (high - point) if sign > 0 else (point - low)
            allowed = (free & (room > 0) & (sign * (point - x) >= 0)).flatten(1)
            share = sign * (room.flatten(1) / self.theta).clamp(0.0, 1.0)
            score, *chosen = salient(share * alpha, share * beta, allowed, self.features)
            move = torch.zeros_like(step)
            for place in chosen:
                move.scatter_(1, place[:, None], sign * self.theta)
            step = torch.where((score > best)[:, None], move, step)
            best = torch.maximum(best, score)
        return (point + step.view_as(point)).clamp(low, high)


def salient(
    alpha: Tensor, beta: Tensor, allowed: Tensor, features: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The largest saliency of one feature, or of a pair, and the feature or both, (b,) each.

    Zero where no move of allowed features raises the target and lowers the others. Ties go to the
    first.

    Args:
        alpha: (b, n) slopes of the target's score.
        beta: (b, n) of the others' sum.
        allowed: (b, n) bool.
        features: 1 or 2.
    """
    alpha = alpha.masked_fill(~allowed, -torch.inf)
    if features == 1:
        score, place = (alpha.clamp_min(0.0) * (-beta).clamp_min(0.0)).max(dim=1)
        return score, place, place
    count, n = alpha.shape
    best = alpha.new_zeros(count)
    pair = torch.zeros(count, dtype=torch.int64, device=alpha.device)
    every = torch.arange(n, device=alpha.device)
    for first in torch.split(every, max(1, _ENTRIES // (count * n))):
        gain = (alpha[:, first, None] + alpha[:, None, :]).clamp_min_(0.0)
        loss = (beta[:, first, None] + beta[:, None, :]).neg_().clamp_min_(0.0)
        table = gain.mul_(loss)
        table[:, every[: len(first)], first] = 0.0
        score, place = table.flatten(1).max(dim=1)
        better = score > best
        best = torch.where(better, score, best)
        pair = torch.where(better, place + first[0] * n, pair)
    return best, pair // n, pair % n


def _column(radius: float | Tensor, like: Tensor) -> Tensor:
    """A radius, one for all or one per example, as (b,)."""
    return torch.as_tensor(radius, dtype=like.dtype, device=like.device).expand_as(like)
