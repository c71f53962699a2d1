"""The norm balls `Linf`, `L2` and `L1` around an input, intersected with a box.

What they share (membership, size, hull, text form) is in `base`; the mathematics of what they do
not share is in `projections`, `steps` and `support`.

Source: Wong 2020, sec 2.1.2 and 5.3.3 (steps, projections), sec 4.1 (random starts); Liu 2022,
    sec 3.2 (one radius per feature).
Departures: the l1 random start is ours, formed like the published l2 start.
"""

import math
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.core.random import Keys
from holdfast.threats import projections, steps, support
from holdfast.threats.base import Ball
from holdfast.threats.radius import Radius


class Linf(Ball):
    """||x' - x||_inf <= radius: every feature may move by the radius.

    Example:
        >>> threat = Linf("8/255")
        >>> x = torch.full((1, 3), 0.99)
        >>> threat.project(x + 0.1, x)
        tensor([[1., 1., 1.]])
        >>> threat.text
        'linf:8/255'
    """

    p: ClassVar[float] = math.inf
    kind: ClassVar[str] = "linf"

    def project(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """The nearest point of ball and box, exact as both are separable; (B, *E).

        Guarantee: points inside are returned unchanged; the result is contained.
        Cost: 4 elementwise kernels with a box within [-8, 8].
        """
        return projections.linf(x_adv, x, self._fitted(x_adv, x), self.box)

    def steepest(self, grad: Tensor, length: float | Tensor) -> Tensor:
        """length * sign(grad), (B, *E); with one radius per feature length * radius * sign(grad).

        Args:
            length: a number or (B,), in input units; with one radius per feature, in multiples of
                the radius (see `reach`).
        """
        return steps.linf(grad, _column(length, grad), self._scale(grad))

    def _unit(self, x: Tensor, keys: Keys, step: int | Tensor) -> Tensor:
        """Uniform in the ball: the start of fast adversarial training (Wong 2020, sec 4.1.1)."""
        return keys.uniform(x.shape[1:], step, low=-1.0, high=1.0)

    def _support(self, v: Tensor, x: Tensor, radius: Radius) -> Tensor:
        return support.linf(v, x, radius, self.box)


class L2(Ball):
    """||x' - x||_2 <= radius: the Euclidean length of the change is bounded.

    Example:
        >>> threat = L2(1.0, box=None)
        >>> threat.project(torch.tensor([[3.0, 4.0]]), torch.zeros(1, 2))
        tensor([[0.6000, 0.8000]])
    """

    p: ClassVar[float] = 2.0
    kind: ClassVar[str] = "l2"

    def project(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """The nearest point of ball and box, (B, *E); not differentiable.

        Guarantee: points inside are returned unchanged; the result is contained.
        Cost: a few passes over the features in float64; one per round of the active-set iteration,
            commonly 2 to 5.
        """
        radius = self._fitted(x_adv, x)
        return projections.l2(x_adv, x, radius, self.box, exact=self.projection == "exact")

    def steepest(self, grad: Tensor, length: float | Tensor) -> Tensor:
        """length * grad / ||grad||_2, (B, *E), zero for a zero gradient.

        With one radius w per feature the constraint is ||step / w||_2 <= length and the step is
        length * w^2 grad / ||w grad||_2.

        Args:
            length: a number or (B,), in input units; with one radius per feature, in multiples of
                the radius (see `reach`).
        """
        return steps.l2(grad, _column(length, grad), self._scale(grad))

    def _unit(self, x: Tensor, keys: Keys, step: int | Tensor) -> Tensor:
        """A Gaussian direction of length U(0, 1): the published start, not uniform in volume."""
        direction = steps.l2(keys.normal(x.shape[1:], step), 1.0)
        return direction.mul_(_length(keys, x, step))

    def _support(self, v: Tensor, x: Tensor, radius: Radius) -> Tensor:
        return support.l2(v, x, radius, self.box)


class L1(Ball):
    """||x' - x||_1 <= radius: the absolute changes add up to at most the radius.

    Example:
        >>> threat = L1(2.0, box=None)
        >>> threat.project(torch.tensor([[3.0, -1.0, 0.5]]), torch.zeros(1, 3))
        tensor([[2., 0., 0.]])
    """

    p: ClassVar[float] = 1.0
    kind: ClassVar[str] = "l1"

    def project(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """The nearest point of ball and box, (B, *E); not differentiable.

        Guarantee: points inside are returned unchanged; the result is contained.
        Cost: about ten passes over the features in float64, one per Newton round.
        """
        radius = self._fitted(x_adv, x)
        return projections.l1(x_adv, x, radius, self.box, exact=self.projection == "exact")

    def steepest(self, grad: Tensor, length: float | Tensor) -> Tensor:
        """The whole length on one coordinate of largest gradient, (B, *E); the first among equals.

        With one radius w per feature the constraint is ||step / w||_1 <= length: the coordinate of
        largest w |grad| moves by length * w. `steps.l1` spreads the length over several.

        Args:
            length: a number or (B,), in input units; with one radius per feature, in multiples of
                the radius (see `reach`).
        """
        return steps.l1(grad, _column(length, grad), self._scale(grad))

    def _unit(self, x: Tensor, keys: Keys, step: int | Tensor) -> Tensor:
        """A Laplace direction (uniform on the l1 sphere) of length U(0, 1), as for l2."""
        size = -torch.log1p(-keys.uniform(x.shape[1:], step))
        total = size.flatten(1).sum(dim=1).clamp_min(torch.finfo(size.dtype).tiny)
        direction = size.mul_(keys.fold("sign").sign(x.shape[1:], step))
        return direction.div_(_column(total, x)).mul_(_length(keys, x, step))

    def _support(self, v: Tensor, x: Tensor, radius: Radius) -> Tensor:
        return support.l1(v, x, radius, self.box)


def _length(keys: Keys, x: Tensor, step: int | Tensor) -> Tensor:
    """U(0, 1) for each example, from a stream of its own, beside x (B, *E)."""
    return keys.fold("length").uniform((), step).view(-1, *(1,) * (x.ndim - 1))


def _column(values: float | Tensor, like: Tensor) -> float | Tensor:
    """A number as it is; (B,) in a shape that broadcasts over `like` (B, *E)."""
    if not isinstance(values, Tensor):
        return values
    return values.to(like).view(-1, *(1,) * (like.ndim - 1))
