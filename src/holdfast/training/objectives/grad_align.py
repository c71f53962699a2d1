"""GradAlign: adversarial training with input gradients that point the same way all over the ball.

    mean_i L( f(x_i + d_i), y_i ) + lam (1/|S|) sum_{i in S} ( 1 - cos( g(x_i), g(x_i + eta_i) ) )

with g(x) = grad_x L( f(x), y ), d_i one FGSM step, eta_i random in the ball, one per example and
step, and S the examples with two gradients other than zero. FGSM training collapses once the loss
is no longer linear around x (catastrophic overfitting); the term keeps it so. It depends on
directions only: scaling the loss does not change it.

Symbols: lam = `weight`.
Source: Andriushchenko and Flammarion 2020, arXiv:2007.02617; Andriushchenko 2024, sec 2.6, eq 2.7,
Table 2.2, sec 2.11.5 (variants).
Departures: gradients shorter than 1e-15 count as zero.
"""

from collections.abc import Mapping
from typing import ClassVar, Literal

from torch import Tensor, nn

from holdfast.core.random import Keys
from holdfast.core.recipes import NonNegative, hyperparameters
from holdfast.schedules.gradalign import TUNED
from holdfast.threats.base import unboxed
from holdfast.threats.protocol import Threat
from holdfast.training.objectives.double_backward import (
    GradientRegularised,
    cosines,
    fgsm_step,
    input_gradients,
)


@hyperparameters
class GradAlign(GradientRegularised):
    """Adversarial training with gradient alignment.

    Args:
        weight: of the term; `cifar10` and `svhn` are the published functions of the l_inf radius at
            each step, 0.02 10^(n/8) and 1.5625 1.6^(n/8) with n = 255 eps. Published with PGD-2:
            0.1 and 0.5 at 8/255; for ImageNet: 0.01, 0.01 and 0.1 at 2/255, 4/255 and 6/255.
        attack: for the inputs trained on; None trains on clean inputs, which gives no robustness.
            FGSM from the clean input takes its step along the gradient that the term needs as well.
        attack_mode: batch norm in all passes but the weight step's; `train`, as published, lets
            them update the running statistics.
        label_smoothing: weight of the uniform distribution in the labels of the weight step.
        point: where the other gradient is taken: `uniform`, the threat's random point (uniform in
            an l_inf ball), or `fgsm`, one radius along the gradient at x.
        clip: whether that point is moved into the box.
        backprop_through: `second` holds the gradient at x fixed, `both` differentiates both.

    Guarantee: the inputs trained on lie in the threat; the term is in [0, 2], and 0 for models that
        are linear in the ball.
    Cost: with FGSM 3 forwards and 4 backwards (5 with `both`): two input gradients, the weight
        step, and the way back through the gradients that are differentiated; an attack of N steps
        adds N of each. About 3 times the time of FGSM training.
    Needs: second derivatives; the network runs in float32 and is not compiled.
    Source: Andriushchenko 2024, sec 2.6.
    """

    published: ClassVar[Mapping[str, tuple[float, float]]] = TUNED
    points: ClassVar[int] = 1

    weight: NonNegative | Literal["cifar10", "svhn"] = "cifar10"
    point: Literal["uniform", "fgsm"] = "uniform"
    clip: bool = False
    backprop_through: Literal["second", "both"] = "second"

    @property
    def through_first(self) -> bool:
        """With `both`."""
        return self.backprop_through == "both"

    def penalty(
        self, network: nn.Module, x: Tensor, y: Tensor, threat: Threat, first: Tensor, keys: Keys
    ) -> Tensor:
        """1 - cos, averaged over the examples of which both gradients differ from zero."""
        other = self._other(x, threat, first.detach(), keys.fold("align"))
        second = input_gradients(network, other, y, mode=self.attack_mode, graph=True)
        cos, counted = cosines(first, second)
        return ((1 - cos) * counted).sum() / counted.sum().clamp_min(1)

    def _other(self, x: Tensor, threat: Threat, first: Tensor, keys: Keys) -> Tensor:
        """The points at which the other gradients are taken, (B, *E)."""
        if self.point == "uniform":
            place = threat if self.clip else unboxed(threat, "use clip = true")
            return place.sample(x, keys=keys)
        moved = x + fgsm_step(threat, first)
        return threat.project(moved, x) if self.clip else moved
