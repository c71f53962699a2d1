"""Clean logit pairing and logit squeezing: small logits on noisy inputs instead of robustness.

    CLP   mean_i L(z_i, y_i) + lam (2/m) sum_{i <= m/2} ||z_i - z_{i+m/2}||_2
    LSQ   mean_i L(z_i, y_i) + lam (1/m) sum_i ||z_i||_2,        z_i = f(x_i + sigma n_i)

with n_i standard normal. Both make the loss flat and rugged around the data, so that an attack with
few steps or one start fails; a strong one finds that little was won. They are baselines on which an
evaluation shows whether it can be deceived.

Symbols: lam = `weight`, z = logits, m = the size of the batch.
Source: Kannan, Kurakin and Goodfellow 2018, arXiv:1803.06373; what they hide:
Mosbach et al. 2018, arXiv:1810.12042; Andriushchenko 2024, Table 3.6.
Departures: the noisy inputs are not clipped to the box. Pairs are random as the batches are: i goes
with i + m/2, and the last example of an odd batch has no partner; processes that share a batch
pair each its own examples.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from holdfast.core.random import Keys
from holdfast.core.recipes import NonNegative, hyperparameters
from holdfast.core.results import ObjectiveResult
from holdfast.threats.protocol import Threat
from holdfast.training.objectives.fitting import keys_or_content, share_right
from holdfast.training.objectives.protocol import Passes
from holdfast.training.visit import Visit


@hyperparameters
class _OnNoise(ABC):
    """What both share: the noisy inputs and the sum of fit and penalty.

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
        logits = model(noisy)
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
