"""Fast adversarial training that spares hard examples: lower weights and adaptive targets.

    d_i <- P( d_i + a v(g(x_i + d_i)) ),      kept from epoch to epoch as in ATTA
    w_i = p_i[y_i]                            (reweighting; no gradient)
    m_i <- r m_i + (1 - r) p_i;   t_i = b e(y_i) + (1 - b) m_i        (adaptive targets)
    L = sum_i w_i CE( f(x_i + d_i), t_i ) / sum_i w_i

with p_i = softmax f(x_i + d_i) and m_i the moving average, at first the label e(y_i). Hard
examples, which drive adversarial overfitting, count less or are asked for less.

Symbols: a = `step_size`, r = `rho`, b = `beta`, v the steepest direction, P the projection.
Source: Liu 2022, sec 4.3.5, Alg 4.1, Table 4.6; Liu et al. 2021, On the impact of hard adversarial
instances on overfitting in adversarial training, arXiv:2112.07324.
Departures: none; where the released code differs from the algorithm, it is an option. Averages
begin after the warm-up.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn

from holdfast.attacks.attack import parse_step, step_length
from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.core.recipes import Count, Fraction, Range, hyperparameters
from holdfast.core.results import ObjectiveResult
from holdfast.threats.protocol import Threat
from holdfast.training.objectives.fitting import AttackMode, bare, keys_or_content, share_right
from holdfast.training.objectives.protocol import Passes
from holdfast.training.objectives.remembered import Stored, ascended, recalled
from holdfast.training.objectives.soft_targets import (
    distribution,
    mean_weight,
    moved,
    true_probability,
    weighted_fit,
)
from holdfast.training.visit import Visit, visit_of


@hyperparameters
class AdaptiveTargets:
    """ATTA with adaptive targets, reweighting, or both.

    Args:
        adaptive: whether targets move.
        reweight: by the label's probability: `none`; `adversarial`, as published; `clean`, as the
            released command does.
        rho: weight of the past in the moving average.
        beta: weight of the label in the target; 1 is the label alone.
        step_size: in input units, or relative such as `eps/2`.
        warmup: epochs of plain training before both begin.
        answer: which answer moves the average: `after` the step, or `before`, as released.
        reset: epochs between two random starts of the perturbations; None starts once.
        attack_mode: batch norm while the gradient is taken; `train`, as released, lets this pass
            update the running statistics.
        stored: the type in which perturbations are kept.

    Guarantee: the inputs trained on lie in the threat; targets are probability vectors; with
        neither, or with `beta` 1, the loss is that of ATTA to the bit.
    Cost: 2 forwards and backwards; one more forward for `clean` weights. Memory for one padded
        image and K numbers per example.
    Needs: a visit; a norm ball with one radius.
    Source: Liu 2022, sec 4.3.5, Alg 4.1.
    """

    adaptive: bool = True
    reweight: Literal["none", "adversarial", "clean"] = "none"
    rho: Fraction = 0.9
    beta: Fraction = 0.1
    step_size: float | str = "4/255"
    warmup: Annotated[int, Range(ge=0)] = 5
    answer: Literal["after", "before"] = "after"
    reset: Count | None = None
    attack_mode: AttackMode = "train"
    stored: Stored = "float32"

    def __post_init__(self) -> None:
        parse_step(self.step_size, 1)

    @property
    def passes(self) -> Passes:
        """One pass through the input, one through the weights, one forward for clean weights."""
        return Passes(3 if self.reweight == "clean" else 2, 2)

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
        visit, keys = visit_of(visit, "AdaptiveTargets"), keys_or_content(keys, x)
        kept = recalled(visit, x, threat, keys, reset=self.reset, stored=self.stored)
        length = step_length(self.step_size, threat, 1)
        with FrozenModel(bare(model), mode=self.attack_mode, device=x.device) as frozen:
            x_adv, before = ascended(frozen, kept.point(x, threat), x, y, threat, length)
        kept.keep(x_adv - x)
        logits = model(x_adv.clone())
        weights, targets = None, y
        if visit.epoch >= self.warmup:
            weights = self._weights(model, x, y, logits)
            targets = self._targets(visit, y, before if self.answer == "before" else logits)
        loss = weighted_fit(logits, targets, weights)
        logs = {"loss": loss.detach(), "accuracy": share_right(logits, y)}
        if self.reweight != "none":
            logs["weight"] = mean_weight(weights, loss)
        return ObjectiveResult(loss, x_adv, logs)

    def _weights(self, model: nn.Module, x: Tensor, y: Tensor, logits: Tensor) -> Tensor | None:
        """The probabilities of the labels, (B,), without gradient; None where all count alike."""
        if self.reweight == "none":
            return None
        with torch.no_grad():
            answer = model(x.clone()) if self.reweight == "clean" else logits
            return true_probability(answer, y)

    def _targets(self, visit: Visit, y: Tensor, logits: Tensor) -> Tensor:
        """What the weight step asks for: (B, K), or the labels where nothing moves."""
        if not self.adaptive:
            return y
        moving = moved(visit, y, logits, self.rho)
        if self.beta == 1:
            return y
        return self.beta * distribution(y, logits) + (1 - self.beta) * moving
