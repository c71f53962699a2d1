"""MART: adversarial training that looks harder at examples which are wrong already when clean.

    min_theta mean_i  BCE( p(x'), y ) + lam KL( p(x) || p(x') ) (1 - p_y(x))
    BCE(q, y) = -log q_y - log(1 - max_{k != y} q_k)

with x' from PGD on the cross-entropy. The weight step differentiates all of it, the factor
1 - p_y(x) included.

Symbols: lam = `weight`, p = softmax of the logits.
Source: Wang et al. 2020, Improving adversarial robustness requires revisiting misclassified
examples, ICLR, Alg. 1.
Departures: lam is the paper's for every network, where the released code has 6 for wide ones and as
the default of its loss function. Logarithms are taken in log space; the authors' code puts 1.0001
for the 1 under the logarithm, which bounds the margin term by 9.2 and ends its gradient at sure
errors. Of soft labels the most probable class is y outside the cross-entropy.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from holdfast.attacks.attack import parse_step
from holdfast.attacks.pgd import PGD
from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.core.recipes import Count, NonNegative, hyperparameters
from holdfast.core.results import ObjectiveResult
from holdfast.losses.divergence import kl
from holdfast.losses.margin import at, others
from holdfast.threats.protocol import Threat
from holdfast.training.objectives.fitting import AttackMode, bare, keys_or_content, share_right
from holdfast.training.objectives.protocol import Passes
from holdfast.training.objectives.regularising import Start, both_logits, first_point
from holdfast.training.visit import Visit


@hyperparameters
class MART:
    """Misclassification-aware adversarial training.

    Args:
        weight: lam; 5 in the paper's comparisons and in the authors' script for ResNet-18, 6 in
            that for WRN-34-10.
        steps: of the inner attack.
        step_size: in input units or relative; `eps/4` in the paper, 0.007 at radius 0.031 in its
            code.
        start: of the inner attack: `normal`, 0.001 N(0, I) around the clean input, as in the
            authors' code; `uniform`, the threat's random start; `clean`.
        joint_forward: clean and perturbed inputs share the forward pass of the weight step, and
            with it the statistics of batch norm.
        attack_mode: batch norm in the inner attack.

    Guarantee: the inputs trained on lie in the threat; the attack leaves no gradient on weights.
    Cost: N + 2 forwards and backwards, N the steps.
    Source: Wang et al. 2020, Alg. 1.
    """

    weight: NonNegative = 5.0
    steps: Count = 10
    step_size: float | str = "eps/4"
    start: Start = "normal"
    joint_forward: bool = False
    attack_mode: AttackMode = "eval"

    def __post_init__(self) -> None:
        parse_step(self.step_size, self.steps)

    @property
    def passes(self) -> Passes:
        """The attack's steps, and the weight step on both inputs."""
        return Passes(self.steps + 2, self.steps + 2)

    @property
    def weight_passes(self) -> Passes:
        """The weight step on both inputs."""
        return Passes(2, 2)

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
        if x_adv is None:
            x_adv = self.perturbed(model, x, y, threat, keys_or_content(keys, x))
        clean, perturbed = both_logits(model, x, x_adv, joint=self.joint_forward)
        fit = boosted_cross_entropy(perturbed, y).mean()
        away = (kl(perturbed, clean) * doubt(clean, y)).mean()
        loss = fit + self.weight * away
        logs = {
            "loss": loss.detach(),
            "cross_entropy": fit.detach(),
            "divergence": away.detach(),
            "accuracy": share_right(perturbed, y),
            "unperturbed_accuracy": share_right(clean, y),
        }
        return ObjectiveResult(loss, x_adv, logs)

    def perturbed(
        self, model: nn.Module, x: Tensor, y: Tensor, threat: Threat, keys: Keys
    ) -> Tensor:
        """The inputs (B, *E) that the inner attack ends on."""
        attack = PGD(steps=self.steps, restarts=1, step_size=self.step_size)
        start = first_point(self.start, x, threat, keys)
        with FrozenModel(bare(model), mode=self.attack_mode, device=x.device) as frozen:
            return attack.perturb(frozen, x, y, threat, keys=keys, start=start)


def boosted_cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """-log q_y - log(1 - max_{k != y} q_k), (B,), for q = softmax(logits).

    Example:
        >>> import torch
        >>> boosted_cross_entropy(torch.zeros(1, 2), torch.tensor([0]))
        tensor([1.3863])
    """
    rival = others(logits, _labels(y)).argmax(dim=1)
    against = functional.softplus(at(logits, rival) - others(logits, rival).logsumexp(dim=1))
    return functional.cross_entropy(logits, y, reduction="none") + against


def doubt(logits: Tensor, y: Tensor) -> Tensor:
    """1 - p_y, (B,), for p = softmax(logits), precise also where it is tiny."""
    labels = _labels(y)
    return (others(logits, labels).logsumexp(dim=1) - at(logits, labels)).sigmoid()


def _labels(y: Tensor) -> Tensor:
    return y if y.ndim == 1 else y.argmax(dim=1)
