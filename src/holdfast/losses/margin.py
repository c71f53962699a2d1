"""The logit margin: how far the label's logit stands above the largest other one.

    margin(z, y) = z_y - max_{j != y} z_j

Positive means correct, zero a tie. Attacks maximise its negative, the loss of Carlini and Wagner.

Source: Carlini and Wagner 2017, arXiv:1608.04644, sec V.A (f6).
Departures: no floor at -kappa, so that the loss tells broken examples apart.
"""

import math
from typing import ClassVar

from torch import Tensor

from holdfast.core.recipes import hyperparameters
from holdfast.losses.protocol import check_rows


@hyperparameters
class Margin:
    """The negative logit margin; with a target t, z_t - z_y.

    Guarantee: positive exactly where the model errs (untargeted), or prefers the target to the
        label (targeted).
    Source: Carlini and Wagner 2017, arXiv:1608.04644, sec V.A.
    """

    classes: ClassVar[int] = 2
    """How many classes the untargeted form needs at least."""
    classes_targeted: ClassVar[int] = 2
    """How many classes the targeted form needs at least."""

    def __call__(self, logits: Tensor, y: Tensor, target: Tensor | None = None) -> Tensor:
        """The losses (B,); see `margin_loss`."""
        return margin_loss(logits, y, target)


def margin(logits: Tensor, y: Tensor) -> Tensor:
    """z_y - max_{j != y} z_j, (B,): positive where the model is correct.

    Where several other classes tie for the maximum, they share the gradient evenly.

    Args:
        logits: (B, K), K >= 2.
        y: (B,) int64.

    Raises:
        InputError: the shapes do not fit.

    Example:
        >>> import torch
        >>> margin(torch.tensor([[3.0, 1.0, 2.5]]), torch.tensor([0]))
        tensor([0.5000])
    """
    check_rows(logits, y, None, Margin.classes, "the margin")
    return at(logits, y) - others(logits, y).amax(dim=1)


def margin_loss(logits: Tensor, y: Tensor, target: Tensor | None = None) -> Tensor:
    """-margin(logits, y), or z_target - z_y, (B,): what an attack maximises.

    Raises:
        InputError: the shapes do not fit.
    """
    if target is None:
        return -margin(logits, y)
    check_rows(logits, y, target, Margin.classes_targeted, "the targeted margin")
    return at(logits, target) - at(logits, y)


def at(logits: Tensor, y: Tensor) -> Tensor:
    """The logit of each row's class y, (B,)."""
    return logits.gather(1, y[:, None])[:, 0]


def others(logits: Tensor, y: Tensor) -> Tensor:
    """The logits (B, K) with that of class y at minus infinity."""
    return logits.scatter(1, y[:, None], -math.inf)
