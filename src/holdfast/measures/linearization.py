"""The linearisation error: how far the loss is from linear over a perturbation.

    e(d) = | l(x + d) - l(x) - <d, grad_x l(x)> |

Protocol: d is a corner of the threat, along the gradient (FGSM) or random, with a fraction q of its
coordinates set to zero at random, so that ||d||_inf = eps and ||d||_2 = eps sqrt((1 - q) n); the
error is plotted against ||d||_2 for q from 0 to 1. For a loss whose gradient is L-Lipschitz
e(d) <= (L / 2) ||d||_2^2, which is why smaller perturbations of one step are better attacks.

Symbols: q -> `zeroed`, L -> `smoothness`.
Source: Andriushchenko and Flammarion 2020, arXiv:2007.02617; Andriushchenko 2024, sec 2.4 and
    2.10.1, Fig 2.10.
Departures: x + d is not clipped to the box, which would change ||d||_2. Outside of Linf a corner
is the threat's steepest step, along the gradient or along random signs.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

from torch import Tensor

from holdfast.core.frozen import FrozenModel, Model
from holdfast.core.random import Keys
from holdfast.core.recipes import Fraction, From, hyperparameters
from holdfast.core.results import Estimate
from holdfast.core.tensors import norm
from holdfast.losses.catalogue import LOSSES
from holdfast.losses.cross_entropy import CrossEntropy
from holdfast.losses.protocol import Loss
from holdfast.measures.columns import Block, Columns, look_at, needed
from holdfast.threats.protocol import Threat


@hyperparameters
class LinearizationError:
    """The mean linearisation error at corners of the threat.

    Args:
        direction: `fgsm`, the steepest step of the whole radius, or `random`, random signs.
        zeroed: the fraction q of coordinates that stay; those of a smaller q are among them.
        loss: whose error is measured.

    Guarantee: 0 up to rounding for a linear loss; at most `smooth_bound` for a smooth one.
    Cost: 2 forwards and one backward per example.
    Needs: input gradients; a threat with steepest steps.

    Example:
        >>> import torch
        >>> from holdfast.threats import Linf
        >>> model, measure = torch.nn.Linear(4, 2), LinearizationError(direction="random")
        >>> sums = measure.update(model, torch.rand(3, 4), torch.tensor([0, 1, 1]), Linf(0.1))
        >>> torch.allclose(sums["size"], torch.full((3,), 0.2, dtype=torch.float64))
        True
    """

    direction: Literal["fgsm", "random"] = "fgsm"
    zeroed: Fraction = 0.0
    loss: Annotated[Loss, From(LOSSES)] = CrossEntropy()

    def update(
        self,
        model: Model | FrozenModel,
        x: Tensor,
        y: Tensor,
        threat: Threat | None = None,
        *,
        keys: Keys | None = None,
    ) -> Columns:
        """The columns `error` and `size`, the l2 norm of the perturbation.

        Raises:
            InputError: no examples, no threat, or shapes that do not fit.
        """
        return look_at(model, x, y, needed(threat), keys, self._look)

    def compute(self, sums: Columns) -> Estimate:
        """The mean error; `sums.mean("size")` is where to plot it."""
        return sums.mean("error")

    def _look(self, frozen: FrozenModel, block: Block) -> Mapping[str, Tensor]:
        threat, keys = needed(block.threat), block.keys.fold("linearization")
        _, before, gradient = frozen.value_and_grad(block.x, lambda z: self.loss(z, block.y))
        towards = gradient
        if self.direction == "random":
            towards = keys.fold("corner").sign(block.x.shape[1:]).to(block.x)
        delta = keep_some(threat.steepest(towards, threat.reach), self.zeroed, keys)
        after = self.loss(frozen.logits(block.x + delta), block.y)
        error = linearization_error(before, after, gradient, delta)
        return {"error": error, "size": norm(delta.double(), 2)}


def linearization_error(before: Tensor, after: Tensor, gradient: Tensor, delta: Tensor) -> Tensor:
    """|after - before - <delta, gradient>|, (B,) float64.

    Args:
        before: (B,) losses at x.
        after: (B,) losses at x + delta.
        gradient: (B, *E) at x.
        delta: (B, *E).
    """
    predicted = (delta.double() * gradient.double()).flatten(1).sum(dim=1)
    return (after.double() - before.double() - predicted).abs()


def smooth_bound(delta: Tensor, smoothness: float) -> Tensor:
    """(L / 2) ||delta||_2^2, (B,) float64: the largest error of a loss with an L-Lipschitz
    gradient."""
    return smoothness / 2 * norm(delta.double(), 2).square()


def keep_some(delta: Tensor, zeroed: float, keys: Keys) -> Tensor:
    """The perturbation with round(q n) of its n coordinates set to zero, (B, *E).

    Every set of that size is equally likely; with the same keys a larger q zeroes more and undoes
    nothing.
    """
    count = delta[0].numel()
    rank = keys.fold("zeroed").permutation(count)
    return delta.where((rank >= round(zeroed * count)).view_as(delta), 0.0)
