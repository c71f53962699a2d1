"""The Pointwise attack: an adversarial input is set back to the clean one, feature by feature.

From a point where the model errs (salt-and-pepper noise, or the given start), changed features are
visited in random order; one is set back where the model errs all the same. Passes are repeated
until one sets nothing back: no single feature can then be restored. For L1 and L2 the features that
are left are moved towards the input by bisection, one after the other, until a pass gains nothing.
All begins again from other noise as long as queries are left; the smallest end counts.

Source: Schott, Rauber, Bethge and Brendel 2019, arXiv:1805.09190, sec 5 and appendix.
Departures: groups of features are set back by one question: the group doubles where that succeeds
    and halves where it fails, down to a single feature, so that the end is as in the paper and
    most questions are spared; features of a pixel go together where the threat counts pixels.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from holdfast.attacks.decisions import Decisions
from holdfast.attacks.lanes import wide
from holdfast.attacks.lockstep import LockstepAttack, Oracle
from holdfast.attacks.salt_and_pepper import (
    Draw,
    by_pixel,
    changed_first,
    check_sparse,
    place_shape,
)
from holdfast.core.random import Keys
from holdfast.core.recipes import Count, hyperparameters
from holdfast.threats.protocol import Threat


@hyperparameters
class Pointwise(LockstepAttack):
    """Greedy restoring of features from decisions alone; minimum norm, L0, L1 or L2.

    Args:
        queries: questions per example, besides the clean look and the final check.
        draws: salt-and-pepper noises to search for the first start, where none is given or it does
            not fool; each later start is the first level of one noise that fools.
        restarts: orders in which features are set back from a start; the smallest end counts.
        rounds: questions of a feature's bisection, for L1 and L2.

    Guarantee: only decisions are used; where the budget suffices for one start and the threat is
        L0, the result changes no more than a point at which no single feature can be set back.
    Cost: per example at most queries + 2 forwards, no backwards.
    Needs: decisions; L0, L1 or L2 with a box.
    Source: Schott, Rauber, Bethge and Brendel 2019, arXiv:1805.09190.

    Example:
        >>> import torch
        >>> from holdfast.threats.l0 import L0
        >>> model = torch.nn.Linear(4, 2)
        >>> x = torch.full((1, 4), 0.5)
        >>> result = Pointwise(queries=40).run(model, x, model(x).argmax(1), L0("inf"))
        >>> int(result.forwards) <= 42
        True
    """

    smallest = True

    queries: Count = 2000
    draws: Count = 100
    restarts: Count = 5
    rounds: Count = 10

    def check(self, threat: Threat) -> None:
        """Refuses other norms, and threats without a box."""
        check_sparse(threat, "Pointwise")

    def walk(self, oracle: Oracle) -> None:
        """From one start after the other, restores features; until every budget is spent."""
        decisions = Decisions(oracle, self.queries)
        start, found = self._start(oracle, decisions)
        for number in range(self.queries):
            self._descend(oracle, decisions, start, found, number)
            if not bool(decisions.ready.any()):
                break
            noise = Draw(oracle, self.draws + number, by_pixel(oracle.threat))
            start, found = noise.first(decisions)

    def _descend(
        self, oracle: Oracle, decisions: Decisions, start: Tensor, found: Tensor, number: int
    ) -> None:
        """Restores features of one start, in several orders, until nothing more can be restored."""
        point = start
        for restart in range(self.restarts):
            keys = oracle.keys.fold("restore").fold(number * self.restarts + restart)
            fresh = _restored(oracle, decisions, start, found, keys)
            smaller = oracle.threat.size(fresh, oracle.x) < oracle.threat.size(point, oracle.x)
            point = torch.where(wide(smaller, point), fresh, point)
        if oracle.threat.p > 0:
            keys = oracle.keys.fold("narrow").fold(number)
            self._narrow(oracle, decisions, point, found, keys)

    def _start(self, oracle: Oracle, decisions: Decisions) -> tuple[Tensor, Tensor]:
        """A point that fools, (b, *E), and (b,) where there is one."""
        found = torch.zeros_like(oracle.open)
        if oracle.start is not None:
            found = decisions.fooled(oracle.start, oracle.open)
        started, start = found.clone(), oracle.start
        for draw in range(self.draws):
            lacking = _Only(decisions, oracle, ~started)
            Draw(oracle, draw, by_pixel(oracle.threat)).search(lacking)
        point = oracle.best.clone()
        if start is not None:
            point = torch.where(wide(started, point), start, point)
        return point, oracle.smallest_size.isfinite()

    def _narrow(
        self, oracle: Oracle, decisions: Decisions, point: Tensor, which: Tensor, keys: Keys
    ) -> None:
        """Moves single features towards the input, in passes, until a pass gains nothing."""
        flat, clean = point.flatten(1), oracle.x.flatten(1)
        active, number = which, 0
        while bool((active & decisions.ready).any()):
            order, count = _order(flat != clean, keys, number)
            gained = torch.zeros_like(active)
            for place in range(int((count * active).max())):
                at = order[:, place : place + 1]
                turn = active & (place < count)
                new = self._bisected(oracle, decisions, flat, at, turn)
                gained |= turn & ((new - flat.gather(1, at)).abs() > 1e-6)[:, 0]
                flat = flat.scatter(1, at, torch.where(turn[:, None], new, flat.gather(1, at)))
            active, number = active & gained, number + 1

    def _bisected(
        self, oracle: Oracle, decisions: Decisions, flat: Tensor, at: Tensor, turn: Tensor
    ) -> Tensor:
        """The value nearest to the clean one found for the feature at `at` (b, 1), (b, 1).

        A feature that cannot be moved by the least step is asked about once.
        """
        kept, refused = flat.gather(1, at), oracle.x.flatten(1).gather(1, at)
        value, turn = kept + (refused - kept) / 2**self.rounds, turn.clone()
        for round_ in range(self.rounds + 2):
            asked = turn & decisions.ready
            if not bool(asked.any()):
                break
            points = flat.scatter(1, at, value).view_as(oracle.x)
            fooled = decisions.fooled(points, asked)[:, None]
            kept = torch.where(fooled, value, kept)
            if round_ == 0:
                turn, value = turn & fooled[:, 0], refused
                continue
            refused = torch.where(asked[:, None] & ~fooled, value, refused)
            if round_ == 1:
                turn &= ~fooled[:, 0]
            value = (kept + refused) / 2
        return kept


class _Only(Decisions):
    """Decisions for some rows only."""

    def __init__(self, decisions: Decisions, oracle: Oracle, rows: Tensor):
        super().__init__(oracle, decisions.queries)
        self._rows = rows

    @property
    def left(self) -> Tensor:
        """Questions left, none for the other rows."""
        return super().left * self._rows


@dataclass(frozen=True, eq=False)
class _Pass:
    """Where each row is in a pass over its changed places; columns (b,)."""

    number: Tensor
    place: Tensor
    group: Tensor
    gained: Tensor


def _restored(
    oracle: Oracle, decisions: Decisions, point: Tensor, which: Tensor, keys: Keys
) -> Tensor:
    """The points with features set back until no single one can be, (b, *E)."""
    shape = place_shape(point, by_pixel(oracle.threat))
    zero = torch.zeros_like(oracle.y)
    state = _Pass(zero, zero, zero + 1, zero > 0)
    rank, count = _ranked(point, oracle.x, shape, keys, state.number)
    active = which.clone()
    while bool((active & decisions.ready).any()):
        last = state.place + state.group
        chosen = (rank >= wide(state.place, rank)) & (rank < wide(last, rank))
        probe = torch.where(chosen, oracle.x, point)
        asked = active & decisions.ready
        fooled = decisions.fooled(probe, asked)
        point = torch.where(wide(fooled, point), probe, point)
        single = state.group == 1
        place = torch.where(fooled, last, state.place + (single & asked))
        group = torch.where(fooled, 2 * state.group, (state.group // 2).clamp_min(1))
        state = _Pass(state.number, place, group, state.gained | fooled)
        over = active & (place >= count)
        active &= ~over | state.gained
        if bool(over.any()):
            number = state.number + over
            fresh, many = _ranked(point, oracle.x, shape, keys, number)
            rank = torch.where(wide(over, rank), fresh, rank)
            count = torch.where(over, many, count)
            state = _Pass(
                number,
                place.masked_fill(over, 0),
                group.masked_fill(over, 1),
                state.gained & ~over,
            )
    return point


def _ranked(
    point: Tensor, x: Tensor, shape: torch.Size, keys: Keys, number: Tensor
) -> tuple[Tensor, Tensor]:
    """The turn of each changed place, (b, *shape), others after all of them; how many, (b,)."""
    changed = point != x
    if shape != x.shape[1:]:
        changed = changed.any(dim=1, keepdim=True)
    order, count = _order(changed.flatten(1), keys, number)
    return order.argsort(dim=1).view(len(x), *shape), count


def _order(changed: Tensor, keys: Keys, number: int | Tensor) -> tuple[Tensor, Tensor]:
    """The places (b, n) in random order, those that changed first; how many those are, (b,)."""
    order = keys.permutation(changed.shape[1], number)
    return changed_first(order, changed), changed.sum(dim=1)
