"""Gradient alignment: how little the input gradient turns inside the threat.

    A = E_{(x, y), eta} cos( grad_x l(x, y), grad_x l(x + eta, y) ),   eta uniform in the ball.

It is 1 where the loss is linear on the ball, so that one signed step is the exact attack; when
single-step training collapses it falls from about 0.95 to about 0.05 within an epoch.

Symbols: l -> `loss`, eta -> a draw of `threat.sample`.
Source: Andriushchenko and Flammarion 2020, arXiv:2007.02617; Andriushchenko 2024, sec 2.5, Eq 2.5.
Departures: norms are taken after division by the largest entry, so that the small gradients of a
confident network keep their direction. Outside of Linf, eta is the threat's own random start.
"""

from collections.abc import Mapping
from typing import Annotated

import torch
from torch import Tensor

from holdfast.core.frozen import FrozenModel, Model
from holdfast.core.random import Keys
from holdfast.core.recipes import Count, From, hyperparameters
from holdfast.core.results import Estimate
from holdfast.losses.catalogue import LOSSES
from holdfast.losses.cross_entropy import CrossEntropy
from holdfast.losses.protocol import Loss
from holdfast.measures.columns import Block, Columns, look_at, needed
from holdfast.threats.base import unboxed
from holdfast.threats.protocol import Threat


@hyperparameters
class GradientAlignment:
    """The mean cosine of the input gradients at x and at a random point of the threat.

    Args:
        loss: whose gradients are compared.
        clip: whether x + eta is clipped to the threat's box, as in the published measure; the
            published regulariser does not clip.
        samples: random points per example; one suffices for a mean over a test set.

    Guarantee: in [-1, 1] up to rounding; 1 for a radius of 0 and for linear losses; the same for
        c * loss with c > 0. An example with a zero gradient at either point counts as 1 and is
        counted in the column `undefined`.
    Cost: 1 + `samples` forwards and backwards per example.
    Needs: input gradients; a threat with random starts.

    Example:
        >>> from holdfast.threats import Linf
        >>> model, measure = torch.nn.Linear(4, 2), GradientAlignment()
        >>> x, y = torch.full((3, 4), 0.5), torch.tensor([0, 1, 1])
        >>> sums = measure.update(model, x, y, Linf(0.1))
        >>> round(measure.compute(sums).value, 5), int(sums["undefined"].sum())
        (1.0, 0)
    """

    loss: Annotated[Loss, From(LOSSES)] = CrossEntropy()
    clip: bool = True
    samples: Count = 1

    def update(
        self,
        model: Model | FrozenModel,
        x: Tensor,
        y: Tensor,
        threat: Threat | None = None,
        *,
        keys: Keys | None = None,
    ) -> Columns:
        """The columns `cosine` and `undefined` (the share of draws with a zero gradient).

        Raises:
            InputError: no examples, no threat, or shapes that do not fit.
            UnsupportedThreat: `clip=False` for a threat that is no norm ball.
        """
        threat = needed(threat) if self.clip else unboxed(threat, "use clip=True")
        return look_at(model, x, y, threat, keys, self._look)

    def compute(self, sums: Columns) -> Estimate:
        """The mean cosine."""
        return sums.mean("cosine")

    def _look(self, frozen: FrozenModel, block: Block) -> Mapping[str, Tensor]:
        def gradient(points: Tensor) -> Tensor:
            return frozen.value_and_grad(points, lambda z: self.loss(z, block.y))[2].double()

        clean, keys = gradient(block.x), block.keys.fold("alignment")
        total = torch.zeros(len(block.x), dtype=torch.float64, device=block.x.device)
        undefined = total.clone()
        for draw in range(self.samples):
            point = needed(block.threat).sample(block.x, keys=keys, step=draw)
            cosine, defined = cosines(clean, gradient(point))
            total += cosine.where(defined, 1.0)
            undefined += ~defined
        return {"cosine": total / self.samples, "undefined": undefined / self.samples}


def cosines(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """The cosine of each example's two vectors, (B,), and whether it is defined, (B,) bool.

    Args:
        first: (B, *E).
        second: (B, *E).

    Guarantee: 0 where either vector is zero; no underflow of squares; differentiable in both
        arguments, with zero and not NaN as the derivative where it is undefined.

    Example:
        >>> cosines(torch.tensor([[3.0, 4.0], [0.0, 0.0]]), torch.tensor([[1.0, 0.0], [1.0, 2.0]]))
        (tensor([0.6000, 0.0000]), tensor([ True, False]))
    """
    defined = (first != 0).flatten(1).any(dim=1) & (second != 0).flatten(1).any(dim=1)
    first, second = _directions(first, defined), _directions(second, defined)
    return (first * second).sum(dim=1), defined


def _directions(vectors: Tensor, defined: Tensor) -> Tensor:
    """Unit vectors (B, n); zero where undefined. The cosine does not see the scale, which therefore
    needs no derivative."""
    flat = vectors.flatten(1).where(defined[:, None], 0.0)
    scale = flat.detach().abs().amax(dim=1, keepdim=True)
    flat = flat / scale.where(defined[:, None], 1.0)
    squares = flat.square().sum(dim=1, keepdim=True)
    return flat / squares.where(defined[:, None], 1.0).sqrt()
