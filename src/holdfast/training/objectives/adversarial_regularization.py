"""Adversarial regularization (AR): one perturbation for the label and for the answer.

    min_theta mean_i  max_d [ CE( f(x_i + d), y_i ) + lam D( p(x_i), p(x_i + d) ) ]

Against TRADES the labels are fitted at the perturbed inputs, and the attack climbs the whole loss.
lam = 0 is PGD adversarial training. The attack may start at x: the divergence has no gradient
there, and the first step is that of the cross-entropy.

Symbols: lam = `weight`, D = `divergence`.
Source: Zhang 2019 (thesis), sec 4.1.3, Alg. 3.
"""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Annotated, Any

from torch import Tensor, nn

from holdfast.attacks.catalogue import ATTACKS
from holdfast.attacks.pgd import PGD
from holdfast.core.errors import InputError
from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.core.recipes import From, NonNegative, hyperparameters
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
from holdfast.training.objectives.pgd_at import InnerAttack
from holdfast.training.objectives.protocol import Passes
from holdfast.training.objectives.regularising import STEP, both_logits, regularised
from holdfast.training.visit import Visit


@hyperparameters
class AR:
    """The worst sum of cross-entropy and divergence over the threat.

    Args:
        weight: lam; the thesis has its best robust accuracy at 5.
        attack: the inner maximiser, one with a loss, to which lam D is added; only its first run
            counts. In the thesis 10 steps of 0.007 at radius 0.03, from the clean input.
        divergence: D, in the attack and in the loss.
        joint_forward: clean and perturbed inputs share the forward pass of the weight step, and
            with it the statistics of batch norm.
        attack_mode: batch norm in the inner attack.
        label_smoothing: weight of the uniform distribution in the labels of the weight step.

    Guarantee: the inputs trained on lie in the threat; with weight 0 it is PGD adversarial training
        with the same attack, to the bit.
    Cost: N + 3 forwards and N + 2 backwards, N the attack's steps; with weight 0 N + 1 of each.
    Source: Zhang 2019 (thesis), Alg. 3.
    """

    weight: NonNegative = 5.0
    attack: Annotated[InnerAttack, From(ATTACKS)] = PGD(
        steps=10, restarts=1, step_size=STEP, start="clean"
    )
    divergence: Divergence = "kl"
    joint_forward: bool = False
    attack_mode: AttackMode = "eval"
    label_smoothing: Smoothing = 0.0

    def __post_init__(self) -> None:
        attack = self.attack
        if not is_dataclass(attack) or "loss" not in {each.name for each in fields(attack)}:
            name = type(attack).__name__
            raise InputError("attack", name, "has no loss to add to", "use pgd, fgsm or apgd")

    @property
    def passes(self) -> Passes:
        """The clean answer, the attack's steps, and the weight step on both inputs."""
        steps = self.attack.steps
        return Passes(steps + 3, steps + 2) if self.weight else Passes(steps + 1, steps + 1)

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
        del progress, state, visit
        x_adv = self.perturbed(model, x, y, threat, keys_or_content(keys, x))
        if not self.weight:
            loss, logs = fit(model, x_adv, y, self.label_smoothing)
            return ObjectiveResult(loss, x_adv, logs)
        clean, perturbed = both_logits(model, x, x_adv, joint=self.joint_forward)
        loss, logs = regularised(
            perturbed,
            y,
            clean,
            perturbed,
            divergence=self.divergence,
            weight=self.weight,
            label_smoothing=self.label_smoothing,
        )
        return ObjectiveResult(loss, x_adv, logs | {"unperturbed_accuracy": share_right(clean, y)})

    def perturbed(
        self, model: nn.Module, x: Tensor, y: Tensor, threat: Threat, keys: Keys
    ) -> Tensor:
        """The inputs (B, *E) that the inner attack ends on."""
        with FrozenModel(bare(model), mode=self.attack_mode, device=x.device) as frozen:
            attack: Any = self.attack
            if self.weight:
                clean = frozen.logits(x)
                whole = DivergenceFrom(clean, self.divergence, attack.loss, self.weight)
                attack = replace(attack, loss=whole)
            x_adv: Tensor = attack.perturb(frozen, x, y, threat, keys=keys)
            return x_adv
