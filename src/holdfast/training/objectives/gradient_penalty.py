"""Adversarial training with a penalty on the size of the input gradients.

    mean_i L( f(x_i + d_i), y_i ) + lam mean_i || g(x_i) ||_2^2,      g(x) = grad_x L( f(x), y )

with d_i one FGSM step. The penalty alone is double backpropagation; together with FGSM training it
keeps catastrophic overfitting away where the radius is not too large.

Symbols: lam = `weight`.
Source: Ross and Doshi-Velez 2018, arXiv:1711.09404, and Simon-Gabriel et al. 2019,
arXiv:1802.01421 (the penalty); Andriushchenko 2024, sec 2.11.5, Table 2.8 (with FGSM).
Departures: between and beyond the two radii with a published weight, 8/255 and 16/255, the named
weight is log-linear in the radius.
"""

from collections.abc import Mapping
from typing import ClassVar, Literal

from torch import Tensor, nn

from holdfast.core.random import Keys
from holdfast.core.recipes import NonNegative, hyperparameters
from holdfast.threats.protocol import Threat
from holdfast.training.objectives.double_backward import GradientRegularised, mean_square


@hyperparameters
class GradientPenalty(GradientRegularised):
    """Adversarial training with a penalty on the squared l2 norm of input gradients.

    Args:
        weight: of the penalty; `cifar10` is 1000 at the l_inf radius 8/255 and 2000 at 16/255. It
            is for the gradients of single examples' losses, and has their unit: scaling the loss by
            c scales the penalty by c^2.
        attack: for the inputs trained on; None trains on clean inputs, as in the original method.
            FGSM from the clean input takes its step along the same gradient.
        attack_mode: batch norm in all passes but the weight step's; `train`, as published, lets
            them update the running statistics.
        label_smoothing: weight of the uniform distribution in the labels of the weight step.

    Guarantee: the inputs trained on lie in the threat.
    Cost: with FGSM 2 forwards and 3 backwards, one of them through the gradient; an attack of N
        steps adds N of each.
    Needs: second derivatives; the network runs in float32 and is not compiled.
    Source: Andriushchenko 2024, sec 2.11.5.
    """

    published: ClassVar[Mapping[str, tuple[float, float]]] = {"cifar10": (1000.0, 2000.0)}

    weight: NonNegative | Literal["cifar10"] = "cifar10"

    @property
    def through_first(self) -> bool:
        """The only gradient there is."""
        return True

    def penalty(
        self, network: nn.Module, x: Tensor, y: Tensor, threat: Threat, first: Tensor, keys: Keys
    ) -> Tensor:
        """The mean squared norm of the gradients at x."""
        del network, x, y, threat, keys
        return mean_square(first)
