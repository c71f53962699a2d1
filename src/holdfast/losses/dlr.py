"""The difference of logits ratio (DLR), a margin that does not depend on the scale of the logits.

With z_(1) >= z_(2) >= ... the sorted logits,

    dlr(z, y)    = (max_{j != y} z_j - z_y) / (z_(1) - z_(3))
    dlr(z, y, t) = (z_t - z_y) / (z_(1) - (z_(3) + z_(4)) / 2)

Source: Croce and Hein 2020, arXiv:2003.01690, eq 6 and 7.
Departures: none; 1e-12 is added to the denominator as in the authors' code (in half precision the
smallest normal number), so that three logits tied at the top give a finite value.
"""

from typing import ClassVar

import torch
from torch import Tensor

from holdfast.core.recipes import hyperparameters
from holdfast.losses.margin import margin_loss
from holdfast.losses.protocol import check_rows


@hyperparameters
class DLR:
    """The difference of logits ratio, untargeted or towards a target.

    Guarantee: in [-1, 0] where the model is correct (0 at a tie), positive where it errs; unchanged
        when the logits are shifted or multiplied by a positive number. Never NaN on finite logits.
    Source: Croce and Hein 2020, arXiv:2003.01690, eq 6 and 7.
    """

    classes: ClassVar[int] = 3
    """How many classes the untargeted form needs at least."""
    classes_targeted: ClassVar[int] = 4
    """How many classes the targeted form needs at least."""

    def __call__(self, logits: Tensor, y: Tensor, target: Tensor | None = None) -> Tensor:
        """The losses (B,); see `dlr`."""
        return dlr(logits, y, target)


def dlr(logits: Tensor, y: Tensor, target: Tensor | None = None) -> Tensor:
    """The difference of logits ratio, (B,): what an attack maximises.

    Args:
        logits: (B, K), K >= 3, with a target K >= 4.
        y: (B,) int64.
        target: (B,) int64 or None.

    Raises:
        InputError: the shapes do not fit, or there are too few classes.

    Example:
        >>> import torch
        >>> dlr(torch.tensor([[5.0, 1.0, 3.0, 0.0]]), torch.tensor([0]))
        tensor([-0.5000])
    """
    if target is None:
        check_rows(logits, y, None, DLR.classes, "DLR")
        top = logits.topk(3, dim=1).values
        spread = top[:, 0] - top[:, 2]
    else:
        check_rows(logits, y, target, DLR.classes_targeted, "targeted DLR")
        top = logits.topk(4, dim=1).values
        spread = top[:, 0] - (top[:, 2] + top[:, 3]) / 2
    return margin_loss(logits, y, target) / (spread + _floor(logits.dtype))


def _floor(dtype: torch.dtype) -> float:
    return max(1e-12, torch.finfo(dtype).tiny)
