"""Mixup: an objective on convex combinations of examples and of their labels.

    lam ~ Beta(a, a), one per batch
    x' = lam x + (1 - lam) x_p,   y' = lam e_y + (1 - lam) e_(y_p)

p is a random permutation of the batch and e_y the label as probabilities. The mixed examples are
what the objective is given, so that its attack starts at the mixed input and maximises the mixed
loss, and the weight step minimises it: cross-entropy is linear in the probabilities,
CE(z, y') = lam CE(z, y) + (1 - lam) CE(z, y_p).

The symmetric Beta variable is Student's t in disguise: with U, V uniform and T = sqrt(2 a (U^(-1/a)
- 1)) cos(2 pi V), lam = 1/2 + T / (2 sqrt(2 a + T^2)) (Devroye 1996; Bailey 1994).

Symbols: a = `alpha`.
Source: Zhang et al. 2018, arXiv:1710.09412; Wong 2020, sec 4.4.2; Rice 2023, sec 2.3.6: a in {0.2,
    0.4, ..., 2}, best 1.4.
Departures: lam and p are functions of the examples' keys and not of their order; each process mixes
    its own part of a batch, with its own lam.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.core.recipes import From, Positive, hyperparameters
from holdfast.core.results import ObjectiveResult
from holdfast.threats.protocol import Threat
from holdfast.training.objectives.catalogue import OBJECTIVES
from holdfast.training.objectives.fitting import bare, keys_or_content
from holdfast.training.objectives.protocol import Objective, Passes, replays_of
from holdfast.training.visit import Visit

_CLASSES = "classes"


@hyperparameters
class Mixup:
    """An objective on mixed examples.

    Args:
        objective: what is trained on the mixed examples; one whose loss takes probabilities as
            labels.
        alpha: of the Beta distribution: 1 is uniform, towards 0 nothing is mixed, large halves.

    Guarantee: mixed inputs stay in the box; the result is that of the set of examples, in whatever
        order. Rows of the result are those of the mixed inputs.
    Cost: that of the objective, and once the forward pass of one example, to count the classes.
    Source: Wong 2020, sec 4.4.2.
    """

    objective: Annotated[Objective, From(OBJECTIVES)]
    alpha: Positive = 1.4

    @property
    def passes(self) -> Passes:
        """Those of the objective."""
        return self.objective.passes

    @property
    def replays(self) -> int:
        """How often the objective wants each batch; every time it is mixed alike."""
        return replays_of(self.objective)

    def loss(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        threat: Threat,
        *,
        progress: float,
        state: Mapping[str, Any] | None = None,
        keys: Keys | None = None,
        visit: Visit | None = None,
    ) -> ObjectiveResult:
        """The loss of a batch; see `Objective.loss`. Logged: `mixing`, the mean of lam."""
        keys = keys_or_content(keys, x)
        known = dict(state or {})
        classes = known.pop(_CLASSES, None) or _classes(model, x, y)
        factor, partner = mixture(keys.fold("mixup"), self.alpha)
        labels = one_hot(y, classes) if y.ndim == 1 else y
        result = self.objective.loss(
            model,
            mixed(x, factor, partner),
            mixed(labels.to(x.dtype), factor, partner),
            threat,
            progress=progress,
            state=known or None,
            keys=keys,
            visit=visit,
        )
        finish = result.finish
        return replace(
            result,
            logs={**result.logs, "mixing": factor},
            state=_with(result.state, classes),
            finish=None if finish is None else lambda: _with(finish(), classes),
        )


def mixture(keys: Keys, alpha: float) -> tuple[Tensor, Tensor]:
    """The factor lam of a batch, a float64 scalar, and the partner p of each example, (B,) int64.

    Guarantee: lam ~ Beta(alpha, alpha); p is a uniform permutation; permuting the keys leaves lam
        as it is and every example with its partner.
    """
    whole = Keys(keys.state.sum(dim=0, keepdim=True)).fold("factor")
    ranked = keys.fold("rank").bits(1)[:, 0].argsort()
    drawn = keys.fold("partner").bits(1)[:, 0][ranked].argsort()
    partner = torch.empty_like(ranked).scatter_(0, ranked, ranked[drawn])
    return symmetric_beta(whole.uniform((2,)), alpha)[0], partner


def symmetric_beta(uniform: Tensor, alpha: float) -> Tensor:
    """Beta(alpha, alpha), float64 (B,), from two uniform numbers each, (B, 2)."""
    u, v = uniform.to(torch.float64).unbind(dim=1)
    root = u.log() / alpha  # of U^(1/a); minus infinity where U is 0
    side = (2 * math.pi * v).cos()
    spread = -root.expm1() * side.square()  # T^2 U^(1/a) / 2a
    return 0.5 + 0.5 * side.sign() * (spread / (root.exp() + spread)).sqrt()


def mixed(rows: Tensor, factor: Tensor, partner: Tensor) -> Tensor:
    """lam rows + (1 - lam) rows_p, of the type of the rows (B, ...)."""
    return torch.lerp(rows[partner], rows, factor.to(rows.dtype))


def _classes(model: nn.Module, x: Tensor, y: Tensor) -> int:
    """The number of classes: of the labels if they are probabilities, else of an answer."""
    if y.ndim == 2:
        return y.shape[1]
    with FrozenModel(bare(model), device=x.device) as frozen:
        return frozen.logits(x[:1]).shape[1]


def _with(state: Mapping[str, Any] | None, classes: int) -> dict[str, Any]:
    return {**(state or {}), _CLASSES: classes}
