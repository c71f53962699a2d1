"""Attacks with phases of their own: one block of examples walks in lockstep and asks an oracle.

Binary searches, populations and trial points do not fit the engine's one look per step. Such an
attack is a plain loop over tensors of one fixed shape, (b, *E); what it may ask of the model, and
all books (passes, the best point of each example, who is done), are the oracle's. Answers for rows
that are done are not computed, so an attack may go on for all rows as if nothing had happened.
"""

import math
from collections.abc import Callable
from dataclasses import fields
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.attacks.attack import admitted, check_searchable
from holdfast.attacks.goal import bounded, goal
from holdfast.attacks.lanes import wide
from holdfast.attacks.protocol import Finished, Listener, Seen, Tick
from holdfast.core.frozen import FrozenModel, Model
from holdfast.core.random import Keys
from holdfast.core.results import AttackResult, Outcome
from holdfast.data.checks import check_labels
from holdfast.losses.margin import Margin
from holdfast.losses.protocol import Loss
from holdfast.threats.protocol import Threat


class LockstepAttack:
    """The verb of attacks that walk in lockstep; subclasses say how, in `walk`.

    Attributes:
        smallest: as `Walk.smallest`: keep the smallest success instead of the smallest margin.
    """

    smallest: ClassVar[bool] = False

    @property
    def objective(self) -> Loss:
        """The loss that results report."""
        return Margin()

    def walk(self, oracle: "Oracle") -> None:
        """Asks the oracle until the attack's budget is spent or no row is open."""
        raise NotImplementedError

    def check(self, threat: Threat) -> None:
        """Refuses threats in which the attack cannot move; by default those that cannot project."""
        check_searchable(threat, type(self).__name__)

    def run(
        self,
        model: Model | FrozenModel,
        x: Tensor,
        y: Tensor,
        threat: Threat,
        *,
        keys: Keys | None = None,
        start: Tensor | None = None,
        targets: Tensor | None = None,
        on_event: Listener | None = None,
    ) -> AttackResult:
        """Searches the threat around each example; arguments and guarantee as for gradient
        attacks (`GradientAttack.run`)."""
        self.check(threat)
        with admitted(model, x, y, threat.box, keys, start) as (frozen, x, y, keys):
            listen = on_event or (lambda event: None)
            parts = []
            for rows in torch.split(torch.arange(len(x), device=x.device), frozen.block or len(x)):
                oracle = Oracle(self, frozen, x, y, threat, keys, start, targets, rows, listen)
                parts.append(oracle.attacked())
                listen(Finished(rows, parts[-1]))
        return joined(parts)


class Oracle:
    """What an attack may ask about one block of examples; keeps the books.

    Attributes:
        x, y, keys, threat: (b, ...) of the block, filled up with its first row.
        targets: (b,) classes to reach, or None.
        start: (b, *E) a warm start in the threat, or None.
        logits: (b, K) of the clean inputs.
        open: (b,) bool, the rows whose answer is not final.
    """

    def __init__(
        self,
        attack: LockstepAttack,
        model: FrozenModel,
        x: Tensor,
        y: Tensor,
        threat: Threat,
        keys: Keys,
        start: Tensor | None,
        targets: Tensor | None,
        rows: Tensor,
        listen: Listener,
    ):
        self._attack, self._model, self._listen, self._count = attack, model, listen, len(rows)
        full = torch.cat([rows, rows[:1].expand((model.block or len(x)) - len(rows))])
        self.x, self.y, self.keys, self.threat = x[full], y[full], keys[full], threat.rows(full)
        self.targets = None if targets is None else targets[full].to(y)
        self.start = None if start is None else self.threat.project(start[full].to(x), self.x)
        self._computed = model.passes.forwards + model.passes.padding
        self.bounded = bounded(self.threat, self.y)
        real = torch.arange(len(full), device=x.device) < len(rows)
        clean = model.logits(x[rows])
        self.logits = clean[(torch.cumsum(real, 0) - 1)]
        for labels in (self.y, self.targets):
            if labels is not None:
                check_labels(labels, self.logits.shape[1])
        margin, loss = self.margin(self.logits), self._loss(self.logits)
        self._clean = margin, loss
        self.best = self.x.clone()
        self.best_margin, self.best_loss = margin.clone(), loss.clone()
        self._rank = torch.full_like(margin, math.inf) if attack.smallest else margin.clone()
        self._wrong = ~(margin > 0)
        self._won = self._wrong & False
        self.open = real & ~self._wrong
        self._forwards = real.to(torch.int64)
        self._backwards = torch.zeros_like(self._forwards)

    @property
    def classes(self) -> int:
        """K, the number of classes."""
        return self.logits.shape[1]

    @property
    def smallest_size(self) -> Tensor:
        """(b,) size of the smallest success so far, infinity where there is none; of attacks that
        look for it."""
        return self._rank

    @property
    def spent(self) -> Tensor:
        """(b,) passes of each row so far, forward and backward."""
        return self._forwards + self._backwards

    def margin(self, logits: Tensor) -> Tensor:
        """(b,) not positive where the goal is reached: any wrong class, or the target."""
        return goal(logits, self.y, self.targets)

    def ask(self, points: Tensor, which: Tensor | None = None, *, keep: bool = True) -> Seen:
        """Scores at points (b, *E): one forward for each open row in `which` (b,) bool.

        Args:
            keep: whether points may become a row's answer, where they lie in the threat.

        Returns:
            for other rows, the clean logits with an infinite margin and minus infinite loss.
        """
        which = self.open if which is None else self.open & which
        logits = self._forward(points, which)
        return self._seen(points, which, logits, None, keep)

    def ask_gradient(
        self,
        points: Tensor,
        which: Tensor | None = None,
        *,
        value: Callable[[Tensor], Tensor] | None = None,
        keep: bool = True,
    ) -> Seen:
        """Scores and a gradient at points (b, *E): one forward and backward per open row.

        Args:
            value: logits (b, K) -> (b,), what is differentiated; None is the attack's objective.
        """
        which = self.open if which is None else self.open & which
        if not bool(which.any()):
            return self._seen(points, which, self.logits, torch.zeros_like(self.x), keep)
        logits, _, gradient = self._model.value_and_grad(points, value or self._loss)
        self._backwards += which
        self._forwards += which
        return self._seen(points, which, logits, gradient, keep)

    def ask_jacobian(
        self, points: Tensor, classes: Tensor, which: Tensor | None = None, *, keep: bool = True
    ) -> Seen:
        """Scores, and as gradient (b, k, *E) those of the logits of `classes` (b, k).

        Cost: one forward and k backwards per open row.
        """
        which = self.open if which is None else self.open & which
        if not bool(which.any()):
            blank = torch.zeros_like(self.x)[:, None].expand(
                -1, classes.shape[1], *self.x.shape[1:]
            )
            return self._seen(points, which, self.logits, blank, keep)
        logits, gradient = self._model.jacobian(points, classes)
        self._forwards += which
        self._backwards += which * classes.shape[1]
        return self._seen(points, which, logits, gradient, keep)

    def attacked(self) -> AttackResult:
        """Runs the attack on this block and confirms what it found."""
        if bool(self.open.any()):
            self._attack.walk(self)
        self._confirm()
        return self._result()

    def _forward(self, points: Tensor, which: Tensor) -> Tensor:
        """Logits of the rows `which`; the clean ones elsewhere."""
        at = which.nonzero().flatten()
        if not len(at):
            return self.logits
        self._forwards[at] += 1
        logits = self.logits.clone()
        logits[at] = self._model.logits(points[at])
        return logits

    def _seen(
        self, points: Tensor, which: Tensor, logits: Tensor, gradient: Tensor | None, keep: bool
    ) -> Seen:
        margin = torch.where(which, self.margin(logits), math.inf)
        loss = torch.where(which, self._loss(logits), -math.inf)
        if keep and bool(which.any()):
            self._note(points, margin, loss)
        self._listen(Tick(self._model.passes.forwards, self._model.passes.backwards))
        return Seen(logits, margin, loss, gradient)

    def _note(self, points: Tensor, margin: Tensor, loss: Tensor) -> None:
        """Keeps points that rank lowest so far; closes rows that need no more."""
        fooled, rank = ~(margin > 0), margin
        inside = self.threat.contains(points, self.x)
        if self._attack.smallest:
            rank = torch.where(fooled, self.threat.size(points, self.x), math.inf)
        eligible = self._in_box(points) if self._attack.smallest else inside
        won = self.open & fooled & inside & ~self._won
        if self._attack.smallest:
            won &= self.bounded
        better = won | (~self._won & eligible & ~(rank >= self._rank))
        better &= ~(margin >= math.inf)
        self.best = torch.where(wide(better, self.best), points, self.best)
        self.best_margin = torch.where(better, margin, self.best_margin)
        self.best_loss = torch.where(better, loss, self.best_loss)
        self._rank = torch.where(better, rank, self._rank)
        self._won |= won
        self.open = self.open & ~won

    def _in_box(self, points: Tensor) -> Tensor:
        box = self.threat.box
        finite = points.flatten(1).isfinite().all(dim=1)
        if box is None:
            return finite
        flat = points.flatten(1)
        return finite & ((flat >= box[0] - 1e-6) & (flat <= box[1] + 1e-6)).all(dim=1)

    def _confirm(self) -> None:
        """A fresh forward pass at every claim; a smallest success outside a finite radius is
        projected, and looked at as the best point inside."""
        claimed = self._won.clone()
        if self._attack.smallest:
            claimed |= self._rank.isfinite()
            inside = self.threat.project(self.best, self.x)
            loose = wide(claimed & ~self._won & self.bounded, self.x)
            self.best = torch.where(loose, inside, self.best)
        logits = self._forward(self.best, claimed)
        margin, loss = self.margin(logits), self._loss(logits)
        holds = ~(margin > 0) & self.threat.contains(self.best, self.x)
        self._broken = claimed & holds
        clean = claimed & ~holds & ~(margin < self._clean[0])
        self.best_margin = torch.where(claimed, margin, self.best_margin)
        self.best_loss = torch.where(claimed, loss, self.best_loss)
        self.best_margin = torch.where(clean, self._clean[0], self.best_margin)
        self.best_loss = torch.where(clean, self._clean[1], self.best_loss)
        self.best = torch.where(wide(clean, self.x), self.x, self.best)

    def _result(self) -> AttackResult:
        real = slice(self._count)
        outcome = torch.full_like(self.y, Outcome.UNDECIDED)
        outcome[self._broken] = Outcome.BROKEN
        if self.targets is None:
            outcome[self._wrong] = Outcome.MISCLASSIFIED
        computed = self._model.passes.forwards + self._model.passes.padding - self._computed
        columns = {
            "x_adv": self.best,
            "success": self._broken | self._wrong,
            "margin": self.best_margin,
            "size": self.threat.size(self.best, self.x),
            "loss": self.best_loss,
            "forwards": self._forwards,
            "backwards": self._backwards,
            "outcome": outcome,
        }
        cut = {name: column[real] for name, column in columns.items()}
        return AttackResult(**cut, padding=max(0, computed - int(cut["forwards"].sum())))

    def _loss(self, logits: Tensor) -> Tensor:
        return self._attack.objective(logits, self.y, self.targets)


def joined(parts: list[AttackResult]) -> AttackResult:
    """The results of several blocks of examples as one."""
    names = [each.name for each in fields(AttackResult) if each.name != "padding"]
    kept = [name for name in names if getattr(parts[0], name) is not None]
    columns = {name: torch.cat([getattr(part, name) for part in parts]) for name in kept}
    return AttackResult(**columns, padding=sum(part.padding for part in parts))
