"""GAIRAT: adversarial training in which examples near the decision boundary count more.

    u_i = ( 1 + tanh( l + 5 (1 - 2 k_i / K) ) ) / 2
    sum_i u_i CE( f(x_i'), y_i ) / sum_i u_i

with x_i' the result of K steps of PGD and k_i the first of its iterates 0 .. K - 1 that the model
gets wrong, K if there is none. The weights hide gradients: accuracy under PGD rises, under stronger
attacks it does not.

Symbols: u = weight of the example; l = `shift`, K = `steps`.
Source: Zhang et al. 2021, arXiv:2010.01736; Liu 2022, sec 4.3.5 (as a negative control).
Departures: the released code counts the iterates that the model gets right, which is k_i unless a
wrong answer turns right again. Weights are normalised within one process's part of a batch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from holdfast.attacks.attack import parse_step
from holdfast.attacks.pgd import PGD
from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.core.recipes import Count, Range, hyperparameters
from holdfast.core.results import ObjectiveResult
from holdfast.losses.cross_entropy import cross_entropy
from holdfast.threats.protocol import Threat
from holdfast.training.objectives.fitting import AttackMode, bare, keys_or_content, share_right
from holdfast.training.objectives.protocol import Passes
from holdfast.training.objectives.soft_targets import mean_weight, weighted_fit
from holdfast.training.visit import Visit, visit_of


@hyperparameters
class GAIRAT:
    """Geometry-aware instance-reweighted adversarial training.

    Args:
        shift: l, which moves the weights towards 1 (large) or 0.
        burn_in: epochs in which all examples count alike.
        steps: K, of the inner attack, from the threat's random start.
        step_size: in input units or relative, such as `eps/4`.
        attack_mode: batch norm in the inner attack.

    Guarantee: the inputs trained on lie in the threat; in the burn-in the loss is that of PGD
        adversarial training to the bit.
    Cost: N + 1 forwards and backwards, N the steps.
    Needs: a visit, unless `burn_in` is 0.
    Source: Zhang et al. 2021 and its released code (shift; burn-in of 60 of 120 epochs).
    """

    shift: float = -1.0
    burn_in: Annotated[int, Range(ge=0)] = 60
    steps: Count = 10
    step_size: float | str = "eps/4"
    attack_mode: AttackMode = "eval"

    def __post_init__(self) -> None:
        parse_step(self.step_size, self.steps)

    @property
    def passes(self) -> Passes:
        """The attack's steps, and one pass through the weights."""
        return Passes(self.steps + 1, self.steps + 1)

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
        alike = self.burn_in > 0 and visit_of(visit, "GAIRAT").epoch < self.burn_in
        watched = Watched()
        attack = PGD(steps=self.steps, restarts=1, step_size=self.step_size, loss=watched)
        with FrozenModel(bare(model), mode=self.attack_mode, device=x.device) as frozen:
            x_adv = attack.perturb(frozen, x, y, threat, keys=keys_or_content(keys, x))
        logits = model(x_adv.clone())
        weights = None if alike else self.weights(watched.first_wrong()).to(logits.dtype)
        loss = weighted_fit(logits, y, weights)
        logs = {"loss": loss.detach(), "accuracy": share_right(logits, y)}
        logs["weight"] = mean_weight(weights, loss)
        return ObjectiveResult(loss, x_adv, logs)

    def weights(self, first_wrong: Tensor) -> Tensor:
        """The weights in (0, 1), not normalised, of examples first wrong at an iterate, (B,)."""
        share = first_wrong / self.steps
        return torch.sigmoid(2 * (self.shift + 5 * (1 - 2 * share)))  # as (1 + tanh(.)) / 2


@dataclass(frozen=True, eq=False)
class Watched:
    """Cross-entropy that notes which of its rows are right, each time it is asked.

    Args:
        right: (B,) bool, one for each time.
    """

    right: list[Tensor] = field(default_factory=list)

    def __call__(self, logits: Tensor, y: Tensor, target: Tensor | None = None) -> Tensor:
        """The losses, (B,)."""
        labels = y if y.ndim == 1 else y.argmax(dim=1)
        self.right.append(logits.detach().argmax(dim=1) == labels)
        return cross_entropy(logits, y, target)

    def first_wrong(self) -> Tensor:
        """How often each row was right before it was first wrong, (B,)."""
        return torch.stack(self.right).int().cumprod(dim=0).sum(dim=0)
