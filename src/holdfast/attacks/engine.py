"""The engine that every gradient attack shares.

An attack says where a run begins and how it moves on from a gradient; the engine does the rest. It
keeps blocks of fixed shape full of runs at different steps, evaluates every iterate (the start and
the last one included), keeps the best, lets a run leave at its first success and refills its place,
counts passes, and confirms every success on a fresh forward pass. No attack writes its own loop.

Two public functions: `search` looks for adversarial examples, `ascend` takes a fixed number of
steps on a whole batch, as training needs.
"""

import math
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from holdfast.attacks.findings import Findings
from holdfast.attacks.goal import bounded, goal
from holdfast.attacks.lanes import Final, Lane, wide
from holdfast.attacks.protocol import Finished, Listener, Seen, Tick, Walk
from holdfast.attacks.rows import Rows, Supply
from holdfast.core.errors import OutOfMemory
from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.core.results import AttackResult, Outcome
from holdfast.data.checks import check_labels
from holdfast.threats.protocol import Threat

T = TypeVar("T")


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

    No early exit, no best iterate, no final evaluation, no margins (`Seen.margin` holds the loss):
    what adversarial training needs. A `start` (B, *E) replaces the attack's own and is taken as it
    is.

    Cost: `steps` forwards and backwards per example.
    """
    zero = torch.zeros(len(x), dtype=torch.int64, device=x.device)
    rows = Rows(
        torch.arange(len(x), device=x.device), zero, zero, zero, keys.fold(0), x, x, y, None, threat
    )
    rows.point = attack.begin(rows)
    if start is not None:
        rows.point = start
    for _ in range(attack.steps):
        logits, loss, gradient = attack.look(model, rows)
        rows.point = attack.advance(rows, Seen(logits, loss, loss, gradient))
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
        margin = goal(self.logits, y, targets)
        loss = self._loss(self.logits, y, targets)
        self.clean = margin, loss
        self.checks = torch.zeros_like(y)
        self.found = Findings(x, margin, loss, runs, smallest=attack.smallest)
        self.bounded = bounded(threat, y)
        self.outcome = torch.full_like(y, Outcome.UNDECIDED)
        if targets is None:
            self.outcome[self.found.winner < 0] = Outcome.MISCLASSIFIED
        self.foresees = targets is None and attack.foresees
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
        zero = torch.zeros_like(run)
        rows = Rows(example, run, zero, zero.clone(), keys, origin, origin, y, target, threat)
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
        if self.foresees and lane.rows is not None:
            lane.look_ahead()
        if (changed or self.foresees) and lane.rows is not None:
            lane.rows.threat = self.threat.rows(lane.rows.example)
        lane.settled, lane.busy = self.settled, bool(lane.active.any())
        return lane.busy

    def _advance(self, lane: Lane) -> None:
        """One look at every row of a lane, and one move."""
        rows = lane.rows
        assert rows is not None
        logits, loss, gradient = self._with_room(lane, lambda: self.attack.look(self.model, rows))
        margin = goal(logits, rows.y, None if self.targets is None else rows.target)
        rank, won = self._rank(rows.example, margin, rows.point, rows.origin, rows.threat)
        if rows.inside is not None:
            rank, won = torch.where(rows.inside, rank, math.inf), won & rows.inside
        lane.note(rank, margin, loss)
        at_step = rows.step.clone()
        rows.point = self.attack.advance(rows, Seen(logits, margin, loss, _finite(gradient)))
        rows.looks += 1
        rows.step += 1
        leaving = lane.active & (won | ((rows.step > at_step) & (rows.step >= self.attack.steps)))
        if bool(leaving.any()):
            self._leave(lane, leaving, won)

    def _rank(
        self, example: Tensor, margin: Tensor, point: Tensor, origin: Tensor, threat: Threat
    ) -> tuple[Tensor, Tensor]:
        """What is minimised over the points of an example, (b,), and whether a point ends its run:
        the margin, until it is not positive; for a smallest success its size, until it is within a
        finite radius."""
        fooled = ~(margin > 0)
        if not self.attack.smallest:
            return margin, fooled
        size = torch.where(fooled, threat.size(point, origin), torch.inf)
        ends = fooled & self.bounded[example]
        return size, ends & threat.contains(point, origin) if bool(ends.any()) else ends

    def _leave(self, lane: Lane, leaving: Tensor, won: Tensor) -> None:
        """Records what ended runs found; those that made all moves await a last look."""
        rows, found = lane.rows, self.found
        assert rows is not None
        at = leaving.nonzero().flatten()
        example, run = rows.example[at], rows.run[at]
        self.settled += 1
        found.record(example, run, won[at], *lane.best(at))
        forwards, backwards = (each * rows.looks[at] for each in self.attack.cost)
        over = won[at]
        found.end(example[over], run[over], forwards[over], backwards[over])
        lane.active &= ~leaving
        last = at[~over]
        if len(last):
            target = None if rows.target is None else rows.target[last]
            self.finals.append(
                Final(
                    example=rows.example[last],
                    run=rows.run[last],
                    point=rows.point[last],
                    y=rows.y[last],
                    looks=rows.looks[last],
                    target=target,
                )
            )
        self._finish(example)

    def _evaluate_finals(self) -> None:
        """The last points of ended runs, forward only."""
        waiting, self.finals = self.finals, []
        final = Final.join(waiting)
        logits = self._with_room(self.lanes[0], lambda: self.model.logits(final.point))
        margin = goal(logits, final.y, final.target if self.targets is not None else None)
        loss = self._loss(logits, final.y, final.target)
        at, origin = final.example, self.x[final.example]
        rank, won = self._rank(at, margin, final.point, origin, self.threat.rows(at))
        self.settled += 1
        self.found.record(at, final.run, won, final.point, rank, margin, loss)
        forwards, backwards = (each * final.looks for each in self.attack.cost)
        self.found.end(at, final.run, forwards + 1, backwards)
        self._finish(at)

    def _finish(self, example: Tensor) -> None:
        """Reports examples whose answer is final; those with a claim are confirmed first."""
        done = self.found.newly_finished(example)
        claimed = self.found.claims(done)
        self._report(done[~claimed])
        self.unconfirmed.append(done[claimed])
        if sum(map(len, self.unconfirmed)) >= self.block:
            self._confirm()

    def _confirm(self) -> None:
        """Repeats the forward pass at every claimed success, and asks the threat.

        The smallest success of an example may lie outside a finite radius: then its projection is
        looked at, and kept as the best point inside if it is one.
        """
        at = torch.cat(self.unconfirmed) if self.unconfirmed else self.y[:0]
        self.unconfirmed = []
        if not len(at):
            return
        won = self.found.winner[at] < self.found.runs
        threat, x, y = self.threat.rows(at), self.x[at], self.y[at]
        x_adv = self.found.x_adv[at]
        outside = ~won & self.bounded[at]
        if self.attack.smallest and bool(outside.any()):
            x_adv = torch.where(wide(outside, x), threat.project(x_adv, x), x_adv)
        targets = None if self.targets is None else self.targets[at]
        logits = self._with_room(self.lanes[0], lambda: self.model.logits(x_adv))
        margin, loss = goal(logits, y, targets), self._loss(logits, y, targets)
        holds = ~(margin > 0) & threat.contains(x_adv, x)
        self.checks[at] += 1
        self.outcome[at[holds]] = Outcome.BROKEN
        self._keep(at, x_adv, margin, loss, outside)
        self._report(at[holds | outside])
        again = ~(holds | outside)
        if bool(again.any()):
            self._keep(at, x_adv, margin, loss, again)
            self.found.reopen(at[again])
            self.supply.give_back(*self.found.open_runs(at[again]))
            self.settled += 1
            self._finish(at[again])

    def _keep(self, at: Tensor, x_adv: Tensor, margin: Tensor, loss: Tensor, which: Tensor) -> None:
        """Replaces the best point of the examples `which` by one just looked at, or by the clean
        input where that is better."""
        if not bool(which.any()):
            return
        clean = ~(margin < self.clean[0][at])
        margin = torch.where(clean, self.clean[0][at], margin)[which]
        loss = torch.where(clean, self.clean[1][at], loss)[which]
        x_adv = torch.where(wide(clean, x_adv), self.x[at], x_adv)[which]
        self.found.replace(at[which], x_adv, margin, loss)

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


def _finite(gradient: Tensor | None) -> Tensor | None:
    """The gradient with NaN as zero, so that a broken coordinate does not move."""
    if gradient is None:
        return None
    return gradient if bool(gradient.sum().isfinite()) else torch.nan_to_num(gradient, nan=0.0)
