"""Linear specifications of the logits: rows whose value should stay positive, and when they are."""

import torch
from torch import Tensor

from holdfast.certify.graphs.graph import Graph
from holdfast.core.errors import InputError, described
from holdfast.core.results import Bounds


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


def checked_rows(spec: Tensor, graph: Graph, batch: int) -> Tensor:
    """The specification, if it is (R, K) or (B, R, K) for a model with K logits."""
    classes = classes_of(graph)
    fits = spec.ndim == 2 or (spec.ndim == 3 and spec.shape[0] == batch)
    if not fits or spec.shape[-1] != classes or spec.shape[-2] == 0:
        found = described(f"a tensor of shape {tuple(spec.shape)}")
        wanted = f"give (R, {classes}) or ({batch}, R, {classes})"
        raise InputError("spec", found, "does not fit the logits", wanted)
    return spec


def certified(bounds: Bounds) -> Tensor:
    """Whether every row is proved positive, (B,); neither a bound that is not finite nor an
    estimate proves anything."""
    proved = (bounds.lower > 0) & bounds.lower.isfinite() & (not bounds.estimate)
    return proved.all(dim=1) & (bounds.lower.shape[1] > 0)


def classes_of(graph: Graph) -> int:
    """How many logits a model has."""
    if len(graph.output_shape) != 1:
        found = described(f"a model with output (B, {', '.join(map(str, graph.output_shape))})")
        raise InputError("model", found, "has no logits", "give a model whose output is (B, K)")
    return graph.output_shape[0]
