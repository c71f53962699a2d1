"""The loss over a slice of the input space, around each example.

    l( x + a d1 + b d2 ),   d1 the one-step perturbation, d2 a random corner, a and b on a grid.

With a radius eps both directions are corners of the ball, so that a = 1, b = 0 is the FGSM point.
Of a model that single-step training has overfitted the surface is distorted: along d1 the loss is
larger inside the ball than at its end, where alone the model was trained.

Source: Liu 2022, sec 5.2, Fig 5.5 (the slice).
Departures: the share of distorted examples is ours. The slice is flat: points are not clipped to
the box. Directions of other threats than Linf are their steepest steps.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from torch import Tensor

from holdfast.core.errors import InputError, described
from holdfast.core.frozen import FrozenModel, Model
from holdfast.core.random import Keys
from holdfast.core.recipes import From, Positive, Range, hyperparameters
from holdfast.core.results import Estimate
from holdfast.core.tensors import per_example
from holdfast.losses.catalogue import LOSSES
from holdfast.losses.cross_entropy import CrossEntropy
from holdfast.losses.protocol import Loss
from holdfast.measures.columns import Block, Columns, look_at, needed
from holdfast.threats.protocol import Threat


@hyperparameters
class LossSurface:
    """Losses on a grid of the plane spanned by the one-step and a random direction.

    Args:
        points: grid points per axis; an odd number, so that x is one of them.
        span: the grid covers [-span, span] on both axes, in multiples of the perturbations.
        loss: what is evaluated.

    Guarantee: the middle of an example's grid is its loss at x.
    Cost: points^2 + 1 forwards and one backward per example.
    Needs: input gradients; a threat with steepest steps.

    Example:
        >>> import torch
        >>> from holdfast.threats import Linf
        >>> model, measure = torch.nn.Linear(4, 2), LossSurface(points=5)
        >>> sums = measure.update(model, torch.rand(3, 4), torch.tensor([0, 1, 1]), Linf(0.1))
        >>> sums["losses"].shape, measure.compute(sums).value
        (torch.Size([3, 5, 5]), 0.0)
    """

    points: Annotated[int, Range(ge=3)] = 21
    span: Positive = 1.0
    loss: Annotated[Loss, From(LOSSES)] = CrossEntropy()

    def __post_init__(self) -> None:
        if self.points % 2 == 0:
            raise InputError("points", self.points, "is even", "give an odd number from 3")

    @property
    def axis(self) -> tuple[float, ...]:
        """The values of a, which are those of b."""
        half = self.points // 2
        return tuple(self.span * step / half for step in range(-half, half + 1))

    def update(
        self,
        model: Model | FrozenModel,
        x: Tensor,
        y: Tensor,
        threat: Threat | None = None,
        *,
        keys: Keys | None = None,
    ) -> Columns:
        """The columns `losses` and `right`, (n, points, points): [a, b], a along the one step; and
        `one_step`, the loss at a = 1, b = 0.

        Raises:
            InputError: no examples, no threat, or shapes that do not fit.
        """
        return look_at(model, x, y, needed(threat), keys, self._look)

    def compute(self, sums: Columns) -> Estimate:
        """The share of examples whose loss is larger on the way than at the end of the step."""
        inside = [place for place, a in enumerate(self.axis) if 0 <= a < 1]
        way = sums["losses"][:, inside, self.points // 2].amax(dim=1)
        slack = 1e-6 * sums["one_step"].abs().clamp_min(1.0)
        found = {"distorted": (way > sums["one_step"] + slack).double()}
        return Columns(found).mean("distorted")

    def _look(self, frozen: FrozenModel, block: Block) -> Mapping[str, Tensor]:
        plane = directions(frozen, block, self.loss)
        count, size = len(block.x), self.points**2
        losses, right = block.x.new_empty(count, size), block.x.new_empty(count, size).bool()
        pairs = [(a, b) for a in self.axis for b in self.axis]
        for place, (a, b) in enumerate([*pairs, (1.0, 0.0)]):
            logits = frozen.logits(plane.at(a, b))
            found = self.loss(logits, block.y)
            if place < size:
                losses[:, place], right[:, place] = found, logits.argmax(dim=1) == block.y
        shape = (count, self.points, self.points)
        return {"losses": losses.view(shape), "right": right.view(shape), "one_step": found}


@dataclass(frozen=True, eq=False)
class Plane:
    """A two-dimensional slice around each example.

    Args:
        x: (B, *E) its middle.
        first: (B, *E) the direction of a.
        second: (B, *E) the direction of b.
    """

    x: Tensor
    first: Tensor
    second: Tensor

    def at(self, a: float | Tensor, b: float | Tensor) -> Tensor:
        """x + a d1 + b d2, (B, *E); a and b numbers or (B,)."""
        a, b = per_example(a, self.x), per_example(b, self.x)
        return self.x + a * self.first + b * self.second


def directions(frozen: FrozenModel, block: Block, loss: Loss) -> Plane:
    """The slice of the one-step perturbation and a random corner, of the threat's radius."""
    threat = needed(block.threat)
    _, _, gradient = frozen.value_and_grad(block.x, lambda z: loss(z, block.y))
    signs = block.keys.fold("surface").sign(block.x.shape[1:]).to(block.x)
    if isinstance(threat.reach, float) and threat.reach == float("inf"):
        shown = described(f"a radius of {threat.reach}")
        raise InputError("threat", shown, "spans no slice", "give a finite radius")
    first, second = (threat.steepest(each, threat.reach) for each in (gradient, signs))
    return Plane(block.x, first, second)
