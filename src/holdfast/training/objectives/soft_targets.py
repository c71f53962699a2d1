"""Soft targets and weights of the examples: moving averages of what a model has answered.

    t_i <- r t_i + (1 - r) p_i          t_i begins as the label's own distribution
    L = sum_i w_i CE(z_i, t_i) / sum_i w_i

Symbols: t = target, p = softmax of the logits z, r = `momentum`, w = `weights`.
Source: Huang, Zhang and Zhang 2020, arXiv:2002.10319; Liu 2022, sec 4.3.5, Alg 4.1.
Departures: the weights are normalised within one process's part of a batch.
"""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot, softmax

from holdfast.training.visit import Visit

_NAME = "target"


def moved(visit: Visit, y: Tensor, logits: Tensor, momentum: float) -> Tensor:
    """The examples' targets (B, K) after one more answer, which are then kept.

    Args:
        y: (B,) labels or (B, K) probabilities, with which a target begins.
        logits: (B, K) the answer.
        momentum: r; 1 keeps targets as they began.

    Guarantee: targets are probability vectors.
    """
    logits = logits.detach()
    kept = visit.memory.read(_NAME, visit.places, shape=logits.shape[1:]).to(logits.dtype)
    began = kept.sum(dim=1, keepdim=True) > 0
    kept = torch.where(began, kept, distribution(y, logits))
    targets = momentum * kept + (1 - momentum) * softmax(logits, dim=1)
    visit.memory.write(_NAME, visit.places, targets)
    return targets


def distribution(y: Tensor, logits: Tensor) -> Tensor:
    """Labels (B,) as probabilities (B, K), of the type of the logits; probabilities as they are."""
    if y.ndim == 1:
        y = one_hot(y, logits.shape[1])
    return y.to(logits.dtype)


def true_probability(logits: Tensor, y: Tensor) -> Tensor:
    """The probability of the label, (B,); its mean over soft labels (B, K)."""
    return (softmax(logits, dim=1) * distribution(y, logits)).sum(dim=1)


def weighted(losses: Tensor, weights: Tensor | None) -> Tensor:
    """The weighted mean of losses (B,); the plain one without weights."""
    if weights is None:
        return losses.mean()
    total = weights.sum().clamp_min(torch.finfo(weights.dtype).tiny)
    return (weights * losses).sum() / total


def weighted_fit(logits: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
    """The weighted mean cross-entropy; without weights, torch's own to the bit.

    Args:
        targets: (B,) labels or (B, K) probabilities.
        weights: (B,), of any scale.
    """
    if weights is None:
        return cross_entropy(logits, targets)
    return weighted(cross_entropy(logits, targets, reduction="none"), weights)


def mean_weight(weights: Tensor | None, like: Tensor) -> Tensor:
    """The mean weight, a scalar to log; 1 where all examples count alike."""
    return like.new_ones(()) if weights is None else weights.detach().mean()
