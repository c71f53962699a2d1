"""TRADES: fit the clean inputs, and keep the answer the same over the threat.

    min_theta mean_i  CE( f(x_i), y_i ) + lam max_d D( p(x_i), p(x_i + d) )

with D = KL( p(x) || p(x + d) ), summed over classes. The inner attack climbs D, without labels; the
clean answer is computed once for all its steps. The weight step differentiates both answers.

Symbols: lam = `weight` (1/lambda of the paper, `beta` of its code), D = `divergence`.
Source: Zhang et al. 2019, arXiv:1901.08573; Zhang 2019 (thesis), sec 4.1.2, Alg. 2; Liu 2022,
sec 4.1.
Departures: Alg. 2 of the thesis starts at x itself, where D has no gradient and the attack stays;
the default is the start of the authors' code.
"""

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.attacks.attack import parse_step
from holdfast.attacks.pgd import PGD
from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.core.recipes import Count, NonNegative, hyperparameters
from holdfast.core.results import ObjectiveResult
from holdfast.losses.divergence import Divergence, DivergenceFrom
from holdfast.threats.protocol import Threat
from holdfast.training.objectives.fitting import (
    AttackMode,
    Smoothing,
    bare,
    fit,
    keys_or_content,
    share_right,
)
from holdfast.training.objectives.protocol import Passes
from holdfast.training.objectives.regularising import (
    STEP,
    Start,
    both_logits,
    first_point,
    regularised,
)
from holdfast.training.visit import Visit


@hyperparameters
class TRADES:
    """Clean cross-entropy plus the worst divergence of the answer over the threat.

    Args:
        weight: lam; 6 as published, 0 is ordinary training.
        steps: of the inner attack.
        step_size: in input units or relative, such as `eps/4`; 0.007 at radius 0.03.
        start: of the inner attack: `normal`, 0.001 N(0, I) around the clean input; `uniform`, the
            threat's random start; `clean`, the literal algorithm of the thesis, from where nothing
            moves (it warns).
        divergence: D, in the attack and in the loss.
        joint_forward: clean and perturbed inputs share the forward pass of the weight step, and
            with it the statistics of batch norm.
        attack_mode: batch norm in the inner attack.
        label_smoothing: weight of the uniform distribution in the labels.

    Guarantee: the inputs trained on lie in the threat; the attack leaves no gradient on weights;
        with weight 0 it is ordinary training to the bit.
    Cost: N + 3 forwards and N + 2 backwards, N the steps; with weight 0 one of each.
    Source: Zhang et al. 2019, Alg. 1.
    """

    weight: NonNegative = 6.0
    steps: Count = 10
    step_size: float | str = STEP
    start: Start = "normal"
    divergence: Divergence = "kl"
    joint_forward: bool = False
    attack_mode: AttackMode = "eval"
    label_smoothing: Smoothing = 0.0

    def __post_init__(self) -> None:
        parse_step(self.step_size, self.steps)
        if self.start == "clean":
            text = "TRADES(start='clean') has no gradient at its start and trains on clean inputs"
            warnings.warn(f"{text}; use start='normal'", stacklevel=4)

    @property
    def passes(self) -> Passes:
        """The clean answer, the attack's steps, and the weight step on both inputs."""
        return Passes(self.steps + 3, self.steps + 2) if self.weight else Passes(1, 1)

    @property
    def weight_passes(self) -> Passes:
        """The weight step on both inputs."""
        return Passes(2, 2) if self.weight else Passes(1, 1)

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
        x_adv: Tensor | None = None,
    ) -> ObjectiveResult:
        """The loss of a batch; see `Objective.loss`, and `AtPoints` for `x_adv`."""
        del progress, state, visit
        if not self.weight:
            loss, logs = fit(model, x, y, self.label_smoothing)
            return ObjectiveResult(loss, x, logs)
        if x_adv is None:
            x_adv = self.perturbed(model, x, threat, keys_or_content(keys, x))
        clean, perturbed = both_logits(model, x, x_adv, joint=self.joint_forward)
        loss, logs = regularised(
            clean,
            y,
            clean,
            perturbed,
            divergence=self.divergence,
            weight=self.weight,
            label_smoothing=self.label_smoothing,
        )
        return ObjectiveResult(
            loss, x_adv, logs | {"adversarial_accuracy": share_right(perturbed, y)}
        )

    def perturbed(self, model: nn.Module, x: Tensor, threat: Threat, keys: Keys) -> Tensor:
        """The inputs (B, *E) that the inner attack ends on: label-free, so for any x (B, *E)."""
        unread = torch.zeros(len(x), dtype=torch.int64, device=x.device)
        start = first_point(self.start, x, threat, keys)
        with FrozenModel(bare(model), mode=self.attack_mode, device=x.device) as frozen:
            away = DivergenceFrom(frozen.logits(x), self.divergence)
            attack = PGD(steps=self.steps, restarts=1, step_size=self.step_size, loss=away)
            return attack.perturb(frozen, x, unread, threat, keys=keys, start=start)
