"""Adversarial training at corners of the ball: PGD with every moved coordinate at its bound.

    d_i = eps sign( x_pgd - x )_i,   then the box

A control experiment: if it were diversity inside the ball that keeps single-step training from
collapsing, training at corners of a PGD attack would collapse. It does not.

Source: Andriushchenko 2024, sec 2.4 (Andriushchenko and Flammarion 2020, arXiv:2007.02617).
Departures: none by default; coordinates that PGD did not move may go to a random side.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn

from holdfast.attacks.attack import step_length
from holdfast.attacks.catalogue import ATTACKS
from holdfast.attacks.pgd import PGD
from holdfast.core.errors import UnsupportedThreat
from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.core.recipes import From, hyperparameters
from holdfast.core.results import ObjectiveResult
from holdfast.threats.balls import Linf
from holdfast.threats.protocol import Threat
from holdfast.training.objectives.fitting import AttackMode, Smoothing, bare, fit, keys_or_content
from holdfast.training.objectives.pgd_at import InnerAttack
from holdfast.training.objectives.protocol import Passes
from holdfast.training.visit import Visit


@hyperparameters
class CornerPGDAT:
    """Adversarial training with an attack whose result is pushed to a corner of the l_inf ball.

    Args:
        attack: the inner maximiser; only its first run counts.
        attack_mode: batch norm while it runs; `train`, as published, lets its passes update the
            running statistics.
        unmoved: coordinates that the attack left where they were `stay`, or go to a `random` side.
        label_smoothing: weight of the uniform distribution in the labels of the weight step.

    Guarantee: the inputs trained on lie in the threat; every coordinate that the attack moved is
        at the bound of the ball, or of the box where that is nearer.
    Cost: N + 1 forwards and backwards, N the attack's steps.
    Needs: an l_inf threat.
    Source: Andriushchenko 2024, sec 2.4.
    """

    attack: Annotated[InnerAttack, From(ATTACKS)] = PGD(
        steps=10, restarts=1, step_size="eps/5", start="clean"
    )
    attack_mode: AttackMode = "train"
    unmoved: Literal["stay", "random"] = "stay"
    label_smoothing: Smoothing = 0.0

    @property
    def passes(self) -> Passes:
        """The attack's steps, and one pass through the weights."""
        return Passes(self.attack.steps + 1, self.attack.steps + 1)

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
        """The loss of a batch; see `Objective.loss`.

        Raises:
            UnsupportedThreat: the threat is not l_inf.
        """
        del progress, state, visit
        if not isinstance(threat, Linf):
            name = type(threat).__name__
            raise UnsupportedThreat(f"corner-pgd needs an l_inf ball, not {name}; use pgd-at")
        keys = keys_or_content(keys, x)
        with FrozenModel(bare(model), mode=self.attack_mode, device=x.device) as frozen:
            found = self.attack.perturb(frozen, x, y, threat, keys=keys)
        direction = found - x
        if self.unmoved == "random":
            side = keys.fold("corner").sign(x.shape[1:]).to(x.dtype)
            direction = torch.where(direction == 0, side, direction)
        x_adv = corner(threat, x, direction)
        loss, logs = fit(model, x_adv, y, self.label_smoothing)
        return ObjectiveResult(loss, x_adv, logs)


def corner(threat: Linf, x: Tensor, direction: Tensor) -> Tensor:
    """The corner of the ball around x (B, *E) on the side of a direction, in the box; coordinates
    with direction 0 stay."""
    return threat.project(x + threat.steepest(direction, step_length("eps", threat, 1)), x)
