"""CURE: adversarial training with a penalty on how the input gradient changes along the FGSM step.

    mean_i L( f(x_i + d_i), y_i ) + lam mean_i || g(x_i + d_i) - g(x_i) ||_2^2

with g(x) = grad_x L( f(x), y ) and d_i one radius along g(x_i), held constant. The difference is
the curvature of the loss along d_i, times its length.

Symbols: lam = `weight`, d = the FGSM step.
Source: Moosavi-Dezfooli et al. 2019, arXiv:1811.09716 (the penalty, there on clean training);
Andriushchenko 2024, sec 2.11.5, Table 2.8 (with FGSM).
Departures: the direction is the steepest step of the threat, not a normalised sign. Between and
beyond the two radii with a published weight, 8/255 and 16/255, the named weight is log-linear in
the radius.
"""

from collections.abc import Mapping
from typing import ClassVar, Literal

from torch import Tensor, nn

from holdfast.core.random import Keys
from holdfast.core.recipes import NonNegative, hyperparameters
from holdfast.threats.protocol import Threat
from holdfast.training.objectives.double_backward import (
    GradientRegularised,
    fgsm_step,
    input_gradients,
    mean_square,
)


@hyperparameters
class CURE(GradientRegularised):
    """Adversarial training with curvature regularisation.

    Args:
        weight: of the penalty; `cifar10` is 700 at the l_inf radius 8/255 and 20,000 at 16/255. It
            is for the gradients of single examples' losses: scaling the loss by c scales the
            penalty by c^2.
        attack: for the inputs trained on; None trains on clean inputs, as in the original method.
            FGSM from the clean input takes its step along the gradient that the penalty needs.
        attack_mode: batch norm in all passes but the weight step's; `train`, as published, lets
            them update the running statistics.
        label_smoothing: weight of the uniform distribution in the labels of the weight step.
        backprop_through: `both` differentiates both gradients, `second` holds the one at x fixed.

    Guarantee: the inputs trained on lie in the threat; the penalty is 0 for a loss that is linear
        in the ball.
    Cost: with FGSM 3 forwards and 5 backwards (4 with `second`), two of them through the
        gradients; an attack of N steps adds N of each.
    Needs: second derivatives; the network runs in float32 and is not compiled.
    Source: Moosavi-Dezfooli et al. 2019; Andriushchenko 2024, sec 2.11.5.
    """

    published: ClassVar[Mapping[str, tuple[float, float]]] = {"cifar10": (700.0, 20000.0)}
    points: ClassVar[int] = 1

    weight: NonNegative | Literal["cifar10"] = "cifar10"
    backprop_through: Literal["second", "both"] = "both"

    @property
    def through_first(self) -> bool:
        """With `both`."""
        return self.backprop_through == "both"

    def penalty(
        self, network: nn.Module, x: Tensor, y: Tensor, threat: Threat, first: Tensor, keys: Keys
    ) -> Tensor:
        """The mean squared change of the gradient along one FGSM step, inside the box."""
        del keys
        moved = threat.project(x + fgsm_step(threat, first.detach()), x)
        second = input_gradients(network, moved, y, mode=self.attack_mode, graph=True)
        return mean_square(second - first)
