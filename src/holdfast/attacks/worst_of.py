"""The worst of many tries: the search of threats that have draws, but no projection.

A *try* is one candidate, or a short walk of candidates from one start. The answer for an example is
that of making its tries one after another until one succeeds; where none does, the point of the
smallest margin, ties to the earlier one, the clean input first. Tries are independent, so blocks of
the model are filled with several tries of the examples that are left; those made ahead of an
earlier success are counted as padding and change no result.

Candidates are made from *parameters* (b, ...), which say what is done to an input: angles and
shifts of an image, say. Where nothing else is overridden, they are the candidates themselves.

Source: Engstrom et al. 2019, arXiv:1712.02779, sec 3 (grid search, worst of 10).
Departures: the worst is the first success, else the smallest margin, not the largest cross-entropy.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol, Self

import torch
from torch import Tensor

from holdfast.attacks.attack import admitted
from holdfast.attacks.goal import goal
from holdfast.attacks.lanes import wide
from holdfast.attacks.lockstep import joined
from holdfast.attacks.protocol import Finished, Listener, Tick
from holdfast.core.errors import InputError, described
from holdfast.core.frozen import FrozenModel, Model
from holdfast.core.random import Keys
from holdfast.core.results import AttackResult, Outcome
from holdfast.data.checks import check_labels
from holdfast.losses.margin import Margin
from holdfast.losses.protocol import Loss
from holdfast.threats.box import Box
from holdfast.threats.protocol import Searchable


class Sampled(Protocol):
    """What a threat must have to be tried: a box, and draws."""

    @property
    def box(self) -> Box | None:
        """The range of valid inputs, or None."""

    def sample(self, x: Tensor, *, keys: Keys, step: int | Tensor = 0) -> Tensor:
        """A random member, (B, *E)."""

    def rows(self, which: Tensor) -> Self:
        """The threat of selected examples."""


@dataclass(frozen=True, eq=False)
class Tries:
    """Tries of a block, one a row; an example may stand in several.

    Args:
        number: (b,) which try of its example this is, from 0.
        x: (b, *E) the clean inputs.
        y: (b,) labels.
        target: (b,) classes to reach, or None.
        keys: of the examples.
        start: (b, *E) a point to begin with, in the threat, or None.
        threat: the threat of these rows.
    """

    number: Tensor
    x: Tensor
    y: Tensor
    target: Tensor | None
    keys: Keys
    start: Tensor | None
    threat: Any


class WorstOf:
    """The verb of attacks that make tries; subclasses say which.

    Attributes:
        keeps: whether results keep the parameters.
    """

    keeps: ClassVar[bool] = False

    @property
    def objective(self) -> Loss:
        """The loss that results report, and that walks climb."""
        return Margin()

    @property
    def moves(self) -> int:
        """Moves of a try after its start, each along a gradient; 0 for single candidates."""
        return 0

    def check(self, threat: Sampled) -> None:
        """Raises UnsupportedThreat for a threat that the attack cannot try."""

    def tries(self, threat: Any) -> int:
        """How many tries an example has."""
        raise NotImplementedError

    def begin(self, rows: Tries) -> Tensor:
        """The parameters with which tries begin, (b, ...)."""
        raise NotImplementedError

    def neutral(self, rows: Tries) -> Tensor:
        """The parameters that change nothing, (b, ...)."""
        return rows.x.clone()

    def points(self, rows: Tries, params: Tensor) -> Tensor:
        """The candidates of the parameters, (b, *E)."""
        return params

    def advance(self, rows: Tries, params: Tensor, gradient: Tensor) -> Tensor:
        """The next parameters of a walk, (b, ...); `gradient` (b, *E) is that of the objective at
        the candidates."""
        raise NotImplementedError

    def contains(self, rows: Tries, x_adv: Tensor, params: Tensor) -> Tensor:
        """Whether x_adv belongs to the threat, (b,) bool."""
        inside: Tensor = rows.threat.contains(x_adv, rows.x)
        return inside

    def size(self, rows: Tries, x_adv: Tensor, params: Tensor) -> Tensor:
        """The size of the change, (b,)."""
        size: Tensor = rows.threat.size(x_adv, rows.x)
        return size

    def run(
        self,
        model: Model | FrozenModel,
        x: Tensor,
        y: Tensor,
        threat: Sampled,
        *,
        keys: Keys | None = None,
        start: Tensor | None = None,
        targets: Tensor | None = None,
        on_event: Listener | None = None,
    ) -> AttackResult:
        """Makes the tries of each example until one succeeds.

        Args:
            model: inputs (B, *E) to logits (B, K); a `FrozenModel` fixes block and device.
            x: (B, *E) float, in the threat's box.
            y: (B,) int64 labels.
            keys: of the examples; None keys each by its own bytes, with seed 0.
            start: (B, *E) the first candidate, for a threat that can project it; else None.
            targets: (B,) classes to reach; None asks for any misclassification.
            on_event: called with `Finished` and `Tick` while the search goes on.

        Guarantee: `x_adv` lies in the threat and is never worse than the clean input; `success`
            holds on a fresh forward pass; an example's result does not depend on the others.
        Cost: per example at most 2 + tries (moves + 1) forwards and tries * moves backwards.

        Raises:
            InputError: shapes, types, ranges or labels do not fit, or `start` cannot be used.
            UnsupportedThreat: the attack has no tries for this threat.
        """
        self.check(threat)
        with admitted(model, x, y, threat.box, keys, start) as (frozen, x, y, keys):
            if start is not None:
                _check_placed(threat, self.keeps)
            listen, parts = on_event or (lambda event: None), []
            for at in torch.split(torch.arange(len(x), device=x.device), frozen.block or len(x)):
                rows = _chosen(at, frozen.block or len(x), x, y, targets, keys, start, threat)
                parts.append(_Group(self, frozen, rows, len(at), listen).result())
                listen(Finished(at, parts[-1]))
        return joined(parts)


class _Found(NamedTuple):
    """What tries found, a row each: the columns of their best points, and their passes."""

    won: Tensor
    margin: Tensor
    loss: Tensor
    points: Tensor
    params: Tensor
    forwards: Tensor
    backwards: Tensor


class _Group:
    """The tries of one block of examples, of which the first `count` are real, and their books."""

    def __init__(
        self, attack: WorstOf, model: FrozenModel, rows: Tries, count: int, listen: Listener
    ):
        self.attack, self.model, self.rows, self.listen = attack, model, rows, listen
        self.block, self.real = len(rows.x), torch.arange(len(rows.x), device=rows.x.device) < count
        self.count, self.before = count, model.passes.forwards + model.passes.padding
        logits = _filled(model.logits(rows.x[:count]), self.block)
        for labels in (rows.y, rows.target):
            if labels is not None:
                check_labels(labels, logits.shape[1])
        self.clean = self._scores(rows, logits)
        self.margin, self.loss = (column.clone() for column in self.clean)
        self.wrong = ~(self.margin > 0)
        self.open, self.won = self.real & ~self.wrong, self.wrong & False
        self.x_adv, self.params = rows.x.clone(), attack.neutral(rows)
        self.forwards, self.backwards = self.real.long(), self.real.long() * 0

    def result(self) -> AttackResult:
        """Makes tries until every row has succeeded or has none left, and confirms."""
        tried, tries = 0, self.attack.tries(self.rows.threat)
        while tried < tries and bool(self.open.any()):
            at = self.open.nonzero().flatten()
            ahead = max(1, min(tries - tried, self.block // len(at)))
            numbers = torch.arange(tried, tried + ahead, device=at.device).repeat(len(at))
            self._take(at, self._walked(at.repeat_interleave(ahead), numbers, ahead), ahead)
            tried += ahead
        self._confirm()
        return self._answer()

    def _walked(self, at: Tensor, number: Tensor, ahead: int) -> "_Found":
        """What tries (n,) of the rows `at` find; `ahead` of each row stand in succession."""
        rows, count = _again(self.rows, at, number, self.block), len(at)
        params = self.attack.begin(rows)
        points = self.attack.points(rows, params)
        best_params, best = params.clone(), points.clone()
        lowest = torch.full_like(self.margin, torch.inf)
        loss, won = torch.full_like(lowest, -torch.inf), torch.zeros_like(self.open)
        forwards, backwards = torch.zeros_like(self.forwards), torch.zeros_like(self.forwards)
        for move in range(self.attack.moves + 1):
            last = move == self.attack.moves
            logits, gradient = self._asked(rows, points, count, last)
            margin, value = self._scores(rows, logits)
            fooled = ~(margin > 0)
            better = ~won & (fooled | (margin < lowest))
            lowest, loss = torch.where(better, margin, lowest), torch.where(better, value, loss)
            best = torch.where(wide(better, best), points, best)
            best_params = torch.where(wide(better, params), params, best_params)
            forwards, backwards = forwards + ~won, backwards + (~won & (not last))
            won = won | fooled
            self.listen(Tick(self.model.passes.forwards, self.model.passes.backwards))
            if last or bool((won[:count].view(-1, ahead).cumsum(dim=1) > 0).all()):
                break
            params = self.attack.advance(rows, params, gradient)
            points = self.attack.points(rows, params)
        found = won, lowest, loss, best, best_params, forwards, backwards
        return _Found(*(column[:count] for column in found))

    def _asked(self, rows: Tries, points: Tensor, count: int, last: bool) -> tuple[Tensor, Tensor]:
        """Logits of the candidates, and their gradient where a move follows."""
        if last:
            return _filled(self.model.logits(points[:count]), self.block), points
        objective = self.attack.objective
        logits, _, gradient = self.model.value_and_grad(
            points, lambda logits: objective(logits, rows.y, rows.target)
        )
        return logits, gradient

    def _take(self, at: Tensor, found: "_Found", ahead: int) -> None:
        """Takes over what `ahead` tries of each row `at` found, as if made one by one."""
        success = found.won.view(-1, ahead)
        won, first = success.any(dim=1), success.to(torch.int8).argmax(dim=1)
        last = torch.where(won, first, ahead - 1)
        made = torch.arange(ahead, device=at.device) <= last[:, None]
        self.forwards[at] += (found.forwards.view(-1, ahead) * made).sum(dim=1)
        self.backwards[at] += (found.backwards.view(-1, ahead) * made).sum(dim=1)
        pick = torch.where(won, first, found.margin.view(-1, ahead).argmin(dim=1))
        pick += torch.arange(len(at), device=at.device) * ahead
        better = won | (found.margin[pick] < self.margin[at])
        pick, to = pick[better], at[better]
        self.margin[to], self.loss[to] = found.margin[pick], found.loss[pick]
        self.x_adv[to], self.params[to] = found.points[pick], found.params[pick].to(self.params)
        self.won[at], self.open[at] = won, ~won

    def _confirm(self) -> None:
        """A fresh forward pass at every claim, and the threat's word on every point; what does not
        hold is replaced by the clean input."""
        rows, claimed = self.rows, self.won
        at = claimed.nonzero().flatten()
        if len(at):
            logits = _filled(self.model.logits(self.x_adv[at]), self.block)
            margin, loss = self._scores(_again(rows, at, at, self.block), logits)
            self.margin[at], self.loss[at] = margin[: len(at)], loss[: len(at)]
            self.forwards[at] += 1
        inside = self.attack.contains(rows, self.x_adv, self.params)
        self.won = claimed & ~(self.margin > 0) & inside
        back = ~inside | (claimed & ~self.won)
        self.margin = torch.where(back, self.clean[0], self.margin)
        self.loss = torch.where(back, self.clean[1], self.loss)
        self.x_adv = torch.where(wide(back, rows.x), rows.x, self.x_adv)
        neutral = self.attack.neutral(rows)
        self.params = torch.where(wide(back, neutral), neutral, self.params)

    def _answer(self) -> AttackResult:
        outcome = torch.full_like(self.rows.y, Outcome.UNDECIDED)
        outcome[self.won] = Outcome.BROKEN
        if self.rows.target is None:
            outcome[self.wrong] = Outcome.MISCLASSIFIED
        columns = {
            "x_adv": self.x_adv,
            "success": self.won | self.wrong,
            "margin": self.margin,
            "size": self.attack.size(self.rows, self.x_adv, self.params),
            "loss": self.loss,
            "forwards": self.forwards,
            "backwards": self.backwards,
            "outcome": outcome,
        }
        if self.attack.keeps:
            columns["params"] = self.params
        cut = {name: column[: self.count] for name, column in columns.items()}
        computed = self.model.passes.forwards + self.model.passes.padding - self.before
        return AttackResult(**cut, padding=max(0, computed - int(cut["forwards"].sum())))

    def _scores(self, rows: Tries, logits: Tensor) -> tuple[Tensor, Tensor]:
        """(b,) the margin, not positive where the goal is reached, and the objective."""
        loss = self.attack.objective(logits, rows.y, rows.target)
        return goal(logits, rows.y, rows.target), loss


def _check_placed(threat: object, keeps: bool) -> None:
    """Refuses a start where the threat cannot project it."""
    if keeps or not isinstance(threat, Searchable):
        shown = described(f"points for {type(threat).__name__}")
        raise InputError("start", shown, "cannot be brought into this threat", "leave it out")


def _chosen(
    at: Tensor,
    block: int,
    x: Tensor,
    y: Tensor,
    targets: Tensor | None,
    keys: Keys,
    start: Tensor | None,
    threat: Any,
) -> Tries:
    """The examples `at`, filled up to a block with the first of them."""
    full = _filled(at, block)
    target = None if targets is None else targets.to(y)[full]
    origin, own = x[full], threat.rows(full)
    given = None if start is None else own.project(start.to(x)[full], origin)
    return Tries(full * 0, origin, y[full], target, keys[full], given, own)


def _again(rows: Tries, at: Tensor, number: Tensor, block: int) -> Tries:
    """Rows of a block with other numbers, filled up to a block with the first of them."""
    full = _filled(at, block)
    target, start = (None if each is None else each[full] for each in (rows.target, rows.start))
    own = rows.threat.rows(full)
    filled = _filled(number, block)
    return Tries(filled, rows.x[full], rows.y[full], target, rows.keys[full], start, own)


def _filled(column: Tensor, block: int) -> Tensor:
    return torch.cat([column, column[:1].expand(block - len(column), *column.shape[1:])])
