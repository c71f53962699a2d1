"""Adversarial fine-tuning that spares hard examples, for use with additional data.

    sum_i u_i [ CE( f(x_i'), y_i ) + lam KL( p(x_i) || p(x_i') ) ],     sum_i u_i = 1

with x_i' from PGD, u_i proportional to the probability that the label has at x_i' (no gradient), or
equal. A robust model goes on with a small fixed rate for a few passes over the additional data, and
each batch is half of the original data.

Symbols: u = weight of the example; lam = `weight`, p = softmax of the logits f.
Source: Liu 2022, sec 4.3.5, Table 4.7 (RW, KL, RW + KL); Liu et al. 2021, arXiv:2112.07324.
Departures: the released code weights by the largest clean probability, through which the gradient
flows; that is the option `clean-max`. Weights are normalised within one process's part of a batch.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from torch import Tensor, nn
from torch.nn.functional import cross_entropy, softmax

from holdfast.attacks.catalogue import ATTACKS
from holdfast.attacks.pgd import PGD
from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.core.recipes import From, NonNegative, hyperparameters
from holdfast.core.results import ObjectiveResult
from holdfast.losses.divergence import kl
from holdfast.threats.protocol import Threat
from holdfast.training.objectives.fitting import AttackMode, bare, keys_or_content, share_right
from holdfast.training.objectives.pgd_at import InnerAttack
from holdfast.training.objectives.protocol import Passes
from holdfast.training.objectives.soft_targets import mean_weight, true_probability, weighted
from holdfast.training.visit import Visit


@hyperparameters
class ReweightedTuning:
    """Adversarial training with reweighting (RW), a divergence from the clean answer (KL), or both.

    Args:
        reweight: `none`; `adversarial`, by the label's probability under attack; `clean-max`, by
            the largest probability without attack, as the released code does.
        weight: lam; 6 as published, 0 leaves the divergence and the clean pass out.
        attack: the inner maximiser; only its first run counts.
        attack_mode: batch norm in the attack; `train`, as in the thesis's code, lets its passes
            update the running statistics.

    Guarantee: the inputs trained on lie in the threat; with neither, the loss of PGD adversarial
        training.
    Cost: N + 1 forwards and backwards, N the attack's steps; one more of each for the clean answer.
    Source: Liu 2022, sec 4.3.5, Table 4.7.
    """

    reweight: Literal["none", "adversarial", "clean-max"] = "adversarial"
    weight: NonNegative = 6.0
    attack: Annotated[InnerAttack, From(ATTACKS)] = PGD(steps=10, restarts=1, step_size="eps/4")
    attack_mode: AttackMode = "train"

    @property
    def passes(self) -> Passes:
        """The attack's steps, and the weight step on attacked and maybe on clean inputs."""
        count = self.attack.steps + 1 + self.asks_clean
        return Passes(count, count)

    @property
    def asks_clean(self) -> bool:
        """Whether the weight step sees the clean inputs as well."""
        return self.weight > 0 or self.reweight == "clean-max"

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
        clean = model(x.clone()) if self.asks_clean else None
        logits = model(x_adv.clone())
        weights = self._weights(clean, logits, y)
        losses = cross_entropy(logits, y, reduction="none")
        logs = {"accuracy": share_right(logits, y)}
        if self.weight > 0 and clean is not None:
            away = kl(logits, clean)
            losses = losses + self.weight * away
            logs["divergence"] = away.detach().mean()
        loss = weighted(losses, weights)
        if self.reweight != "none":
            logs["weight"] = mean_weight(weights, loss)
        return ObjectiveResult(loss, x_adv, logs | {"loss": loss.detach()})

    def _weights(self, clean: Tensor | None, perturbed: Tensor, y: Tensor) -> Tensor | None:
        """The weights (B,), not normalised; None where all count alike."""
        if self.reweight == "none":
            return None
        if self.reweight == "clean-max" and clean is not None:
            return softmax(clean, dim=1).amax(dim=1)
        return true_probability(perturbed.detach(), y)
