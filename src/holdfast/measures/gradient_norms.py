"""Norms of input gradients, example by example, and what their spread means for adaptive steps.

    G_i = || grad_x l(x_i, y_i) ||_2

Large and unequal gradients are what one step size for all examples copes badly with. In the terms
of the bounds that belong to the input, adaptive steps (ATAS) over a constant step (ATTA) are

    ratio = (1 - beta)^(-1/4) * sqrt( (mean_i G_i)^2 / mean_i G_i^2 ).

Symbols: beta -> `momentum`, G -> `norms`.
Source: Huang et al. 2023, arXiv:2206.02417; Liu 2022, sec 5.2.3, Eq 5.27.
Departures: the exponent is -1/4; printed is +1/4, which does not follow from the two bounds. The
histogram of the norms, announced there, is not shown there.
"""

import math
from collections.abc import Mapping
from typing import Annotated

import torch
from torch import Tensor

from holdfast.core.errors import InputError, described
from holdfast.core.frozen import FrozenModel, Model
from holdfast.core.random import Keys
from holdfast.core.recipes import From, hyperparameters
from holdfast.core.results import Estimate
from holdfast.core.tensors import norm
from holdfast.losses.catalogue import LOSSES
from holdfast.losses.cross_entropy import CrossEntropy
from holdfast.losses.protocol import Loss
from holdfast.measures.columns import Block, Columns, look_at
from holdfast.threats.protocol import Threat


@hyperparameters
class GradientNorms:
    """The norm of each example's input gradient, at the inputs given.

    Args:
        loss: whose gradient is taken, per example: nothing is divided by the size of a batch.
        p: the norm, 1, 2 or inf; 1 is the rate at which a small linf step raises the loss.

    Cost: one forward and one backward per example.
    Needs: input gradients.

    Example:
        >>> model, measure = torch.nn.Linear(4, 2), GradientNorms()
        >>> x, y = torch.rand(3, 4), torch.tensor([0, 1, 1])
        >>> measure.compute(measure.update(model, x, y)).per_example.shape
        torch.Size([3])
    """

    loss: Annotated[Loss, From(LOSSES)] = CrossEntropy()
    p: float = 2.0

    def __post_init__(self) -> None:
        if self.p not in (1, 2, math.inf):
            raise InputError("p", self.p, "is not known", "give 1, 2 or inf")

    def update(
        self,
        model: Model | FrozenModel,
        x: Tensor,
        y: Tensor,
        threat: Threat | None = None,
        *,
        keys: Keys | None = None,
    ) -> Columns:
        """The columns `norm`, `loss` and `zero`, the share of the gradient's entries that are zero;
        the threat and the keys are of no effect.

        Raises:
            InputError: no examples, or shapes that do not fit.
        """
        return look_at(model, x, y, None, keys, self._look)

    def compute(self, sums: Columns) -> Estimate:
        """The mean norm."""
        return sums.mean("norm")

    def _look(self, frozen: FrozenModel, block: Block) -> Mapping[str, Tensor]:
        _, losses, gradient = frozen.value_and_grad(block.x, lambda z: self.loss(z, block.y))
        zero = (gradient == 0).flatten(1).double().mean(dim=1)
        return {"norm": norm(gradient.double(), self.p), "loss": losses, "zero": zero}


def heterogeneity_ratio(norms: Tensor, momentum: float) -> float:
    """How the bound of adaptive steps compares with that of a constant step; below 1 it is better.

    Args:
        norms: (N,) gradient norms G_i, in any unit.
        momentum: beta, from 0 to below 1.

    Guarantee: the root lies in [1 / sqrt(N), 1]: 1 for equal norms, 1 / sqrt(N) for a single one
        that is not zero.

    Raises:
        InputError: norms that are negative, NaN, all zero or absent; a momentum out of range.

    Example:
        >>> round(heterogeneity_ratio(torch.ones(4), 0.5), 4)
        1.1892
        >>> heterogeneity_ratio(torch.tensor([0.0, 0.0, 0.0, 7.0]), 0.0)
        0.5
    """
    if not 0 <= momentum < 1:
        raise InputError("momentum", momentum, "is out of range", "give 0 or more, below 1")
    values = norms.double().flatten()
    if len(values) == 0 or not bool((values >= 0).all()) or not bool(values.any()):
        shown = described(f"tensor of shape {tuple(norms.shape)}")
        raise InputError("norms", shown, "holds no gradient norms", "give some >= 0, not all 0")
    values = values / values.amax()
    root = float(values.mean() / values.square().mean().sqrt())
    return (1 - momentum) ** -0.25 * root


def histogram(norms: Tensor, bins: int = 30) -> tuple[Tensor, Tensor]:
    """Counts (bins,) int64 and edges (bins + 1,) float64 of positive norms on a logarithmic scale.

    Norms are long-tailed: the bins have equal widths in log10. Norms of 0 are in no bin.

    Raises:
        InputError: fewer than one bin, or no positive norm.
    """
    positive = norms.double().flatten()
    positive = positive[positive > 0]
    if bins < 1 or not len(positive):
        shown = described(f"{bins} bins of {len(positive)} positive norms")
        raise InputError("bins", shown, "make no histogram", "give a bin and a positive norm")
    logs = positive.log10()
    low, high = float(logs.amin()), float(logs.amax())
    high = high if high > low else low + 1.0
    place = ((logs - low) / (high - low) * bins).long().clamp(max=bins - 1)
    edges = torch.linspace(low, high, bins + 1, dtype=torch.float64, device=logs.device)
    return torch.bincount(place, minlength=bins), 10.0**edges
