"""The sparse threat `L0`: few features, or few pixels, change, each as far as the box allows.

The set is {x' : #{i : x'_i != x_i} <= K, low <= x' <= high}. It is not convex, yet every operation
is separable but for the count, so that each is a choice of the K groups that count most. A group
is one feature, or one pixel (a place of an image with all its channels). With u_i, l_i the distance
of x_i to the box above and below, a = x_adv - x, and c the move a clipped to the box:

    project:   keep c in the K groups of largest  sum (2 a_i - c_i) c_i  (what moving them gains)
    support:   <v, x> + the K largest of          sum max(v_i u_i, -v_i l_i)
    steepest:  length * sign(g) in the K groups of largest  sum |g_i|

Source: Croce and Hein 2019, arXiv:1909.05040 (the l0 ball with a box, its projection and PGD for
    it, by pixels); Papernot et al. 2016, arXiv:1511.07528 (few features).
Departures: the projection ranks by what a move gains and not by its length, which is the nearest
    point; `projection="clip"` ranks by length and then clips. A random start changes as many groups
    as are allowed, each to a value that is uniform in the box.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

import torch
from torch import Tensor

from holdfast.core.errors import InputError, described, unknown_name
from holdfast.core.random import Keys
from holdfast.threats.base import Ball, Projection
from holdfast.threats.box import Box
from holdfast.threats.radius import TOLERANCE, Radius, fitted

Per = Literal["feature", "pixel"]


@dataclass(frozen=True, eq=False, init=False)
class L0(Ball):
    """At most `radius` features or pixels change, by any amount within the box.

    Args:
        radius: how many may change: a whole number, a text, or a tensor (B,) with one per example.
            `inf` is the geometry alone.
        box: (low, high) of valid inputs, or None: then the hull is infinite.
        projection: `exact` is the nearest point; `clip` keeps the longest moves and then clips.
        per: what is counted: each `feature`, or each `pixel` of an image (C, H, W) once, whichever
            of its channels change.

    Guarantee: a feature counts as changed when its value differs at all, so rounding is not
        forgiven; the box counts with 1e-6.

    Raises:
        InputError: a radius that is not a whole number >= 0, or one per feature.

    Example:
        >>> threat = L0(1)
        >>> threat.project(torch.tensor([[0.9, 7.0, 0.4]]), torch.full((1, 3), 0.5))
        tensor([[0.5000, 1.0000, 0.5000]])
        >>> threat.text
        'l0:1'
    """

    per: Per
    p: ClassVar[float] = 0.0
    kind: ClassVar[str] = "l0"

    def __init__(
        self,
        radius: float | str | Tensor,
        *,
        box: Box | None = (0.0, 1.0),
        projection: Projection = "exact",
        per: Per = "feature",
    ):
        if per not in ("feature", "pixel"):
            raise unknown_name("per", str(per), ("feature", "pixel"))
        super().__init__(radius, box=box, projection=projection)
        _check_count(self.radius)
        object.__setattr__(self, "per", per)

    @property
    def text(self) -> str:
        """The text form, `l0:5` or `l0:5,per=pixel`, which `parse` reads back.

        Raises:
            InputError: a tensor radius has none.
        """
        return super().text + ("" if self.per == "feature" else f",per={self.per}")

    @property
    def reach(self) -> float:
        """The farthest that a feature moves: the width of the box, 1 without one."""
        return self.box[1] - self.box[0] if self.box else 1.0

    def at(self, radius: float | str | Tensor) -> Self:
        """The same geometry and box with another count."""
        return type(self)(radius, box=self.box, projection=self.projection, per=self.per)

    def accepted(self) -> Self:
        """The set that `contains` accepts: the box is wider by its tolerance, the count is not."""
        wider = self._changed(self.radius, self._rows)
        if self.box is not None:
            box = (self.box[0] - TOLERANCE, self.box[1] + TOLERANCE)
            object.__setattr__(wider, "box", box)
        return wider

    def contains(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """Whether at most `radius` features or pixels differ and x_adv lies in the box, (B,) bool.

        A difference of any size counts. The box counts with 1e-6. A point with NaN or infinity is
        never contained.
        """
        radius = self._fitted(x_adv, x)
        limit = radius.flatten() if isinstance(radius, Tensor) else radius
        inside = (self._count(x_adv, x) <= limit) & x_adv.flatten(1).isfinite().all(dim=1)
        if self.box is not None:
            valid = x_adv.flatten(1).to(torch.float64)
            low, high = self.box[0] - TOLERANCE, self.box[1] + TOLERANCE
            inside &= ((valid >= low) & (valid <= high)).all(dim=1)
        return inside

    def size(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """How many features or pixels differ, (B,), in the dtype of x. The box does not enter."""
        self._fitted(x_adv, x)
        return self._count(x_adv, x).to(x.dtype)

    def project(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """The nearest point of count and box, (B, *E); differentiable in x_adv and x.

        Guarantee: exact: other features are those of x bit by bit; points inside are returned
            unchanged; the result is contained.
        Cost: one sort of the groups.
        """
        radius = self._fitted(x_adv, x)
        clipped = x_adv if self.box is None else x_adv.clamp(*self.box)
        with torch.no_grad():
            move = x_adv.to(torch.float64) - x.to(torch.float64)
            held = clipped.to(torch.float64) - x.to(torch.float64)
            gain = (2 * move - held) * held if self.projection == "exact" else move.square()
            kept = self._spread(_top(self._grouped(gain).sum(dim=-2), radius), x)
        return torch.where(kept, clipped, x)

    def steepest(self, grad: Tensor, length: float | Tensor) -> Tensor:
        """The step that maximises <grad, step> where at most `radius` features or pixels move, each
        feature by at most `length`; (B, *E).

        That is length * sign(grad) in the groups of largest |grad|. Ties are broken by place.

        Args:
            length: a number or (B,), in input units; see `reach`.
        """
        if isinstance(length, Tensor):
            length = length.to(grad).view(-1, *(1,) * (grad.ndim - 1))
        size = self._grouped(grad.abs()).sum(dim=-2)
        chosen = self._spread(_top(size, fitted(self.radius, self._rows, grad)), grad)
        return (grad.sign() * chosen).mul_(length)

    def sample(self, x: Tensor, *, keys: Keys, step: int | Tensor = 0) -> Tensor:
        """A random start, (B, *E): as many features or pixels as are allowed, chosen uniformly,
        take values uniform in the box (without a box they move by U(-1, 1)).

        Args:
            keys: of the examples, on the device of x.
            step: the draw, a number or one per example (B,).

        Raises:
            InputError: the radius is infinite.
        """
        if not isinstance(self.radius, Tensor) and math.isinf(self.radius):
            raise InputError("radius", self.radius, "has no random start", "give a finite radius")
        move = self._unit(x, keys, step).to(x.dtype)
        if self.box is None:
            return x + move
        low, high = self.box
        value = low + (high - low) * (move + 1) / 2
        return torch.where(move == 0, x, value.clamp(low, high))

    def hull(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The smallest box around all that `contains` accepts, (lo, hi), each (B, *E).

        Any one feature may take any value, so this is the box of valid inputs with its tolerance,
        infinite without one; where nothing may change, it is x.
        """
        radius = fitted(self.radius, self._rows, x)
        low, high = self.box or (-math.inf, math.inf)
        ulp = torch.finfo(x.dtype).eps
        free = torch.as_tensor(radius, device=x.device) >= 1
        least = torch.full_like(x, low - TOLERANCE - ulp * abs(low) if self.box else low)
        most = torch.full_like(x, high + TOLERANCE + ulp * abs(high) if self.box else high)
        return torch.where(free, least, x), torch.where(free, most, x)

    def support(self, v: Tensor, x: Tensor) -> Tensor:
        """The largest <v, x'> over count and box, exact, (B, R); infinite without a box.

        The set is the nominal one; `accepted().support(v, x)` covers the tolerance of `contains`.

        Args:
            v: (B, R, *E) linear forms.
            x: (B, *E).

        Guarantee: exact up to rounding; differentiable almost everywhere in v and x.
        """
        radius = fitted(self.radius, self._rows, x)
        return self._support(self._grouped(v, lead=2), self._grouped(x), radius)

    def _unit(self, x: Tensor, keys: Keys, step: int | Tensor) -> Tensor:
        """U(-1, 1) in randomly chosen features or pixels, 0 elsewhere."""
        places = self._grouped(x).shape[-1]
        rank = keys.fold("places").permutation(places, step).argsort(dim=1)
        radius = fitted(self.radius, self._rows, x)
        limit = radius.flatten(1) if isinstance(radius, Tensor) else radius
        chosen = self._spread(rank < limit, x)
        return keys.uniform(x.shape[1:], step, low=-1.0, high=1.0) * chosen

    def _support(self, v: Tensor, x: Tensor, radius: Radius) -> Tensor:
        """For v (B, R, c, m) and x (B, c, m), m groups of c features each."""
        centre = torch.einsum("brcm,bcm->br", v, x.expand(len(v), *x.shape[1:]))
        low, high = self.box or (-math.inf, math.inf)
        up, down = (high - x).clamp_min(0.0).unsqueeze(1), (x - low).clamp_min(0.0).unsqueeze(1)
        gain = torch.where(v == 0, 0.0, torch.where(v > 0, v * up, -v * down)).sum(dim=2)
        limit = radius.view(-1, 1, 1) if isinstance(radius, Tensor) else radius
        return centre + torch.where(_top(gain, limit), gain, 0.0).sum(dim=2)

    def _count(self, x_adv: Tensor, x: Tensor) -> Tensor:
        return self._grouped(x_adv != x).any(dim=-2).sum(dim=-1)

    def _grouped(self, values: Tensor, lead: int = 1) -> Tensor:
        """(B, *E) as (B, c, m): m groups of c features; `lead` axes stand before the event."""
        if self.per == "feature":
            return values.flatten(lead).unsqueeze(lead)
        if values.ndim != lead + 3:
            shown = described(f"shape {tuple(values.shape[lead:])}")
            raise InputError("x", shown, "has no pixels", "give images (C, H, W), or per=feature")
        return values.flatten(lead + 1)

    def _spread(self, chosen: Tensor, like: Tensor) -> Tensor:
        """A choice of groups (B, m) as a choice of features (B, *E)."""
        if self.per == "feature":
            return chosen.view_as(like)
        return chosen.view(len(like), 1, *like.shape[2:])

    def _content(self) -> tuple[object, ...]:
        return *super()._content(), self.per


def _top(gain: Tensor, count: Radius) -> Tensor:
    """Which entries are among the `count` largest along the last axis, ties by place; bool."""
    if not isinstance(count, Tensor) and count >= gain.shape[-1]:
        return torch.ones_like(gain, dtype=torch.bool)
    order = gain.detach().argsort(dim=-1, descending=True, stable=True)
    limit = count.flatten(1) if isinstance(count, Tensor) and gain.ndim == 2 else count
    first = torch.arange(gain.shape[-1], device=gain.device) < limit
    return torch.zeros_like(gain, dtype=torch.bool).scatter_(-1, order, first.expand_as(gain))


def _check_count(radius: Radius) -> None:
    plain = torch.as_tensor(radius, dtype=torch.float64)
    shown = described(f"tensor of shape {tuple(plain.shape)}") if plain.ndim else radius
    if plain.ndim > 1:
        raise InputError("radius", shown, "is one per feature", "give one count per example, (B,)")
    if not bool((plain == plain.floor()).all()):
        raise InputError("radius", shown, "is not a whole number", "give how many may change")
