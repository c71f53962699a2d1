"""Logit pairing and logit squeezing: logits drawn together, or kept small.

    ALP   mean_i L(f(x_i), y_i) + lam (1/m) sum_i ||f(x_i') - f(x_i)||_2,   x_i' = the attack's
    CLP   mean_i L(z_i, y_i) + lam (2/m) sum_{i <= m/2} ||z_i - z_{i+m/2}||_2
    LSQ   mean_i L(z_i, y_i) + lam (1/m) sum_i ||z_i||_2,        z_i = f(x_i + sigma n_i)

with n_i standard normal. The last two make the loss flat and rugged around the data, so that an
attack with few steps or one start fails; a strong one finds that little was won. The first leaves
the min-max problem where the labels are fitted on clean inputs. They are baselines on which an
evaluation shows whether it can be deceived.

Symbols: lam = `weight`, z = logits, m = the size of the batch.
Source: Kannan, Kurakin and Goodfellow 2018, arXiv:1803.06373; ALP: Zhang 2019 (thesis), sec 2.2.
What they hide: Engstrom, Ilyas and Athalye 2018, arXiv:1807.10272; Mosbach et al. 2018,
arXiv:1810.12042; Andriushchenko 2024, Table 3.6.
Departures: the noisy inputs are not clipped to the box. Pairs are random as the batches are: i goes
with i + m/2, and the last example of an odd batch has no partner; processes that share a batch
pair each its own examples.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from holdfast.attacks.catalogue import ATTACKS
from holdfast.attacks.pgd import PGD
from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.core.recipes import From, NonNegative, hyperparameters
from holdfast.core.results import ObjectiveResult
from holdfast.threats.protocol import Threat
from holdfast.training.objectives.fitting import AttackMode, bare, keys_or_content, share_right
from holdfast.training.objectives.pgd_at import InnerAttack
from holdfast.training.objectives.protocol import Passes
from holdfast.training.objectives.regularising import STEP, both_logits
from holdfast.training.visit import Visit


@hyperparameters
class ALP:
    """Adversarial logit pairing: the logits of a perturbed input are drawn to the clean ones.

    Args:
        weight: lam, of the mean distance.
        attack: the inner maximiser of its own loss, not of the distance; only its first run counts.
        fitted_on: where the labels are fitted: `clean`, as the thesis has it; `adversarial`;
            `both`, half and half, as the original paper does.
        squared: whether distances are squared.
        joint_forward: clean and perturbed inputs share the forward pass of the weight step, and
            with it the statistics of batch norm.
        attack_mode: batch norm in the inner attack.

    Guarantee: the inputs perturbed lie in the threat; none of robustness.
    Cost: N + 2 forwards and backwards, N the attack's steps.
    Source: Kannan et al. 2018, arXiv:1803.06373; Zhang 2019 (thesis), sec 2.2.
    """

    weight: NonNegative = 0.5
    attack: Annotated[InnerAttack, From(ATTACKS)] = PGD(
        steps=10, restarts=1, step_size=STEP, start="clean"
    )
    fitted_on: Literal["clean", "adversarial", "both"] = "clean"
    squared: bool = False
    joint_forward: bool = False
    attack_mode: AttackMode = "eval"

    @property
    def passes(self) -> Passes:
        """The attack's steps, and the weight step on both inputs."""
        return Passes(self.attack.steps + 2, self.attack.steps + 2)

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
        clean, perturbed = both_logits(model, x, x_adv, joint=self.joint_forward)
        penalty = _mean_size(perturbed - clean, self.squared)
        loss = self._fit(clean, perturbed, y) + self.weight * penalty
        logs = {
            "loss": loss.detach(),
            "penalty": penalty.detach(),
            "accuracy": share_right(clean, y),
            "adversarial_accuracy": share_right(perturbed, y),
        }
        return ObjectiveResult(loss, x_adv, logs)

    def _fit(self, clean: Tensor, perturbed: Tensor, y: Tensor) -> Tensor:
        if self.fitted_on == "both":
            return (cross_entropy(clean, y) + cross_entropy(perturbed, y)) / 2
        return cross_entropy(clean if self.fitted_on == "clean" else perturbed, y)


@hyperparameters
class _OnNoise(ABC):
    """What CLP and LSQ share: the noisy inputs and the sum of fit and penalty.

    Args:
        weight: of the penalty.
        sigma: standard deviation of the noise, in input units.
        squared: whether norms are squared.
    """

    weight: NonNegative = 0.5
    sigma: NonNegative = 0.5
    squared: bool = False

    @property
    def passes(self) -> Passes:
        """One pass through the weights."""
        return Passes(1, 1)

    @abstractmethod
    def penalty(self, logits: Tensor) -> Tensor:
        """The scalar that is added with `weight`; logits (B, K)."""

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
        del threat, progress, state, visit
        noise = keys_or_content(keys, x).fold("noise").normal(x.shape[1:])
        noisy = x + self.sigma * noise.to(x.dtype)
        logits = model(noisy.clone())
        penalty = self.penalty(logits)
        loss = cross_entropy(logits, y) + self.weight * penalty
        logs = {"loss": loss, "penalty": penalty, "accuracy": share_right(logits, y)}
        return ObjectiveResult(loss, noisy, {name: each.detach() for name, each in logs.items()})


@hyperparameters
class CLP(_OnNoise):
    """Clean logit pairing: the logits of unrelated examples are drawn together.

    Args:
        weight: lam, of the pairs' mean distance.
        sigma: standard deviation of the noise, in input units.
        squared: whether distances are squared.

    Guarantee: none of robustness; the noise of an example is a function of its keys.
    Cost: 1 forward and 1 backward.
    Source: Kannan et al. 2018, arXiv:1803.06373.
    """

    def penalty(self, logits: Tensor) -> Tensor:
        """The mean distance of the pairs; 0 for a batch of one."""
        half = len(logits) // 2
        return _mean_size(logits[:half] - logits[half : 2 * half], self.squared)


@hyperparameters
class LSQ(_OnNoise):
    """Logit squeezing: the logits are kept small.

    Args:
        weight: lam, of the mean norm.
        sigma: standard deviation of the noise, in input units.
        squared: whether norms are squared.

    Guarantee: none of robustness; the noise of an example is a function of its keys.
    Cost: 1 forward and 1 backward.
    Source: Kannan et al. 2018, arXiv:1803.06373.
    """

    def penalty(self, logits: Tensor) -> Tensor:
        """The mean norm of the logits."""
        return _mean_size(logits, self.squared)


def _mean_size(rows: Tensor, squared: bool) -> Tensor:
    """The mean norm of the rows (M, K), or of its square; 0 where there are none.

    The gradient of a norm is taken for 0 at the origin.
    """
    if not len(rows):
        return rows.sum()
    if squared:
        return rows.square().sum(dim=1).mean()
    return torch.linalg.vector_norm(rows, dim=1).mean()
