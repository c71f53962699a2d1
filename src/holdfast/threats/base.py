"""What the norm balls share: the set, its text form, membership, size, hull.

The set is {x' : ||x' - x||_p <= radius, low <= x' <= high}; with one radius per feature it is
{x' : ||(x' - x) / radius||_p <= 1, low <= x' <= high} (Liu 2022, sec 3.2). The input x itself lies
in the box. What a radius means is in `radius`.

Source: Wong 2020, sec 2.1.1 (the threat as a set with membership, projection, sampler, support
    function).
Departures: projections are onto the intersection of ball and box, not onto one after the other;
    `projection="clip"` is the published order.
"""

import copy
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

import torch
from torch import Tensor

from holdfast.core.errors import InputError, UnsupportedThreat, described, unknown_name
from holdfast.core.random import Keys
from holdfast.core.tensors import norm
from holdfast.threats import projections
from holdfast.threats.box import Box, as_box
from holdfast.threats.radius import (
    TOLERANCE,
    Radius,
    as_radius,
    content,
    fitted,
    flattened,
    per_feature,
    select,
    widened,
    written,
)

Projection = Literal["exact", "clip"]


@dataclass(frozen=True, eq=False, init=False)
class Ball(ABC):
    """What `Linf`, `L2` and `L1` share; use one of those.

    Args:
        radius: in input units: a number, a text such as `"8/255"`, a tensor (B,) with one radius
            per example, or a tensor (1, *E), (B, *E), or E with two or more axes, with one radius
            per feature (0 fixes the feature). A tensor with one axis is always one per example.
            `inf` is the geometry alone.
        box: (low, high) of valid inputs, or None.
        projection: `exact` is the nearest point of ball and box; `clip` projects onto the ball and
            then clips to the box, as published attacks do.

    Raises:
        InputError: a negative or NaN radius, a box that is not low < high, an unknown projection.
    """

    radius: Radius
    box: Box | None
    projection: Projection
    _rows: ClassVar[Tensor | None] = None
    p: ClassVar[float]
    kind: ClassVar[str]

    def __init__(
        self,
        radius: float | str | Tensor,
        *,
        box: Box | None = (0.0, 1.0),
        projection: Projection = "exact",
    ):
        if projection not in ("exact", "clip"):
            raise unknown_name("projection", str(projection), ("exact", "clip"))
        object.__setattr__(self, "radius", as_radius(radius))
        object.__setattr__(self, "box", as_box(box))
        object.__setattr__(self, "projection", projection)

    @property
    def text(self) -> str:
        """The text form, `linf:8/255` or `l2:0.5,box=none`, which `parse` reads back.

        Raises:
            InputError: a tensor radius has none.
        """
        parts = [f"{self.kind}:{written(self.radius)}"]
        if self.box != (0.0, 1.0):
            parts.append("box=" + (":".join(map(written, self.box)) if self.box else "none"))
        if self.projection != "exact":
            parts.append(f"projection={self.projection}")
        return ",".join(parts)

    @property
    def name(self) -> str:
        """The text form, under which records name the threat."""
        return self.text

    @property
    def reach(self) -> Radius:
        """The length, as `steepest` measures it, from the centre to the surface of the ball: the
        radius, or 1 where there is one radius per feature."""
        return 1.0 if per_feature(self.radius) else self.radius

    def __str__(self) -> str:
        if not isinstance(self.radius, Tensor):
            return self.text
        return f"{self.kind}:tensor of shape {tuple(self.radius.shape)}"

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self._content() == other._content()

    def __hash__(self) -> int:
        return hash(self._content())

    def at(self, radius: float | str | Tensor) -> Self:
        """The same geometry and box with another radius."""
        return type(self)(radius, box=self.box, projection=self.projection)

    def rows(self, which: Tensor) -> Self:
        """The threat of selected examples: their radii; itself where all share one.

        Args:
            which: (B,) bool, or their indices.
        """
        radius, chosen = select(self.radius, self._rows, which)
        return self if radius is self.radius and chosen is None else self._changed(radius, chosen)

    def accepted(self) -> Self:
        """The set that `contains` accepts, tolerance included, as a threat: what a certificate has
        to cover."""
        box = self.box and (self.box[0] - TOLERANCE, self.box[1] + TOLERANCE)
        wider = self._changed(widened(self.radius), self._rows)
        object.__setattr__(wider, "box", box)
        return wider

    def unboxed(self) -> Self:
        """The same ball without its box."""
        bare = self._changed(self.radius, self._rows)
        object.__setattr__(bare, "box", None)
        return bare

    def contains(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """Whether x_adv lies in the ball around x and in the box, (B,) bool.

        Computed in float64. The ball counts with radius + 1e-6 max(1, radius), feature by feature
        where radii are, the box with 1e-6. A point with NaN or infinity is never contained.
        """
        _same_shape(x_adv, x)
        bound = widened(fitted(self.radius, self._rows, x.to(torch.float64)))
        move = (x_adv.to(torch.float64) - x.to(torch.float64)) / bound
        inside = norm(move, self.p) <= 1
        if self.box is not None:
            low, high = self.box[0] - TOLERANCE, self.box[1] + TOLERANCE
            valid = x_adv.to(torch.float64).flatten(1)
            inside &= ((valid >= low) & (valid <= high)).all(dim=1)
        return inside

    def size(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """The smallest radius whose ball contains x_adv, (B,): ||x_adv - x||_p.

        With one radius per feature, the smallest factor on the radii, ||(x_adv - x) / radius||_p.
        The box does not enter. Computed in float64, returned in the dtype of x.
        """
        _same_shape(x_adv, x)
        move = x_adv.to(torch.float64) - x.to(torch.float64)
        if per_feature(self.radius):
            move = torch.where(move == 0, 0.0, move / fitted(self.radius, self._rows, move))
        return norm(move, self.p).to(x.dtype)

    @abstractmethod
    def project(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """The point of the ball and the box that is nearest to x_adv in Euclidean distance."""

    @abstractmethod
    def steepest(self, grad: Tensor, length: float | Tensor) -> Tensor:
        """The step that maximises <grad, step> over ||step||_p <= length."""

    def sample(self, x: Tensor, *, keys: Keys, step: int | Tensor = 0) -> Tensor:
        """A random start in the ball around x, then clipped to the box; (B, *E).

        Clipping moves every feature towards x, so the start stays in the ball.

        Args:
            keys: of the examples, on the device of x.
            step: the draw, a number or one per example (B,).

        Raises:
            InputError: the radius is infinite.
        """
        if not isinstance(self.radius, Tensor) and math.isinf(self.radius):
            raise InputError("radius", self.radius, "has no random start", "give a finite radius")
        radius = fitted(self.radius, self._rows, x)
        move = torch.empty_like(x).copy_(self._unit(x, keys, step)).mul_(radius)
        return projections.linf(move.add_(x), x, radius, self.box)

    def hull(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The smallest box around all that `contains` accepts: (lo, hi), each (B, *E).

        Bounds are rounded outwards in the dtype of x (use float64 for certificates) and
        differentiable in x and in a tensor radius.
        """
        radius = widened(fitted(self.radius, self._rows, x))
        low, high = x - radius, x + radius
        ulp = torch.finfo(x.dtype).eps
        low = low - ulp * (low.detach().abs() + 2 * radius)
        high = high + ulp * (high.detach().abs() + 2 * radius)
        if self.box is None:
            return low, high
        least, most = self.box
        return (
            low.clamp_min(least - TOLERANCE - ulp * abs(least)),
            high.clamp_max(most + TOLERANCE + ulp * abs(most)),
        )

    def support(self, v: Tensor, x: Tensor) -> Tensor:
        """The largest <v, x'> over the ball and the box, exact, (B, R).

        The set is the nominal one; `accepted().support(v, x)` covers the tolerance of `contains`.

        Args:
            v: (B, R, *E) linear forms.
            x: (B, *E).

        Guarantee: exact up to rounding; differentiable almost everywhere in v, x and a tensor
            radius.
        """
        radius = flattened(fitted(self.radius, self._rows, x), x)
        return self._support(v.flatten(2), x.flatten(1), radius)

    @abstractmethod
    def _unit(self, x: Tensor, keys: Keys, step: int | Tensor) -> Tensor:
        """A random move within the ball of radius 1, a new tensor (B, *E)."""

    @abstractmethod
    def _support(self, v: Tensor, x: Tensor, radius: Radius) -> Tensor:
        """The support for flat inputs: v (B, R, n), x (B, n) -> (B, R)."""

    def _scale(self, grad: Tensor) -> Tensor | None:
        """One radius per feature, as the scale of a step; None where the radius is uniform."""
        if not per_feature(self.radius):
            return None
        scale = fitted(self.radius, self._rows, grad)
        return scale if isinstance(scale, Tensor) else None

    def _fitted(self, x_adv: Tensor, x: Tensor) -> Radius:
        """The radius beside x, once the shapes are checked."""
        _same_shape(x_adv, x)
        return fitted(self.radius, self._rows, x)

    def _changed(self, radius: Radius, rows: Tensor | None) -> Self:
        other = copy.copy(self)
        object.__setattr__(other, "radius", radius)
        object.__setattr__(other, "_rows", rows)
        return other

    def _content(self) -> tuple[object, ...]:
        return self.kind, content(self.radius), content(self._rows), self.box, self.projection


def _same_shape(x_adv: Tensor, x: Tensor) -> None:
    if x_adv.shape != x.shape:
        shown = described(f"tensor of shape {tuple(x_adv.shape)}")
        raise InputError("x_adv", shown, "differs from x", f"give shape {tuple(x.shape)}")


def unboxed(threat: object, remedy: str) -> Ball:
    """A norm ball without its box, for methods that step outside of it.

    Args:
        remedy: what to use instead, for the error.

    Raises:
        UnsupportedThreat: the threat is no norm ball.
    """
    if not isinstance(threat, Ball):
        problem = f"{type(threat).__name__} is no norm ball without its box"
        raise UnsupportedThreat(f"{problem}; {remedy}")
    return threat.unboxed()
