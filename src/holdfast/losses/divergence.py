"""Divergences between two answers of a model: what logit regularisation penalises and attacks.

With p = softmax(z) of the reference and q = softmax(z') of the other logits, per example,

    kl           KL(p || q) = sum_k p_k (log p_k - log q_k)        the direction of TRADES
    kl_reverse   KL(q || p)
    sym_kl       KL(p || q) + KL(q || p)
    tv           (1/2) sum_k |p_k - q_k|
    l2_logits    sum_k (z'_k - z_k)^2

all summed over classes, not averaged. All are 0 and have a minimum where the answers agree, so an
attack that starts there has no direction: the gradient of KL(p || q) in z' is q - p.

Source: Zhang et al. 2019, arXiv:1901.08573 (kl); the others: Zhang 2019 (thesis), sec 6.3.
Departures: sum_k (q_k - p_k), which is 0, is added to the divergences of Kullback and Leibler. Then
every term is positive and the gradient at equal logits is exactly 0, not a rounding error whose
sign an attack would follow.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from holdfast.core.errors import InputError, described
from holdfast.losses.protocol import Loss

Divergence = Literal["kl", "kl_reverse", "sym_kl", "tv", "l2_logits"]


def kl(logits: Tensor, reference: Tensor) -> Tensor:
    """KL(softmax(reference) || softmax(logits)), (B,); gradients flow into both.

    Args:
        logits: (B, K).
        reference: (B, K) logits; the logs of probabilities (minus infinity for 0) serve as well.

    Raises:
        InputError: the shapes differ.

    Example:
        >>> import torch
        >>> kl(torch.zeros(1, 2), torch.tensor([[0.9, 0.1]]).log())
        tensor([0.3681])
    """
    check_pair(logits, reference)
    log_p, log_q = reference.log_softmax(dim=1), logits.log_softmax(dim=1)
    p, q = log_p.exp(), log_q.exp()
    gap = (log_p - log_q).masked_fill(p == 0, 0.0)
    return (p * gap + (q - p)).sum(dim=1)


def kl_reverse(logits: Tensor, reference: Tensor) -> Tensor:
    """KL(softmax(logits) || softmax(reference)), (B,); see `kl`."""
    return kl(reference, logits)


def sym_kl(logits: Tensor, reference: Tensor) -> Tensor:
    """The sum of both directions, (B,); see `kl`."""
    return kl(logits, reference) + kl(reference, logits)


def tv(logits: Tensor, reference: Tensor) -> Tensor:
    """The total variation distance of the two answers, (B,), in [0, 1]; see `kl`."""
    check_pair(logits, reference)
    return (logits.softmax(dim=1) - reference.softmax(dim=1)).abs().sum(dim=1) / 2


def l2_logits(logits: Tensor, reference: Tensor) -> Tensor:
    """The squared Euclidean distance of the logits, (B,); both must be logits of a model."""
    check_pair(logits, reference)
    return (logits - reference).square().sum(dim=1)


DIVERGENCES: Mapping[Divergence, Callable[[Tensor, Tensor], Tensor]] = {
    "kl": kl,
    "kl_reverse": kl_reverse,
    "sym_kl": sym_kl,
    "tv": tv,
    "l2_logits": l2_logits,
}


@dataclass(frozen=True, eq=False)
class DivergenceFrom:
    """What an attack maximises against a regularised loss: base(z', y) + weight D(z', z).

    Its rows are aligned with the batch, so it serves `perturb`, not `run`.

    Args:
        reference: (B, K) logits z of the clean inputs, held constant.
        kind: which divergence.
        base: a loss of the labels that is added; None leaves the divergence alone, without labels.
        weight: of the divergence.
    """

    reference: Tensor
    kind: Divergence = "kl"
    base: Loss | None = None
    weight: float = 1.0

    def __call__(self, logits: Tensor, y: Tensor, target: Tensor | None = None) -> Tensor:
        """The losses, (B,)."""
        away = self.weight * DIVERGENCES[self.kind](logits, self.reference)
        return away if self.base is None else self.base(logits, y, target) + away


def check_pair(logits: Tensor, reference: Tensor) -> None:
    """Raises an InputError unless both are (B, K) with the same B and K."""
    if logits.ndim != 2 or logits.shape != reference.shape:
        raise InputError(
            "reference",
            described(f"a tensor of shape {tuple(reference.shape)}"),
            f"does not fit logits of shape {tuple(logits.shape)}",
            "give two tensors (B, K)",
        )
