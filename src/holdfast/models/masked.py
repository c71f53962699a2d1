"""Defences that hide the gradient and defend nothing: traps for the evaluation of robustness.

Each wraps a network and changes what a gradient attack sees far more than what the network
computes. A sound evaluation of the wrapped network comes to about the same robust accuracy as of
the bare one; an attack that trusts the gradient reports far more.

    trap             what a gradient attack meets           what finds it
    InputQuantised   a gradient that is exactly zero        zero-gradient check, backward pass
                                                            approximation, score-based attacks
    Detached         no graph at all                        the same
    Saturated        a cross-entropy that underflows to 0   scale-free losses, zero-gradient check
    Probabilities    softmax taken twice: a flat loss       check for probabilities, margin losses
    KWinners         a function with jumps everywhere       score-based attacks

Source: Athalye, Carlini and Wagner 2018, arXiv:1802.00420 (obfuscated gradients); Carlini and
Wagner 2017, arXiv:1608.04644 (scaled logits); Croce and Hein 2020, arXiv:2003.01690 (scale
invariance); Xiao, Zhong and Zheng 2020, arXiv:1905.10510 (k winners). Admission rules: Croce et al.
2021, arXiv:2010.09670.
Departures: none is meant as a defence.
"""

import torch
from torch import Tensor, nn

from holdfast.core.recipes import Count, Fraction, Positive, convert


class Quantise(nn.Module):
    """Rounds to multiples of 1/levels: round(x k) / k; its gradient is zero everywhere.

    Args:
        levels: k; the unit interval keeps k + 1 values.
    """

    def __init__(self, levels: int):
        super().__init__()
        self.levels: int = convert(levels, Count, "levels")

    def forward(self, x: Tensor) -> Tensor:
        """x (B, *E) -> (B, *E)."""
        return (x * self.levels).round() / self.levels

    def extra_repr(self) -> str:
        """The number of levels."""
        return f"levels={self.levels}"


class InputQuantised(nn.Module):
    """A network behind an input rounded to multiples of 1/levels.

    Rounding is flat wherever it is continuous, so the input gradient is exactly zero and a gradient
    attack stays where it starts. A radius well above 1/(2 levels) reaches other levels all the
    same. A check for zero gradients flags it; the identity as backward pass of `quantise`, or an
    attack on scores, breaks it.

    Args:
        model: inputs (B, *E) to logits (B, K); kept as `net`.
        levels: k of `Quantise`; at most 1/(2 eps) protects, at the price of coarse inputs.

    Example:
        >>> trapped = InputQuantised(nn.Linear(2, 3), levels=4)
        >>> trapped.quantise(torch.tensor([[0.30, 0.95]]))
        tensor([[0.2500, 1.0000]])
    """

    def __init__(self, model: nn.Module, levels: int):
        super().__init__()
        self.quantise, self.net = Quantise(levels), model

    def forward(self, x: Tensor) -> Tensor:
        """x (B, *E) -> logits (B, K)."""
        return self.net(self.quantise(x))


class Detached(nn.Module):
    """A network whose output carries no graph, as one that runs outside of autograd.

    No gradient reaches the input, or it is taken for zero; a gradient attack stays where it starts.
    The scores are those of the network, so attacks on scores, or the network itself as backward
    pass, break it.

    Args:
        model: inputs (B, *E) to logits (B, K); kept as `net`.
    """

    def __init__(self, model: nn.Module):
        super().__init__()
        self.net = model

    def forward(self, x: Tensor) -> Tensor:
        """x (B, *E) -> logits (B, K), without a graph."""
        with torch.no_grad():
            return self.net(x)


class Saturated(nn.Module):
    """A network whose logits are multiplied by a large factor; its predictions do not change.

    In float32 exp(-lead) underflows at a lead of about 100, so that softmax is 0 or 1, the
    cross-entropy of a correct example exactly 0, and so is its gradient. Losses that do not depend
    on the scale of the logits (the margin's direction, DLR) see through it; a check for zero
    gradients of the cross-entropy flags it.

    Args:
        model: inputs (B, *E) to logits (B, K); kept as `net`.
        factor: of the logits; with 1000, a lead of 0.1 saturates.
    """

    def __init__(self, model: nn.Module, factor: float = 1e3):
        super().__init__()
        self.net, self.factor = model, float(convert(factor, Positive, "factor"))

    def forward(self, x: Tensor) -> Tensor:
        """x (B, *E) -> logits (B, K)."""
        return self.net(x) * self.factor

    def extra_repr(self) -> str:
        """The factor."""
        return f"factor={self.factor:g}"


class Probabilities(nn.Module):
    """A network that returns softmax of its logits where logits are expected.

    The attack's loss takes softmax again. Where the network is confident, its probabilities are
    flat (in float32 exactly 0 and 1) and the gradient vanishes. A check whether outputs are
    non-negative and sum to 1 finds it; attacks on the margin of scores are only slowed down.

    Args:
        model: inputs (B, *E) to logits (B, K); kept as `net`.
    """

    def __init__(self, model: nn.Module):
        super().__init__()
        self.net = model

    def forward(self, x: Tensor) -> Tensor:
        """x (B, *E) -> probabilities (B, K)."""
        return self.net(x).softmax(dim=1)


class KWinners(nn.Module):
    """An activation that keeps the largest features of each example and sets the others to zero.

    To be used in place of ReLU. The set of winners changes with the input, and the function jumps
    where it does: the gradient exists but holds in a tiny neighbourhood only, so that gradient
    attacks see a rugged landscape. Attacks on scores (random search) find larger drops; that they
    do better than gradient attacks is what gives it away.

    Args:
        share: of the features of an example that win, in (0, 1]; at least one does.

    Guarantee: exactly max(1, floor(share n)) of n features are kept, unchanged.
    Source: Xiao, Zhong and Zheng 2020, arXiv:1905.10510.

    Example:
        >>> KWinners(0.5)(torch.tensor([[3.0, -1.0, 2.0, 1.0]]))
        tensor([[3., 0., 2., 0.]])
    """

    def __init__(self, share: float = 0.2):
        super().__init__()
        self.share = float(convert(convert(share, Positive, "share"), Fraction, "share"))

    def forward(self, x: Tensor) -> Tensor:
        """x (B, *E) -> (B, *E); the winners are taken over all of E."""
        flat = x.flatten(1)
        count = max(1, int(self.share * flat.shape[1]))
        winners = torch.zeros_like(flat, dtype=torch.bool)
        winners.scatter_(1, flat.topk(count, dim=1).indices, True)
        return torch.where(winners, flat, torch.zeros_like(flat)).view_as(x)

    def extra_repr(self) -> str:
        """The share of winners."""
        return f"share={self.share:g}"
