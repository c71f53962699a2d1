"""The engine that every gradient attack shares.

An attack says where a run begins and how it moves on from a gradient; the engine does the rest. It
keeps blocks of fixed shape full of runs at different steps, evaluates every iterate (the start and
the last one included), keeps the best, lets a run leave at its first success and refills its place,
counts passes, and confirms every success on a fresh forward pass. No attack writes its own loop.

Two public functions: `search` looks for adversarial examples, `ascend` takes a fixed number of
steps on a whole batch, as training needs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from holdfast.attacks.findings import Findings
from holdfast.attacks.lanes import Final, Lane, wide
from holdfast.attacks.rows import Rows, Supply
from holdfast.core.errors import OutOfMemory
from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.core.results import AttackResult, Outcome
from holdfast.data.checks import check_labels
from holdfast.losses.margin import margin as margin_of
from holdfast.losses.protocol import Loss
from holdfast.threats.protocol import Threat

T = TypeVar("T")


class Walk(Protocol):
    """What an attack supplies to the engine."""

    @property
    def steps(self) -> int:
        """Gradient steps of a run."""

    @property
    def objective(self) -> Loss:
        """What is maximised: (logits, y, target) -> (b,)."""

    def runs(self, classes: int) -> int:
        """Runs of an example, for a model with this many classes."""

    def target(self, run: Tensor, y: Tensor, logits: Tensor) -> Tensor | None:
        """The class each run aims at, (b,), from the clean logits (b, K); None if untargeted."""

    def begin(self, rows: Rows) -> Tensor:
        """The start of each row, (b, *E), in the threat; may fill `rows.memory`."""

    def advance(self, rows: Rows, gradient: Tensor) -> Tensor:
        """The next iterate of each row, (b, *E), in the threat; may change `rows.memory`."""


@dataclass(frozen=True, eq=False)
class Finished:
    """Examples whose answer is final, while a search goes on.

    Args:
        rows: (n,) their positions in the call's batch.
        result: their part of the result.
    """

    rows: Tensor
    result: AttackResult


@dataclass(frozen=True)
class Tick:
    """A sign of life: rows that went forward and backward since the search began."""

    forwards: int
    backwards: int


Listener = Callable[[Finished | Tick], None]


def ascend(
    attack: Walk,
    model: FrozenModel,
    x: Tensor,
    y: Tensor,
    threat: Threat,
    *,
    keys: Keys,
    start: Tensor | None = None,
) -> Tensor:
    """The iterate after the attack's last step of its first run, for a whole batch at once.

    No early exit, no best iterate, no final evaluation: what adversarial training needs. A `start`
    (B, *E) replaces the attack's own and is taken as it is.

    Cost: `steps` forwards and backwards per example.
    """
    zero = torch.zeros_like(y)
    rows = Rows(
        torch.arange(len(x), device=x.device), zero, zero, keys.fold(0), x, x, y, None, threat
    )
    rows.point = attack.begin(rows)
    if start is not None:
        rows.point = start
    for _ in range(attack.steps):
        _, _, gradient = model.value_and_grad(
            rows.point, lambda logits: attack.objective(logits, y, None)
        )
        rows.point = attack.advance(rows, gradient)
        rows.step = rows.step + 1
    return rows.point.detach()


def search(
    attack: Walk,
    model: FrozenModel,
    x: Tensor,
    y: Tensor,
    threat: Threat,
    *,
    keys: Keys,
    start: Tensor | None = None,
    targets: Tensor | None = None,
    on_event: Listener | None = None,
) -> AttackResult:
    """Walks the runs of every example until one succeeds or all have ended.

    Args:
        model: the frozen view, entered, with `block` set.
        start: (B, *E) where the first run begins (after projection), instead of the attack's start.
        targets: (B,) classes to reach; None asks for any misclassification.

    Guarantee: `x_adv` is in the threat and never worse than the clean input; `success` holds on a
        fresh forward pass; an example's result does not depend on the others.
    """
    return _Search(attack, model, x, y, threat, keys, start, targets, on_event).run()


class _Search:
    """One call of `search`."""

    def __init__(
        self,
        attack: Walk,
        model: FrozenModel,
        x: Tensor,
        y: Tensor,
        threat: Threat,
        keys: Keys,
        start: Tensor | None,
        targets: Tensor | None,
        on_event: Listener | None,
    ):
        self.attack, self.model, self.threat, self.keys = attack, model, threat, keys
        self.x, self.y, self.start, self.targets = x, y, start, targets
        self.listen = on_event or (lambda event: None)
        self.block = model.block or len(x)
        self.before = model.passes.forwards + model.passes.padding
        self.lanes = [Lane(self.block) for _ in range(model.in_flight)]
        self.logits = model.logits(x)
        for labels in (y, targets) if targets is not None else (y,):
            check_labels(labels, self.logits.shape[1])
        runs = attack.runs(self.logits.shape[1])
        margin = _goal(self.logits, y, targets)
        loss = self._loss(self.logits, y, targets)
        self.clean = margin, loss
        self.checks = torch.zeros_like(y)
        self.found = Findings(x, margin, loss, runs)
        self.outcome = torch.full_like(y, Outcome.UNDECIDED)
        if targets is None:
            self.outcome[self.found.winner < 0] = Outcome.MISCLASSIFIED
        self.settled = 0  # rises whenever a run ends: lanes look for free places only then
        self.finals: list[Final] = []
        self.unconfirmed: list[Tensor] = []

    def run(self) -> AttackResult:
        examples = (self.found.winner >= 0).nonzero().flatten()
        self._report((self.found.winner < 0).nonzero().flatten())
        window = max(8 * self.block, 512)
        self.supply = Supply(
            self._prepare, self.found.wanted, examples, self.found.runs, self.block, window
        )
        while True:
            busy = [lane for lane in self.lanes if self._refill(lane)]
            if not busy and not self.finals:
                if not self.unconfirmed:
                    break
                self._confirm()
                continue
            if not busy or self._waiting() >= self.block:
                self._evaluate_finals()
            for lane in busy:
                if lane in self.lanes:
                    self._advance(lane)
            self.listen(Tick(self.model.passes.forwards, self.model.passes.backwards))
        return self._result(torch.arange(len(self.x), device=self.x.device))

    def _prepare(self, example: Tensor, run: Tensor) -> Rows:
        """Rows at their starts."""
        y, origin = self.y[example], self.x[example]
        target = self.targets[example] if self.targets is not None else None
        if target is None:
            target = self.attack.target(run, y, self.logits[example])
        keys = self.keys[example].fold(run)
        threat = self.threat.rows(example)
        rows = Rows(example, run, torch.zeros_like(run), keys, origin, origin, y, target, threat)
        rows.point = self.attack.begin(rows)
        if self.start is not None:
            given = threat.project(self.start[example].to(origin), origin)
            rows.point = torch.where(wide(run == 0, origin), given, rows.point)
        return rows

    def _refill(self, lane: Lane) -> bool:
        """Puts waiting runs into free places; whether anything is left to walk in this lane."""
        if lane.settled == self.settled:
            return lane.busy
        if lane.rows is not None:
            lane.active &= self.found.wanted(lane.rows.example, lane.rows.run)
        changed = False
        while not bool(lane.active.all()):
            free = (~lane.active).nonzero().flatten()
            taken = self.supply.take(len(free))
            if taken is None:
                break
            lane.place(free[: len(taken[1])], *taken)
            changed = True
        if changed and lane.rows is not None:
            lane.rows.threat = self.threat.rows(lane.rows.example)
        lane.settled, lane.busy = self.settled, bool(lane.active.any())
        return lane.busy

    def _advance(self, lane: Lane) -> None:
        """One gradient step of every row of a lane."""
        rows = lane.rows
        assert rows is not None
        logits, loss, gradient = self._with_room(
            lane,
            lambda: self.model.value_and_grad(
                rows.point, lambda z: self.attack.objective(z, rows.y, rows.target)
            ),
        )
        margin = _goal(logits, rows.y, None if self.targets is None else rows.target)
        lane.note(margin, loss)
        rows.point = self.attack.advance(rows, _finite(gradient))
        rows.step += 1
        fooled = ~(margin > 0)
        leaving = lane.active & (fooled | (rows.step >= self.attack.steps))
        if bool(leaving.any()):
            self._leave(lane, leaving, fooled)

    def _leave(self, lane: Lane, leaving: Tensor, fooled: Tensor) -> None:
        """Records what ended runs found; those that took all steps await a last one."""
        rows, found = lane.rows, self.found
        assert rows is not None
        at = leaving.nonzero().flatten()
        example, run = rows.example[at], rows.run[at]
        self.settled += 1
        found.record(example, run, lane.best_point[at], lane.best_margin[at], lane.best_loss[at])
        won = fooled[at]
        steps = rows.step[at]
        found.end(example[won], run[won], steps[won], steps[won])
        lane.active &= ~leaving
        last = at[~won]
        if len(last):
            target = None if rows.target is None else rows.target[last]
            self.finals.append(
                Final(rows.example[last], rows.run[last], rows.point[last], rows.y[last], target)
            )
        self._finish(example)

    def _evaluate_finals(self) -> None:
        """The last iterates of ended runs, forward only."""
        waiting, self.finals = self.finals, []
        final = Final.join(waiting)
        logits = self._with_room(self.lanes[0], lambda: self.model.logits(final.point))
        margin = _goal(logits, final.y, final.target if self.targets is not None else None)
        loss = self._loss(logits, final.y, final.target)
        self.settled += 1
        self.found.record(final.example, final.run, final.point, margin, loss)
        steps = torch.full_like(final.run, self.attack.steps)
        self.found.end(final.example, final.run, steps + 1, steps)
        self._finish(final.example)

    def _finish(self, example: Tensor) -> None:
        """Reports examples whose answer is final; those that were broken are confirmed first."""
        done = self.found.newly_finished(example)
        broken = self.found.winner[done] < self.found.runs
        self._report(done[~broken])
        self.unconfirmed.append(done[broken])
        if sum(map(len, self.unconfirmed)) >= self.block:
            self._confirm()

    def _confirm(self) -> None:
        """Repeats the forward pass at every claimed success, and asks the threat."""
        at = torch.cat(self.unconfirmed) if self.unconfirmed else self.y[:0]
        self.unconfirmed = []
        if not len(at):
            return
        x_adv, y = self.found.x_adv[at], self.y[at]
        targets = None if self.targets is None else self.targets[at]
        logits = self._with_room(self.lanes[0], lambda: self.model.logits(x_adv))
        margin = _goal(logits, y, targets)
        holds = ~(margin > 0) & self.threat.rows(at).contains(x_adv, self.x[at])
        self.checks[at] += 1
        self.outcome[at[holds]] = Outcome.BROKEN
        self._report(at[holds])
        if not bool(holds.all()):
            self._reopen(at[~holds], margin[~holds], self._loss(logits, y, targets)[~holds])

    def _reopen(self, at: Tensor, margin: Tensor, loss: Tensor) -> None:
        """Goes on with examples whose success did not hold on the fresh pass."""
        worse = ~(margin < self.clean[0][at])
        point = torch.where(wide(worse, self.x), self.x[at], self.found.x_adv[at])
        margin = torch.where(worse, self.clean[0][at], margin)
        self.found.reopen(at, point, margin, torch.where(worse, self.clean[1][at], loss))
        self.supply.give_back(*self.found.open_runs(at))
        self.settled += 1
        self._finish(at)

    def _report(self, rows: Tensor) -> None:
        if len(rows):
            self.listen(Finished(rows, self._result(rows)))

    def _result(self, at: Tensor) -> AttackResult:
        found = self.found
        forwards, backwards = found.passes(at)
        x_adv, outcome = found.x_adv[at], self.outcome[at]
        forwards = forwards + 1 + self.checks[at]
        computed = self.model.passes.forwards + self.model.passes.padding - self.before
        return AttackResult(
            x_adv=x_adv,
            success=(outcome == Outcome.BROKEN) | (found.winner[at] < 0),
            margin=found.margin[at],
            size=self.threat.rows(at).size(x_adv, self.x[at]),
            loss=found.loss[at],
            forwards=forwards,
            backwards=backwards,
            outcome=outcome,
            padding=max(0, computed - int(forwards.sum())) if len(at) == len(self.x) else 0,
        )

    def _loss(self, logits: Tensor, y: Tensor, aim: Tensor | None) -> Tensor:
        """The attack's loss, in blocks of the fixed shape."""
        rows = torch.arange(len(y), device=y.device)
        values = []
        for part in torch.split(rows, self.block):
            full = torch.cat([part, part[:1].expand(self.block - len(part))])
            target = None if aim is None else aim[full]
            values.append(self.attack.objective(logits[full], y[full], target)[: len(part)])
        return torch.cat(values)

    def _waiting(self) -> int:
        return sum(len(final.example) for final in self.finals)

    def _with_room(self, lane: Lane, call: Callable[[], T]) -> T:
        """Calls the model; where memory runs out, halves the blocks in flight and calls again.

        The runs of the dropped blocks begin again later, so no result changes.
        """
        while True:
            try:
                return call()
            except OutOfMemory:
                if len(self.lanes) == 1:
                    raise
            others = [each for each in self.lanes if each is not lane]
            keep = max(1, len(self.lanes) // 2) - 1
            self.lanes = [lane, *others[:keep]]
            for each in others[keep:]:
                if each.rows is not None:
                    self.supply.give_back(
                        each.rows.example[each.active], each.rows.run[each.active]
                    )


def _goal(logits: Tensor, y: Tensor, target: Tensor | None) -> Tensor:
    """The margin that must become <= 0: of the label, or of all others over the target.

    A tie with the target is no success: zero becomes the smallest positive number.
    """
    if target is None:
        return margin_of(logits, y)
    margin = -margin_of(logits, target)
    tiny = torch.full_like(margin, torch.finfo(margin.dtype).tiny)
    return torch.where(margin == 0, tiny, margin)


def _finite(gradient: Tensor) -> Tensor:
    """The gradient with NaN as zero, so that a broken coordinate does not move."""
    return gradient if bool(gradient.sum().isfinite()) else torch.nan_to_num(gradient, nan=0.0)
