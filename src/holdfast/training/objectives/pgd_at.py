"""PGD adversarial training: an inner attack of several steps, then one weight step at its result.

    min_theta mean_i  L( f_theta(x_i + d_i), y_i ),   d_i = the attack's last iterate

The gradient of the weights is taken at the perturbed inputs, held fixed (Danskin).

Source: Madry et al. 2018, arXiv:1706.06083; Wong 2020, sec 4.1, Alg. 5; Rice 2023, sec 2.2, Alg. 2.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Protocol, runtime_checkable

from torch import Tensor, nn

from holdfast.attacks.catalogue import ATTACKS
from holdfast.attacks.pgd import PGD
from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.core.recipes import From, hyperparameters
from holdfast.core.results import ObjectiveResult
from holdfast.threats.protocol import Threat
from holdfast.training.objectives.fitting import AttackMode, Smoothing, bare, fit, keys_or_content
from holdfast.training.objectives.protocol import Passes
from holdfast.training.visit import Visit


@runtime_checkable
class InnerAttack(Protocol):
    """An attack that perturbs a whole batch by a fixed number of steps."""

    @property
    def steps(self) -> int:
        """Gradient steps."""
        ...

    def perturb(
        self, frozen: FrozenModel, x: Tensor, y: Tensor, threat: Threat, *, keys: Keys
    ) -> Tensor:
        """The last iterate, (B, *E)."""
        ...


@hyperparameters
class PGDAT:
    """Adversarial training with PGD, or with any attack that perturbs a batch.

    Args:
        attack: the inner maximiser; only its first run counts.
        attack_mode: batch norm while it runs; `train`, as in the theses' code, lets its passes
            update the running statistics.
        label_smoothing: weight of the uniform distribution in the labels of the weight step.

    Guarantee: the inputs trained on lie in the threat; the attack leaves no gradient on weights.
    Cost: N + 1 forwards and backwards, N the attack's steps.
    Source: Madry et al. 2018; Wong 2020, sec 4.1.
    """

    attack: Annotated[InnerAttack, From(ATTACKS)] = PGD(steps=10, restarts=1, step_size="eps/4")
    attack_mode: AttackMode = "train"
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
        """The loss of a batch; see `Objective.loss`."""
        del progress, state, visit
        with FrozenModel(bare(model), mode=self.attack_mode, device=x.device) as frozen:
            x_adv = self.attack.perturb(frozen, x, y, threat, keys=keys_or_content(keys, x))
        loss, logs = fit(model, x_adv, y, self.label_smoothing)
        return ObjectiveResult(loss, x_adv, logs)
