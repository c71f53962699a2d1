"""Cross-entropy, written so that it stays precise where the model is confident.

    ce(z, y) = -log softmax(z)_y = softplus(log sum_{j != y} exp(z_j) - z_y)

The right-hand side has the same value; its rounding differs. Once the label leads by about 17
float32 logits, log softmax rounds to 0 and the gradient loses the label's share, so that an attack
climbs in the wrong direction or not at all. The form used here keeps value and direction until
exp underflows, at a lead of about 100.

Labels may be probabilities y (B, K), as mixing and smoothing give them. With m the largest logit,

    ce(z, y) = sum_k y_k ce(z, k) = ce(z, m) sum_k y_k + sum_{k != m} y_k (z_m - z_k)

a sum of positive terms, precise in the same way.

Source: Goodfellow et al. 2015, arXiv:1412.6572, sec 4 (the loss that attacks maximise).
Departures: none in value.
"""

from typing import ClassVar

from torch import Tensor
from torch.nn import functional
from torch.nn.functional import softplus

from holdfast.core.recipes import hyperparameters
from holdfast.losses.margin import at, others
from holdfast.losses.protocol import check_rows


@hyperparameters
class CrossEntropy:
    """Cross-entropy of the label; with a target, minus the cross-entropy of the target.

    Args:
        precise: False rounds as torch's own cross-entropy does, gradient included, for protocols
            that were published with it.

    Guarantee: equals `torch.nn.functional.cross_entropy(..., reduction='none')` up to rounding; the
        gradient's direction stays right where that one's is lost.
    Source: Goodfellow et al. 2015, arXiv:1412.6572, sec 4.
    """

    classes: ClassVar[int] = 2
    """How many classes the untargeted form needs at least."""
    classes_targeted: ClassVar[int] = 2
    """How many classes the targeted form needs at least."""
    precise: bool = True

    def __call__(self, logits: Tensor, y: Tensor, target: Tensor | None = None) -> Tensor:
        """The losses (B,); see `cross_entropy`."""
        if self.precise:
            return cross_entropy(logits, y, target)
        check_rows(logits, y, target, self.classes, "cross-entropy", soft=True)
        if target is None:
            return functional.cross_entropy(logits, y, reduction="none")
        return -functional.cross_entropy(logits, target, reduction="none")


def cross_entropy(logits: Tensor, y: Tensor, target: Tensor | None = None) -> Tensor:
    """-log softmax(z)_y, or log softmax(z)_target, (B,): what an attack maximises.

    Of probabilities y it is the mean of -log softmax(z)_k over the classes k drawn from them.

    Args:
        logits: (B, K), K >= 2.
        y: (B,) int64, or (B, K) float probabilities; of no effect where a target is given.
        target: (B,) int64 or None.

    Raises:
        InputError: the shapes do not fit.

    Example:
        >>> import torch
        >>> cross_entropy(torch.zeros(1, 4), torch.tensor([2]))
        tensor([1.3863])
    """
    check_rows(logits, y, target, CrossEntropy.classes, "cross-entropy", soft=True)
    if target is not None:
        return -_surprise(logits, target)
    return _surprise(logits, y) if y.ndim == 1 else _mean_surprise(logits, y)


def _surprise(logits: Tensor, y: Tensor) -> Tensor:
    return softplus(others(logits, y).logsumexp(dim=1) - at(logits, y))


def _mean_surprise(logits: Tensor, y: Tensor) -> Tensor:
    """The same for probabilities y (B, K)."""
    likeliest = logits.argmax(dim=1)
    rest = y.scatter(1, likeliest[:, None], 0.0)
    behind = (logits.gather(1, likeliest[:, None]) - logits) * rest
    return _surprise(logits, likeliest) * y.sum(dim=1) + behind.sum(dim=1)
