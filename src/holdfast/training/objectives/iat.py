"""IAT: adversarial training with a radius of each example's own, as large as the model can take.

    r_i = e_i + c   if the model withstands an attack of that radius,
          e_i       else if it withstands one of radius e_i,
          e_i - c   else (at least 0)
    e_i <- (1 - b) e_i + b r_i;    one weight step at an attack of radius r_i,
                                   or at x_i itself where the model is wrong already there

Symbols: e = the radius kept per example, at first the threat's; c = `increment`, b = `rate`.
Source: Balaji, Goldstein and Hoffman 2019, arXiv:1910.08051; Liu 2022, sec 4.3.5, Fig 4.23.
Departures: the second and third attack run on the examples that need them, where batch norm lets
them (`attack_mode` eval, while the thesis's code attacks in `train`). The clean inputs of the mixed
loss go through the network in one batch with the attacked ones.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from holdfast.attacks.catalogue import ATTACKS
from holdfast.attacks.pgd import PGD
from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.core.recipes import Fraction, From, Positive, Range, hyperparameters
from holdfast.core.results import ObjectiveResult
from holdfast.threats.base import Ball
from holdfast.threats.protocol import Threat
from holdfast.training.objectives.fitting import AttackMode, Smoothing, bare, fit, keys_or_content
from holdfast.training.objectives.pgd_at import InnerAttack
from holdfast.training.objectives.protocol import Passes
from holdfast.training.objectives.remembered import ball_of
from holdfast.training.visit import Visit, visit_of

_NAME = "radius"
_UNSET = -1.0


@hyperparameters
class IAT:
    """Instance-adaptive adversarial training.

    Args:
        attack: the inner maximiser, with a step relative to the radius; its first run counts.
        increment: c, in input units.
        rate: b, weight of the new radius.
        warmup: epochs of adversarial training at the threat's radius.
        largest: no radius is larger; None for no limit.
        mixed: whether examples that are wrong without attack are trained on without attack.
        attack_mode: batch norm in the attacks.
        label_smoothing: weight of the uniform distribution in the labels of the weight step.

    Guarantee: the inputs trained on lie in the box, and in the ball of the example's own radius,
        which may be larger than the threat's.
    Cost: at most 3 N + 4 forwards and 3 N + 1 backwards, N the attack's steps: examples that
        withstand the first attack need one, those that withstand the second two. Memory for one
        number per example.
    Needs: a visit; a norm ball with one radius.
    Source: Balaji et al. 2019; Liu 2022, sec 4.3.5.
    """

    attack: Annotated[InnerAttack, From(ATTACKS)] = PGD(steps=10, restarts=1, step_size="eps/4")
    increment: Positive = 1.9 / 255
    rate: Fraction = 0.1
    warmup: Annotated[int, Range(ge=0)] = 5
    largest: Positive | None = None
    mixed: bool = True
    attack_mode: AttackMode = "eval"
    label_smoothing: Smoothing = 0.0

    @property
    def passes(self) -> Passes:
        """At most: three attacks, the checks of two, the clean check, the weight step."""
        return Passes(3 * self.attack.steps + 3 + self.mixed, 3 * self.attack.steps + 1)

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
        """The loss of a batch; see `Objective.loss`."""
        del progress, state
        visit, keys = visit_of(visit, "IAT"), keys_or_content(keys, x)
        ball = ball_of(threat, "an example's own radius")
        radii = torch.as_tensor(ball.radius, dtype=x.dtype, device=x.device).expand(len(x))
        with FrozenModel(bare(model), mode=self.attack_mode, device=x.device) as frozen:
            trials = _Trials(self.attack, frozen, x, y, ball, keys)
            if visit.epoch < self.warmup:
                x_adv = trials.attacked(radii)
            else:
                x_adv, radii = self._adapted(trials, visit, radii)
        loss, logs = fit(model, x_adv, y, self.label_smoothing)
        return ObjectiveResult(loss, x_adv, logs | {"own_radius": radii.mean()})

    def _adapted(self, trials: "_Trials", visit: Visit, first: Tensor) -> tuple[Tensor, Tensor]:
        """The inputs to train on, (B, *E), and the radii of their attacks, (B,)."""
        own = visit.memory.read(_NAME, visit.places, fill=_UNSET).to(first)
        own = torch.where(own < 0, first, own)
        more = own + self.increment
        if self.largest is not None:
            more = more.clamp(max=self.largest)
        x_adv = trials.attacked(more)
        strong = trials.withstood(x_adv)
        x_adv = trials.again(x_adv, own, ~strong)
        enough = trials.withstood(x_adv)
        less = (own - self.increment).clamp_min(0)
        x_adv = trials.again(x_adv, less, ~enough)
        radii = torch.where(strong, more, torch.where(enough, own, less))
        visit.memory.write(_NAME, visit.places, (1 - self.rate) * own + self.rate * radii)
        if self.mixed:
            x_adv = torch.where(_beside(trials.withstood(trials.x), x_adv), x_adv, trials.x)
        return x_adv, radii


@dataclass(frozen=True, eq=False)
class _Trials:
    """Attacks of several radii on one batch."""

    attack: InnerAttack
    frozen: FrozenModel
    x: Tensor
    y: Tensor
    ball: Ball
    keys: Keys

    def attacked(self, radii: Tensor) -> Tensor:
        """The result of the attack with these radii (B,), (B, *E)."""
        return self._part(slice(None), radii)

    def again(self, x_adv: Tensor, radii: Tensor, which: Tensor) -> Tensor:
        """x_adv with the rows `which`, (B,) bool, replaced by attacks with these radii (B,)."""
        if self.frozen.mode != "eval":
            return torch.where(_beside(which, x_adv), self.attacked(radii), x_adv)
        rows = which.nonzero().squeeze(1)
        return x_adv.index_copy(0, rows, self._part(rows, radii)) if len(rows) else x_adv

    def withstood(self, points: Tensor) -> Tensor:
        """Whether the model is right there, (B,) bool."""
        labels = self.y if self.y.ndim == 1 else self.y.argmax(dim=1)
        return self.frozen.logits(points).argmax(dim=1) == labels

    def _part(self, rows: Tensor | slice, radii: Tensor) -> Tensor:
        threat = self.ball.at(radii[rows])
        x, y = self.x[rows], self.y[rows]
        return self.attack.perturb(self.frozen, x, y, threat, keys=self.keys[rows])


def _beside(which: Tensor, x: Tensor) -> Tensor:
    """One truth per example, (B,), in a shape that broadcasts over x (B, *E)."""
    return which.view(-1, *[1] * (x.ndim - 1))
