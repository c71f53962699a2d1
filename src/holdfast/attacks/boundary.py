"""The Boundary attack: a random walk along the decision boundary, towards the input.

From a point x_t where the model errs, at distance d_t = ||x_t - x||_2, propose

    u = x_t + s d_t n,   n normal, orthogonal to x_t - x, of unit length,
    u = x + d_t (u - x) / ||u - x||                    (the orthogonal step, back on the sphere)
    v = x + (1 - e) d_t (u - x) / ||u - x||            (the source step),

with u clipped to the box before the second, and move to v where the model errs there. s and e adapt
so that about half of the orthogonal steps, and a quarter of the whole, succeed.

Symbols: s = `orthogonal_step`, e = `source_step`.
Source: Brendel, Rauber and Bethge 2018, arXiv:1712.04248, algorithm 1 and sec 2.3 to 2.4.
Departures: s and e change a little after every answer, up after a success and down after a
    failure, in the proportion that keeps the wanted rate, instead of after windows of 30 and 100
    answers; the orthogonal step alone is asked about every `check_every` rounds; a start is
    first blended with the input, by bisection.
"""

import torch
from torch import Tensor

from holdfast.attacks.decisions import Decisions, adversarial_start, check_geometry
from holdfast.attacks.lanes import wide
from holdfast.attacks.lockstep import LockstepAttack, Oracle
from holdfast.core.random import Keys
from holdfast.core.recipes import Count, Positive, hyperparameters
from holdfast.core.tensors import norm, per_example
from holdfast.threats.box import Box
from holdfast.threats.protocol import Threat

_ORTHOGONAL_RATE, _SOURCE_RATE = 0.5, 0.25


@hyperparameters
class Boundary(LockstepAttack):
    """A walk along the boundary by rejection sampling, from decisions alone; minimum norm, L2.

    Args:
        queries: questions per example, besides the clean look and the final check.
        draws: noise inputs to try for a start, where none is given or it does not fool.
        orthogonal_step: first length of the orthogonal step, in multiples of the distance.
        source_step: first length of the step towards the input, in multiples of the distance.
        adaptation: how fast the lengths change: a success multiplies by e to this power, times
            one less the wanted rate.
        check_every: rounds between questions about the orthogonal step alone.

    Guarantee: only decisions are used: a model that answers with the one-hot vector of its decision
        gives the same walk; the smallest success asked about is returned.
    Cost: per example at most queries + 2 forwards, no backwards.
    Needs: decisions. With `targets`, a `start` of the target class, as noise rarely is.
    Source: Brendel, Rauber and Bethge 2018, arXiv:1712.04248.

    Example:
        >>> import torch
        >>> from holdfast.threats import L2
        >>> model = torch.nn.Linear(4, 2)
        >>> x = torch.full((1, 4), 0.5)
        >>> result = Boundary(queries=50).run(model, x, model(x).argmax(1), L2("inf"))
        >>> int(result.forwards) <= 52
        True
    """

    smallest = True

    queries: Count = 5000
    draws: Count = 100
    orthogonal_step: Positive = 0.1
    source_step: Positive = 0.1
    adaptation: Positive = 0.1
    check_every: Count = 10

    def check(self, threat: Threat) -> None:
        """Refuses what is not L2."""
        check_geometry(threat, (2.0,), "Boundary")

    def walk(self, oracle: Oracle) -> None:
        """Finds the boundary and walks along it until every budget is spent."""
        decisions, x = Decisions(oracle, self.queries), oracle.x
        point, found = adversarial_start(oracle, decisions, self.draws)
        around = torch.full_like(oracle.best_margin, self.orthogonal_step)
        towards = torch.full_like(oracle.best_margin, self.source_step)
        step = 0
        while bool((found & decisions.ready).any()):
            u, v = proposals(oracle, point, around, towards, step)
            if step % self.check_every == 0:
                asked = found & decisions.ready
                around = self._adapted(around, decisions.fooled(u, asked), asked, _ORTHOGONAL_RATE)
            asked = found & decisions.ready
            fooled = decisions.fooled(v, asked)
            towards = self._adapted(towards, fooled, asked, _SOURCE_RATE)
            closer = fooled & (norm(v - x, 2) < norm(point - x, 2))
            point = torch.where(wide(closer, point), v, point)
            step += 1

    def _adapted(self, length: Tensor, success: Tensor, asked: Tensor, rate: float) -> Tensor:
        """Step lengths after an answer, (b,); unchanged where nothing was asked."""
        change = torch.exp(self.adaptation * (success.to(length.dtype) - rate))
        return torch.where(asked, length * change, length).clamp(1e-7, 0.9)


def proposals(
    oracle: Oracle, point: Tensor, around: Tensor, towards: Tensor, step: int
) -> tuple[Tensor, Tensor]:
    """The orthogonal step from `point`, and the same with the step towards the input; (b, *E).

    Args:
        around: (b,) lengths of the orthogonal step, relative to the distance.
        towards: (b,) lengths of the source step, relative to the distance.
    """
    x, box = oracle.x, oracle.threat.box
    away = point - x
    distance = norm(away, 2)
    direction = orthogonal(away, oracle.keys.fold("walk"), step)
    u = away + per_example(around * distance, x) * direction
    u = _boxed(x + u * per_example(distance / norm(u, 2).clamp_min(1e-30), x), box)
    share = (1 - towards) * distance / norm(u - x, 2).clamp_min(1e-30)
    return u, _boxed(x + per_example(share.clamp_max(1.0), x) * (u - x), box)


def orthogonal(away: Tensor, keys: Keys, step: int) -> Tensor:
    """A random direction of unit length orthogonal to `away`, (b, *E)."""
    noise = keys.normal(away.shape[1:], step).to(away).flatten(1)
    flat = away.flatten(1)
    share = torch.linalg.vecdot(noise, flat) / torch.linalg.vecdot(flat, flat).clamp_min(1e-30)
    noise = noise - share[:, None] * flat
    length = torch.linalg.vector_norm(noise, dim=1, keepdim=True).clamp_min(1e-30)
    return (noise / length).view_as(away)


def _boxed(points: Tensor, box: Box | None) -> Tensor:
    return points if box is None else points.clamp(*box)
