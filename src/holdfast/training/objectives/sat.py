"""Self-adaptive training: TRADES whose clean term learns from averages of the model's answers.

    t_i <- r t_i + (1 - r) p(x_i),   u_i = max_j t_ij                 after a warm-up
    sum_i u_i CE( f(x_i), t_i ) / sum_i u_i + lam mean_i KL( p(x_i) || p(x_i') )

with x_i' from the attack of TRADES. Until the end of the warm-up t_i is the label and u_i = 1.

Symbols: t = target, at first the label; u = weight of the example; r = `momentum`, lam = `weight`
(1/lambda of TRADES), p = softmax of the logits f.
Source: Huang, Zhang and Zhang 2020, arXiv:2002.10319; Liu 2022, sec 4.3.5, Fig 4.23; TRADES: Zhang
et al. 2019, arXiv:1901.08573.
Departures: the published code steps by 0.007 at radius 0.031.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from torch import Tensor, nn

from holdfast.attacks.attack import parse_step
from holdfast.core.random import Keys
from holdfast.core.recipes import Count, Fraction, NonNegative, Range, hyperparameters
from holdfast.core.results import ObjectiveResult
from holdfast.losses.divergence import kl
from holdfast.threats.protocol import Threat
from holdfast.training.objectives.fitting import AttackMode, keys_or_content, share_right
from holdfast.training.objectives.protocol import Passes
from holdfast.training.objectives.regularising import both_logits
from holdfast.training.objectives.soft_targets import mean_weight, moved, weighted_fit
from holdfast.training.objectives.trades import TRADES
from holdfast.training.visit import Visit, visit_of


@hyperparameters
class SAT:
    """Self-adaptive training with the attack and the robust term of TRADES.

    Args:
        weight: lam, of the divergence.
        momentum: r, weight of the past in the targets.
        warmup: epochs with labels as targets.
        steps: of the inner attack.
        step_size: in input units or relative, such as `eps/4`.
        start: of the inner attack, see `TRADES`.
        attack_mode: batch norm in the inner attack.

    Guarantee: the inputs trained on lie in the threat; in the warm-up the loss is that of TRADES to
        the bit; targets are probability vectors.
    Cost: N + 3 forwards and N + 2 backwards, N the steps; memory for K numbers per example.
    Needs: a visit.
    Source: Huang, Zhang and Zhang 2020 (warm-up of 70 of 100 epochs); Liu 2022, sec 4.3.5 (90 of
        200).
    """

    weight: NonNegative = 6.0
    momentum: Fraction = 0.9
    warmup: Annotated[int, Range(ge=0)] = 90
    steps: Count = 10
    step_size: float | str = "eps/4"
    start: Literal["normal", "uniform"] = "normal"
    attack_mode: AttackMode = "eval"

    def __post_init__(self) -> None:
        parse_step(self.step_size, self.steps)

    @property
    def passes(self) -> Passes:
        """The clean answer, the attack's steps, and the weight step on both inputs."""
        return Passes(self.steps + 3, self.steps + 2)

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
        del progress, state
        visit = visit_of(visit, "SAT")
        if x_adv is None:
            x_adv = self._trades().perturbed(model, x, threat, keys_or_content(keys, x))
        clean, perturbed = both_logits(model, x, x_adv)
        targets, weights = y, None
        if visit.epoch >= self.warmup:
            targets = moved(visit, y, clean, self.momentum)
            weights = targets.amax(dim=1)
        fit, away = weighted_fit(clean, targets, weights), kl(perturbed, clean).mean()
        loss = fit + self.weight * away
        logs = {"loss": loss, "cross_entropy": fit, "divergence": away}
        logs = {name: each.detach() for name, each in logs.items()}
        logs |= {
            "accuracy": share_right(clean, y),
            "adversarial_accuracy": share_right(perturbed, y),
        }
        logs["weight"] = mean_weight(weights, loss)
        return ObjectiveResult(loss, x_adv, logs)

    def _trades(self) -> TRADES:
        """The method whose attack is used."""
        return TRADES(
            steps=self.steps,
            step_size=self.step_size,
            start=self.start,
            attack_mode=self.attack_mode,
        )
