"""ATAS: fast adversarial training with a step size of each example's own.

    g_i = grad_x L( f(x_i + d_i), y_i )
    v_i <- b v_i + (1 - b) ||g_i||_2^2
    a_i = a / ( sqrt(v_i) + C )
    d_i <- P( d_i + a_i v(g_i) );        one weight step on L( f(x_i + d_i), y_i )

Examples with large gradients, which bring catastrophic overfitting about, take small steps. The
step at a vanishing gradient is a / C, the argument `step_size`. d_i is kept from epoch to epoch.

Symbols: b = `beta`, C = `offset`, a / C = `step_size`, v the steepest direction, P the projection.
Source: Huang et al. 2022, Fast adversarial training with adaptive step size, arXiv:2206.02417; Liu
2022, sec 5.2, eq 5.15, 5.16, Alg 5.3, 5.27.
Departures: eq 5.16 has the root over v + C; text and code mean the formula above. The published C
is for the gradient of the mean loss of a batch of 128, so gradients are divided by 128, whatever
the batch: an example's step does not depend on its neighbours. For other norms than l_inf a_i is
the length of the normalised gradient step. eq 5.27 has the exponent of 1 - b inverted.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from torch import Tensor, nn

from holdfast.attacks.attack import parse_step, step_length
from holdfast.core.errors import InputError
from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.core.recipes import Count, Fraction, Positive, Range, hyperparameters
from holdfast.core.results import ObjectiveResult
from holdfast.core.tensors import norm
from holdfast.losses.cross_entropy import cross_entropy
from holdfast.threats.protocol import Threat
from holdfast.training.objectives.fitting import (
    AttackMode,
    Smoothing,
    bare,
    fit,
    keys_or_content,
    zero_share,
)
from holdfast.training.objectives.protocol import Passes
from holdfast.training.objectives.remembered import Stored, recalled
from holdfast.training.visit import Visit, visit_of

_BATCH = 128  # of the released code, to which the published C belongs
_OFFSETS = {"mean": 0.01, "sum": 0.01 * _BATCH}
_NAME = "gradient_square"


@hyperparameters
class ATAS:
    """Adversarial training with adaptive step size.

    Args:
        step_size: a / C, the step at a vanishing gradient, in input units or relative.
        offset: C; None is the published one for CIFAR, 0.01 for `mean` and 1.28 for `sum` (for
            ImageNet 0.1 and 12.8).
        beta: weight of the past in the average of squared gradients.
        reduction: the scale of gradients: `mean`, of the mean loss of 128 examples (always 128);
            `sum`, of the example's own loss.
        clamp: smallest and largest step; the released code has (4/255, 14/255) on CIFAR and
            (4/255, 8/255) on ImageNet, the paper none.
        warmup: epochs with steps of the radius, in which averages wait.
        reset: epochs between two random starts of the perturbations; None starts once.
        attack_mode: batch norm while the gradient is taken.
        label_smoothing: weight of the uniform distribution in the labels of the weight step.
        stored: the type in which perturbations are kept.
        stored_size: height and width in which they are kept, for large images; None for all pixels.

    Guarantee: the inputs trained on lie in the threat; an example's step is a function of its own
        gradients.
    Cost: 2 forwards and backwards; memory for one padded image and one number per example.
    Needs: a visit; a norm ball with one radius.
    Source: Huang et al. 2022; Liu 2022, sec 5.2, Alg 5.3, Table 5.11.
    """

    step_size: float | str = "16/255"
    offset: Positive | None = None
    beta: Fraction = 0.5
    reduction: Literal["mean", "sum"] = "mean"
    clamp: tuple[float, float] | None = None
    warmup: Annotated[int, Range(ge=0)] = 5
    reset: Count | None = 10
    attack_mode: AttackMode = "eval"
    label_smoothing: Smoothing = 0.0
    stored: Stored = "float32"
    stored_size: Count | None = None

    def __post_init__(self) -> None:
        parse_step(self.step_size, 1)
        if self.clamp is not None and not 0 <= self.clamp[0] <= self.clamp[1]:
            raise InputError("clamp", self.clamp, "is no range of steps", "give (least, most)")

    @property
    def passes(self) -> Passes:
        """One pass through the input, one through the weights."""
        return Passes(2, 2)

    @property
    def damping(self) -> float:
        """C, with None resolved."""
        return _OFFSETS[self.reduction] if self.offset is None else self.offset

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
        visit = visit_of(visit, "ATAS")
        kept = recalled(
            visit,
            x,
            threat,
            keys_or_content(keys, x),
            reset=self.reset,
            stored=self.stored,
            side=self.stored_size,
        )
        point = kept.point(x, threat)
        with FrozenModel(bare(model), mode=self.attack_mode, device=x.device) as frozen:
            _, _, gradient = frozen.value_and_grad(point, lambda z: cross_entropy(z, y))
        lengths = self._lengths(gradient, threat, visit)
        x_adv = threat.project(threat.steepest(gradient, lengths).add_(point), x)
        kept.keep(x_adv - x)
        loss, logs = fit(model, x_adv, y, self.label_smoothing)
        logs |= {"step_size": lengths.mean(), "zero_gradients": zero_share(gradient)}
        return ObjectiveResult(loss, x_adv, logs)

    def _lengths(self, gradient: Tensor, threat: Threat, visit: Visit) -> Tensor:
        """The examples' steps (B,), and their averages brought up to date."""
        if visit.epoch < self.warmup:
            return step_length("eps", threat, 1) * gradient.new_ones(len(gradient))
        size = norm(gradient, 2) / (_BATCH if self.reduction == "mean" else 1)
        square = visit.memory.read(_NAME, visit.places).to(size)
        square = self.beta * square + (1 - self.beta) * size.square()
        visit.memory.write(_NAME, visit.places, square)
        longest = step_length(self.step_size, threat, 1)
        lengths = longest * (self.damping / (square.sqrt() + self.damping))
        return lengths if self.clamp is None else lengths.clamp(*self.clamp)
