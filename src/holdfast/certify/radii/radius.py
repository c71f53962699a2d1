"""Certified radii: for each example the largest radius at which a certificate was seen to hold.

A certificate is a bound on the margins of a class over a threat; asked for at one radius after
another it gives

    eps*(x)  =  max { eps : min_i  lower_i(x, eps) > 0 }

up to a precision. Each example has a bracket [low, high] of its own: low is a radius at which the
certificate was evaluated and held, high one at which it failed, or the threat's radius, beyond
which nothing is asked. What is returned is low, never a root that was only computed. A certificate
need not be monotone in the radius; low is one in any case.

How the next radius is chosen is the search: `Bisection` here, the polyhedral envelope in
`envelope_search`, Newton's method in `newton`, a secant in `secant`.

Source: Wong 2020, sec 3.1.5 (Eq. 3.29); Liu 2022, sec 3.3.2 (Alg. 3.5).
Departures: the sound end of the bracket is returned, not its middle, nor the root.
"""

from dataclasses import dataclass, fields, replace
from typing import Annotated, ClassVar, Protocol, Self, runtime_checkable

import torch
from torch import Tensor, nn

from holdfast.certify.bounds.linear import Dual
from holdfast.certify.catalogue import BOUNDS
from holdfast.certify.graphs.graph import Graph, capture
from holdfast.certify.radii.envelope import norm_ball, reach_of, rounded_down, scaled
from holdfast.certify.spec import certified, margin_rows
from holdfast.core.errors import InputError, described
from holdfast.core.random import Keys
from holdfast.core.recipes import Count, From, Positive, hyperparameters
from holdfast.core.results import Bounds
from holdfast.core.tensors import norm
from holdfast.threats.base import Ball


@runtime_checkable
class Bounding(Protocol):
    """A method that bounds rows of the logits from below."""

    def bound(
        self,
        model: nn.Module | Graph,
        x: Tensor,
        threat: Ball,
        spec: Tensor,
        *,
        keys: Keys | None = None,
    ) -> Bounds:
        """Lower bounds on spec @ logits over the threat."""


@dataclass(frozen=True, eq=False)
class Radii:
    """Certified radii, example by example.

    Args:
        radius: (B,) float64, the largest radius that was seen to hold; 0 where none was.
        ceiling: (B,) the smallest radius that was seen to fail, inf where none was.
        evaluations: (B,) how often the certificate was asked; 0 for misclassified examples.
        sound: whether each radius is a proof.
    """

    radius: Tensor
    ceiling: Tensor
    evaluations: Tensor
    sound: bool

    def accuracy(self, radius: float) -> float:
        """The fraction of examples certified at a radius."""
        return float((self.radius >= radius).double().mean())


@dataclass(frozen=True, eq=False)
class Bracket:
    """Where each of a list of examples stands; all columns have shape (b, ...).

    Args:
        clean: (b, R) the rows at x itself.
        low: the largest radius that held.
        high: the smallest that failed, or the threat's.
        ceiling: the smallest that failed, or inf.
        tried: (b, 2) the last two radii, the latest last.
        values: (b, 2, R) the lower bounds there, as far as the search knows them.
        slope: the derivative of the least of them at the latest, where the search knows it.
        widths: (b, 3) of the bracket after the last three looks, the latest last.
        evaluations: so far.
    """

    clean: Tensor
    low: Tensor
    high: Tensor
    ceiling: Tensor
    tried: Tensor
    values: Tensor
    slope: Tensor
    widths: Tensor
    evaluations: Tensor

    @classmethod
    def around(cls, clean: Tensor, reach: Tensor) -> "Bracket":
        """Before the first look; at radius 0 the values are the clean ones."""
        size = len(reach)
        return cls(
            clean=clean,
            low=torch.zeros_like(reach),
            high=reach.clone(),
            ceiling=torch.full_like(reach, torch.inf),
            tried=reach.new_zeros(size, 2),
            values=clean.unsqueeze(1).repeat(1, 2, 1),
            slope=torch.zeros_like(reach),
            widths=reach.new_full((size, 3), torch.inf),
            evaluations=torch.zeros_like(reach, dtype=torch.int64),
        )

    def at(self, index: Tensor) -> Self:
        """The examples of these places."""
        return replace(
            self, **{each.name: getattr(self, each.name)[index] for each in fields(self)}
        )

    def put(self, index: Tensor, part: "Bracket") -> None:
        """Writes the examples of these places, in place."""
        for each in fields(self):
            getattr(self, each.name)[index] = getattr(part, each.name)

    def after(self, radius: Tensor, look: "Look") -> Self:
        """The bracket once the certificate has been asked at a radius (b,)."""
        failed = ~(look.certified >= radius)
        low = torch.maximum(self.low, torch.where(failed, look.certified, radius))
        high = torch.where(failed, torch.minimum(self.high, radius), self.high)
        ceiling = torch.where(failed, torch.minimum(self.ceiling, radius), self.ceiling)
        return replace(
            self,
            low=low,
            high=high,
            ceiling=ceiling,
            tried=torch.stack([self.tried[:, 1], radius], dim=1),
            values=torch.stack([self.values[:, 1], look.values.to(self.values)], dim=1),
            slope=look.slope.to(self.slope),
            widths=torch.column_stack([self.widths[:, 1:], high - low]),
            evaluations=self.evaluations + 1,
        )

    def middle(self) -> Tensor:
        """Half-way; twice the low end where nothing bounds the radius from above."""
        return torch.where(self.high.isinf(), 2 * self.low, 0.5 * (self.low + self.high))


@dataclass(frozen=True, eq=False)
class Look:
    """What the certificate says at one radius of each example.

    Args:
        certified: (b,) a radius that it proves, at most the one that was asked for.
        values: (b, R) lower bounds of the rows.
        slope: (b,) see `Bracket`.
    """

    certified: Tensor
    values: Tensor
    slope: Tensor


@hyperparameters
class Search:
    """What the searches share; use one of those that the module names.

    Args:
        method: of the bounds.
        precision: the width at which a bracket is closed, in the units of the radius.
        limit: on the evaluations of one example.
        block: examples that are searched at the same time.
    """

    method: Annotated[Bounding, From(BOUNDS)] = Dual()
    precision: Positive = 1e-4
    limit: Count = 64
    block: Count = 100
    _first: ClassVar[float] = 0.5

    @property
    def sound(self) -> bool:
        """Whether what the method certifies is proved, rounding of the radii included."""
        rigorous = getattr(self.method, "mode", "rigorous") == "rigorous"
        return rigorous and bool(getattr(self.method, "proves", True))

    def find(
        self,
        model: nn.Module | Graph,
        x: Tensor,
        y: Tensor | None,
        threat: Ball,
        *,
        start: Tensor | None = None,
        keys: Keys | None = None,
    ) -> Radii:
        """The certified radius of each example.

        Args:
            model: a captured graph, or a module, which is captured first.
            x: (B, *E).
            y: (B,) the labels; None takes the model's own predictions.
            threat: a norm ball; its radius is the largest that is asked for, and may be inf. With
                one radius per feature, radii are multiples of those.
            start: (B,) the first radius to ask for, such as that of a similar model; where it is
                not positive the search chooses.
            keys: for methods that draw.

        Guarantee: `radius` was certified by the method, so that it is a proof where the method's
            bounds are sound; 0 for misclassified examples. Does not depend on the batch.

        Raises:
            CaptureError: the module holds an operation that is not supported.
            InputError: x, y or start do not fit.
            UnsupportedThreat: the threat is no norm ball.
        """
        norm_ball(threat)
        graph = model if isinstance(model, Graph) else capture(model, x.shape[1:])
        graph.check_input(x)
        if start is not None and start.shape != x.shape[:1]:
            found = described(f"tensor of shape {tuple(start.shape)}")
            raise InputError("start", found, "does not fit the examples", f"give ({len(x)},)")
        parts = []
        for which in torch.split(torch.arange(len(x), device=x.device), self.block):
            y_part = None if y is None else y[which]
            own = start[which] if start is not None else None
            keys_part = None if keys is None else keys[which]
            parts.append(self._block(graph, x[which], y_part, threat.rows(which), own, keys_part))
        radius, ceiling, evaluations = (torch.cat(each) for each in zip(*parts, strict=True))
        return Radii(radius, ceiling, evaluations, self.sound)

    def _block(
        self,
        graph: Graph,
        x: Tensor,
        y: Tensor | None,
        threat: Ball,
        start: Tensor | None,
        keys: Keys | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The columns of `Radii` for a block of examples."""
        x = x.detach()
        with torch.no_grad():
            logits = graph.forward(x.double())
        y = logits.argmax(dim=1) if y is None else y
        spec = margin_rows(y, logits.shape[1]).to(logits)
        clean = torch.einsum("brk,bk->br", spec, logits)
        bracket = Bracket.around(clean, limits(threat, x))
        first = _first_radius(bracket.high, self._first, start)
        right = (clean > 0).all(dim=1)
        while len(left := (right & self._open(bracket)).nonzero().squeeze(1)):
            part = bracket.at(left)
            trial = torch.where(part.evaluations == 0, first[left], self._next(part))
            trial = rounded_down(trial.clamp(max=part.high))
            own = scaled(threat.rows(left), trial, x[left])
            key = None if keys is None else keys[left]
            look = self._look(graph, x[left], own, spec[left], trial, key)
            bracket.put(left, part.after(trial, look))
        return bracket.low, bracket.ceiling, bracket.evaluations

    def _open(self, bracket: Bracket) -> Tensor:
        """Which brackets are still to be narrowed, (b,)."""
        wide = ~(bracket.high - bracket.low <= self.precision)
        return wide & (bracket.evaluations < self.limit)

    def _next(self, bracket: Bracket) -> Tensor:
        """The radii to look at next, (b,)."""
        return bracket.middle()

    def _look(
        self,
        graph: Graph,
        x: Tensor,
        threat: Ball,
        spec: Tensor,
        radius: Tensor,
        keys: Keys | None,
    ) -> Look:
        """The certificate over a threat of these radii."""
        bounds = self.method.bound(graph, x, threat, spec, keys=keys)
        held = torch.where(certified(bounds), radius, 0.0)
        return Look(held, bounds.lower, torch.zeros_like(radius))


@hyperparameters
class Bisection(Search):
    """The certified radius by halving.

    Guarantee: see `Search.find`.
    Cost: log2(threat's radius / precision) bounds, rounded up.
    Needs: any method with bounds.
    Source: Liu 2022, sec 3.3.2.

    Example:
        >>> from holdfast.threats import Linf
        >>> model, x = nn.Linear(2, 2), torch.tensor([[0.5, 0.5]])
        >>> _ = nn.init.eye_(model.weight), nn.init.zeros_(model.bias)
        >>> model.bias.data[0] = 0.5
        >>> found = Bisection().find(model, x, torch.tensor([0]), Linf(1.0, box=None))
        >>> 0.2499 < float(found.radius) < 0.25
        True
    """


def closed_in(trial: Tensor, bracket: Bracket, precision: float) -> Tensor:
    """An estimate of the radius as the next one to look at, so that the bracket closes quickly.

    A little below the estimate the certificate should hold; once it does, one look at a precision
    above closes the bracket. Where two looks have not halved it, its middle comes next.
    """
    low, high = bracket.low, bracket.high
    untested = bracket.ceiling.isinf()
    aimed = trial - 0.5 * precision
    near = torch.where(untested, high, high - precision)
    aimed = torch.where(aimed > high - 0.5 * precision, torch.maximum(near, low), aimed)
    aimed = torch.where(aimed < low + 0.5 * precision, low + precision, aimed)
    first, last = bracket.widths[:, 0], bracket.widths[:, 2]
    slow = first.isfinite() & (last > 0.5 * first)
    inside = (aimed > low) & (aimed <= high) & aimed.isfinite() & ~slow
    return torch.where(inside, aimed, bracket.middle())


def limits(threat: Ball, x: Tensor) -> Tensor:
    """The largest radius that is worth asking for, (B,) float64: the threat's; where that is
    infinite, as far as the box goes from x."""
    reach = reach_of(threat, x)
    if threat.box is None:
        return reach
    far = torch.maximum(x - threat.box[0], threat.box[1] - x).double()
    return torch.where(reach.isinf(), norm(far, threat.p), reach)


def _first_radius(high: Tensor, share: float, start: Tensor | None) -> Tensor:
    """The first radii (B,): those given where they are positive, else a share of the largest."""
    first = share * torch.where(high.isinf(), 1.0, high)
    if start is None:
        return first
    return torch.where(start > 0, start.to(high), first)
