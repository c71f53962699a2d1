"""Linear specifications of the logits: rows whose value should stay positive."""

import torch
from torch import Tensor

from holdfast.core.errors import InputError, described


def margin_rows(y: Tensor, classes: int) -> Tensor:
    """The rows e_y - e_j for all classes j other than y, in order of j.

    Args:
        y: (B,) whole numbers in [0, classes).
        classes: K, at least 2.

    Returns:
        (B, K-1, K) in the default dtype. Times the logits it gives the margins of y over the
        other classes, all positive exactly where y is the strict winner.

    Source: Liu 2022, sec 3.1.2 (elision of the last layer, negated, row y dropped).

    Example:
        >>> margin_rows(torch.tensor([1]), 3)
        tensor([[[-1.,  1.,  0.],
                 [ 0.,  1., -1.]]])
    """
    if classes < 2:
        raise InputError("classes", classes, "is less than 2", "a margin needs two classes")
    y = checked_labels(y, classes)
    identity = torch.eye(classes, device=y.device)
    others = torch.arange(classes - 1, device=y.device).expand(len(y), -1)
    others = others + (others >= y.unsqueeze(1))
    return identity[y].unsqueeze(1) - identity[others]


def checked_labels(y: Tensor, classes: int) -> Tensor:
    """The labels, if they are (B,) whole numbers in [0, classes)."""
    if y.ndim != 1 or y.is_floating_point() or y.is_complex() or y.dtype == torch.bool:
        found = described(f"{y.dtype} tensor of shape {tuple(y.shape)}")
        raise InputError("y", found, "is not a list of labels", "give whole numbers of shape (B,)")
    if len(y) and not (int(y.min()) >= 0 and int(y.max()) < classes):
        worst = int(y.min()) if int(y.min()) < 0 else int(y.max())
        raise InputError("y", worst, f"is not a class of {classes}", f"use 0 to {classes - 1}")
    return y.long()
