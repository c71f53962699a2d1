"""Additive noise as a threat: a distribution over what may happen to an input, not its worst case.

A draw is x' = x + d, then clipped to the box; the density is that of d, before clipping:

    Gaussian        log p = -||d||_2^2 / (2 sigma^2) - n log(sigma sqrt(2 pi))
    UniformLinf     log p = -n log(2 eps)                                          ||d||_inf <= eps
    UniformL2       log p = log Gamma(n/2 + 1) - n/2 log pi - n log eps            ||d||_2 <= eps
    SaltAndPepper   each feature becomes low or high, with probability fraction / 2 each; no density

`contains` is membership in the support of what is drawn, `size` the level that fits a change: no
method can search for a worst case in them, as they have no projection.

Source: Rice 2023, sec 3.1.6, 3.2 and 3.3 (Gaussian and uniform distributions between the average
    and the worst case); Cohen et al. 2019, arXiv:1902.02918 (Gaussian noise); Hendrycks and
    Dietterich 2019, arXiv:1903.12261 (impulse noise).
Departures: salt and pepper fall on each feature on its own, so on each channel of a pixel.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, fields
from typing import ClassVar, Self

import torch
from torch import Tensor

from holdfast.core.errors import InputError, described
from holdfast.core.numbers import number
from holdfast.core.random import Keys
from holdfast.core.tensors import norm, per_example
from holdfast.threats import steps
from holdfast.threats.balls import L2, Linf
from holdfast.threats.box import Box, as_box
from holdfast.threats.radius import TOLERANCE, written

_UNIT = (0.0, 1.0)


class Noise(ABC):
    """What the distributions share; use one of those. The level is the first argument of each."""

    kind: ClassVar[str]
    box: Box | None

    def __post_init__(self) -> None:
        name = fields(self)[0].name  # type: ignore[arg-type]
        given = getattr(self, name)
        level = number(given, name)
        if not 0 < level < math.inf:
            raise InputError(name, given, "is not positive and finite", "give a level such as 0.1")
        object.__setattr__(self, name, level)
        object.__setattr__(self, "box", as_box(self.box))

    @property
    def level(self) -> float:
        """How strong the noise is: the value of the first argument."""
        return float(getattr(self, fields(self)[0].name))  # type: ignore[arg-type]

    @property
    def text(self) -> str:
        """The text form, `gaussian:0.1` or `uniform-l2:2,box=none`."""
        box = "none" if self.box is None else ":".join(map(written, self.box))
        return f"{self.kind}:{written(self.level)}" + (f",box={box}" if self.box != _UNIT else "")

    @property
    def name(self) -> str:
        """The text form, under which records name the threat."""
        return self.text

    def __str__(self) -> str:
        return self.text

    def at(self, level: float | str) -> Self:
        """The same distribution and box at another level."""
        return type(self)(level, box=self.box)  # type: ignore[call-arg]

    def rows(self, which: Tensor) -> Self:
        """The threat of selected examples: itself, as all share the level."""
        return self

    def sample(self, x: Tensor, *, keys: Keys, step: int | Tensor = 0) -> Tensor:
        """A noisy x, clipped to the box, (B, *E).

        Args:
            keys: of the examples, on the device of x.
            step: the draw, a number or one per example (B,).
        """
        noisy = x + self._noise(x, keys, step).to(x.dtype)
        return noisy if self.box is None else noisy.clamp_(*self.box)

    def contains(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """Whether x_adv can be drawn, (B,) bool: in the box and in the support, both to 1e-6.

        A point with NaN or infinity is never contained.
        """
        _same_shape(x_adv, x)
        return _valid(x_adv, self.box)

    @abstractmethod
    def size(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """The level that fits the change from x to x_adv, (B,), in the dtype of x."""

    @abstractmethod
    def _noise(self, x: Tensor, keys: Keys, step: int | Tensor) -> Tensor:
        """A draw of d, a new tensor (B, *E)."""


@dataclass(frozen=True)
class Gaussian(Noise):
    """Independent normal noise of standard deviation `sigma` on every feature.

    Args:
        sigma: in input units, above 0.
        box: (low, high) of valid inputs, to which draws are clipped, or None.

    Example:
        >>> noise = Gaussian(0.1, box=None)
        >>> noise.log_density(torch.zeros(1, 2), torch.zeros(1, 2))
        tensor([2.7673])
    """

    sigma: float | str
    box: Box | None = field(default=_UNIT, kw_only=True)
    kind: ClassVar[str] = "gaussian"

    def size(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """The root mean square of the change, (B,): the sigma that makes it likeliest."""
        return (_length(x_adv, x, 2) / math.sqrt(x[0].numel())).to(x.dtype)

    def log_density(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """log p(x_adv | x) before clipping, (B,); differentiable, with gradient -d / sigma^2."""
        _same_shape(x_adv, x)
        square = (x_adv - x).to(torch.float64).flatten(1).square().sum(dim=1)
        constant = x[0].numel() * math.log(self.level * math.sqrt(2 * math.pi))
        return (-square / (2 * self.level**2) - constant).to(x.dtype)

    def _noise(self, x: Tensor, keys: Keys, step: int | Tensor) -> Tensor:
        return keys.normal(x.shape[1:], step).mul_(self.level)


@dataclass(frozen=True)
class UniformLinf(Noise):
    """Noise that is uniform in the Linf ball of radius `eps`: every feature on its own.

    Args:
        eps: in input units, above 0.
        box: (low, high) of valid inputs, to which draws are clipped, or None.

    Example:
        >>> UniformLinf("8/255").text
        'uniform-linf:8/255'
    """

    eps: float | str
    box: Box | None = field(default=_UNIT, kw_only=True)
    kind: ClassVar[str] = "uniform-linf"

    def contains(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """Whether x_adv lies in the ball around x and in the box, (B,) bool, both to 1e-6."""
        return Linf(self.level, box=self.box).contains(x_adv, x)

    def size(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """The largest change of a feature, (B,)."""
        return _length(x_adv, x, math.inf).to(x.dtype)

    def log_density(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """log p(x_adv | x) before clipping, (B,): constant in the ball, -inf outside."""
        inside = Linf(self.level, box=None).contains(x_adv, x)
        value = -x[0].numel() * math.log(2 * self.level)
        return torch.where(inside, value, -math.inf).to(x.dtype)

    def _noise(self, x: Tensor, keys: Keys, step: int | Tensor) -> Tensor:
        return keys.uniform(x.shape[1:], step, low=-1.0, high=1.0).mul_(self.level)


@dataclass(frozen=True)
class UniformL2(Noise):
    """Noise that is uniform in volume in the L2 ball of radius `eps`.

    A direction of equal chance, and a length eps U^(1/n): in many dimensions almost eps.

    Args:
        eps: in input units, above 0.
        box: (low, high) of valid inputs, to which draws are clipped, or None.

    Example:
        >>> UniformL2(2, box=None).text
        'uniform-l2:2,box=none'
    """

    eps: float | str
    box: Box | None = field(default=_UNIT, kw_only=True)
    kind: ClassVar[str] = "uniform-l2"

    def contains(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """Whether x_adv lies in the ball around x and in the box, (B,) bool, both to 1e-6."""
        return L2(self.level, box=self.box).contains(x_adv, x)

    def size(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """The Euclidean length of the change, (B,)."""
        return _length(x_adv, x, 2).to(x.dtype)

    def log_density(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """log p(x_adv | x) before clipping, (B,): constant in the ball, -inf outside."""
        inside = L2(self.level, box=None).contains(x_adv, x)
        count = x[0].numel()
        unit = math.lgamma(count / 2 + 1) - count / 2 * math.log(math.pi)
        return torch.where(inside, unit - count * math.log(self.level), -math.inf).to(x.dtype)

    def _noise(self, x: Tensor, keys: Keys, step: int | Tensor) -> Tensor:
        share = keys.fold("length").uniform((), step).to(torch.float64) ** (1 / x[0].numel())
        direction = steps.l2(keys.normal(x.shape[1:], step), 1.0)
        return direction.mul_(per_example(share * self.level, direction))


@dataclass(frozen=True)
class SaltAndPepper(Noise):
    """A share of the features jumps to the ends of the box, to each with equal chance.

    Args:
        fraction: the probability that a feature jumps, above 0 and at most 1.
        box: (low, high) of valid inputs; None is not possible.

    Example:
        >>> noise = SaltAndPepper(1)
        >>> bool(noise.contains(torch.tensor([[0.0, 1.0]]), torch.full((1, 2), 0.5)))
        True
    """

    fraction: float | str
    box: Box | None = field(default=_UNIT, kw_only=True)
    kind: ClassVar[str] = "salt-pepper"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.level > 1:
            raise InputError("fraction", self.fraction, "is above 1", "give a share such as 0.05")
        self._ends()

    def sample(self, x: Tensor, *, keys: Keys, step: int | Tensor = 0) -> Tensor:
        """x with salt and pepper, (B, *E).

        Args:
            keys: of the examples, on the device of x.
            step: the draw, a number or one per example (B,).
        """
        low, high = self._ends()
        chance = keys.uniform(x.shape[1:], step)
        salted = torch.where(chance >= 1 - self.level / 2, high, x)
        return torch.where(chance < self.level / 2, low, salted)

    def contains(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """Whether every feature of x_adv is that of x or an end of the box, (B,) bool, to 1e-6; any
        number of them can jump."""
        _same_shape(x_adv, x)
        same = torch.zeros_like(x, dtype=torch.bool)
        for value in (x.to(torch.float64), *self._ends()):
            same |= (x_adv.to(torch.float64) - value).abs() <= TOLERANCE
        return same.flatten(1).all(dim=1)

    def size(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """The share of features that differ, (B,)."""
        return (_length(x_adv, x, 0) / x[0].numel()).to(x.dtype)

    def _noise(self, x: Tensor, keys: Keys, step: int | Tensor) -> Tensor:
        return self.sample(x, keys=keys, step=step) - x

    def _ends(self) -> Box:
        if self.box is None:
            raise InputError("box", None, "has no ends to jump to", "give (low, high)")
        return self.box


def _length(x_adv: Tensor, x: Tensor, p: float) -> Tensor:
    _same_shape(x_adv, x)
    return norm(x_adv.to(torch.float64) - x.to(torch.float64), p)


def _valid(x_adv: Tensor, box: Box | None) -> Tensor:
    values = x_adv.to(torch.float64).flatten(1)
    if box is None:
        return values.isfinite().all(dim=1)
    return ((values >= box[0] - TOLERANCE) & (values <= box[1] + TOLERANCE)).all(dim=1)


def _same_shape(x_adv: Tensor, x: Tensor) -> None:
    if x_adv.shape != x.shape:
        shown = described(f"tensor of shape {tuple(x_adv.shape)}")
        raise InputError("x_adv", shown, "differs from x", f"give shape {tuple(x.shape)}")
