"""How long the perturbation of one random start and one signed step is, exactly.

    eta ~ U([-eps, eps]^d),   delta = clip_{[-eps, eps]}( eta + alpha sign(g) ),   alpha <= 2 eps.

Lemma 1: if the signs of g do not depend on eta, as for a locally linear loss, and g has no zero
coordinate, then

    (E||delta||_2)^2 <= E||delta||_2^2 = d ( -alpha^3 / (6 eps) + alpha^2 / 2 + eps^2 / 3 ),

whose root rises from eps sqrt(d / 3) at alpha = 0 to eps sqrt(d), FGSM's length, at alpha = 2 eps.
A random start is a shorter step: with alpha = 1.25 eps the bound is 0.888 of FGSM's length. Where
the sign of g follows that of eta the second moment is larger, where it opposes it smaller.

Symbols: eps -> `radius`, alpha -> `step_size`, d -> `features`, g -> `gradient`.
Source: Andriushchenko and Flammarion 2020, arXiv:2007.02617; Andriushchenko 2024, Lemma 1, sec 2.4
    and 2.8.1, Fig 2.2.
Departures: the lemma's equality needs signs that are independent of eta, which its proof uses and
its statement does not say; the other two cases and E|delta_i| are ours. There is no box.
"""

import math

import torch
from torch import Tensor

from holdfast.core.errors import InputError
from holdfast.core.random import Keys
from holdfast.core.recipes import NonNegative, Positive, hyperparameters


@hyperparameters
class RandomStep:
    """A uniform start in the linf ball and one signed step from it, clipped to the ball.

    Args:
        radius: eps.
        step_size: alpha, from 0 to 2 eps, in the unit of the radius.

    Guarantee: moments are exact for signs that are independent of the start, unless said otherwise.

    Raises:
        InputError: a step of more than two radii.

    Example:
        >>> step = RandomStep(radius=1.0, step_size=1.25)
        >>> round(step.size_bound(features=1), 5), round(step.mean_absolute, 5)
        (0.88829, 0.85938)
    """

    radius: Positive = 1.0
    step_size: NonNegative = 1.25

    def __post_init__(self) -> None:
        if self.step_size > 2 * self.radius:
            most = 2 * self.radius
            raise InputError("step_size", self.step_size, "exceeds 2 radii", f"give 0 to {most:g}")

    @property
    def second_moment(self) -> float:
        """E delta_i^2 of Lemma 1."""
        eps, alpha = self.radius, self.step_size
        return -(alpha**3) / (6 * eps) + alpha**2 / 2 + eps**2 / 3

    @property
    def mean_absolute(self) -> float:
        """E|delta_i|: the expected length in one dimension, where Jensen's inequality is widest."""
        eps, alpha = self.radius, self.step_size
        inside = eps**2 + (eps - alpha) * abs(eps - alpha)
        return alpha / 2 + inside / (4 * eps)

    @property
    def corner_share(self) -> float:
        """P(|delta_i| = eps) = alpha / (2 eps)."""
        return self.step_size / (2 * self.radius)

    @property
    def second_moment_along(self) -> float:
        """E delta_i^2 where the gradient has the sign of the start: every step leads outwards."""
        eps, alpha = self.radius, self.step_size
        if alpha >= eps:
            return eps**2
        return alpha * eps + (eps**3 - alpha**3) / (3 * eps)

    @property
    def second_moment_against(self) -> float:
        """E delta_i^2 where the gradient has the opposite sign: every step leads inwards first."""
        eps, alpha = self.radius, self.step_size
        if alpha <= eps:
            return ((eps - alpha) ** 3 + alpha**3) / (3 * eps)
        return eps * (alpha - eps) + (eps**3 - (alpha - eps) ** 3) / (3 * eps)

    def size_bound(self, features: int, without_gradient: int = 0) -> float:
        """The bound of Lemma 1 on E||delta||_2.

        Args:
            features: d.
            without_gradient: how many of them have a gradient of zero; each adds eps^2 / 3.
        """
        moved = (features - without_gradient) * self.second_moment
        return math.sqrt(moved + without_gradient * self.radius**2 / 3)

    def start(self, features: int, keys: Keys) -> Tensor:
        """eta, (B, d) float64."""
        unit = keys.fold("start").uniform((features,)).double()
        return self.radius * (2 * unit - 1)

    def step(self, start: Tensor, gradient: Tensor) -> Tensor:
        """delta, (B, d) float64: the clipped step from eta along the signs of the gradient."""
        moved = start.double() + self.step_size * torch.sign(gradient).double()
        return moved.clamp(-self.radius, self.radius)

    def sizes(self, gradient: Tensor, keys: Keys) -> Tensor:
        """||delta||_2 of one draw for each key, (B,) float64, for a linear loss.

        Args:
            gradient: (d,) of the loss.
        """
        return self.step(self.start(len(gradient), keys), gradient).norm(dim=1)
