"""Salt-and-pepper noise: more and more pixels at random jump to an end of the box, until the model
errs.

A draw fixes an order of the pixels and the end that each jumps to; its noise of level m changes the
first m. The least level that fools is found by asking at the levels n/64, n/32, ... n, then by
bisection below the first that fools. Further draws ask once, at the largest level whose noise is
smaller than all successes so far, and search on below it where that fools. Every second of them is
the best noise so far in a fresh order of its pixels: its levels are that noise, thinned at random.

Source: Rauber, Brendel and Bethge 2017, arXiv:1707.04131 (the attack, with noise drawn afresh at
    every level).
Departures: nested levels, so that a draw has a least level to be searched; draws that cannot
    improve on the best cost one query; thinned noise takes turns with fresh noise.
"""

import torch
from torch import Tensor

from holdfast.attacks.decisions import Decisions, check_geometry
from holdfast.attacks.lanes import wide
from holdfast.attacks.lockstep import LockstepAttack, Oracle
from holdfast.core.errors import UnsupportedThreat
from holdfast.core.recipes import Count, hyperparameters
from holdfast.threats.box import Box
from holdfast.threats.protocol import Threat

_LEVELS = 7


@hyperparameters
class SaltAndPepper(LockstepAttack):
    """Random extreme pixels, as few as fool the model; minimum norm, from decisions alone.

    Args:
        queries: questions per example, besides the clean look and the final check.
        across_channels: all channels of a pixel of an image (C, H, W) jump together.

    Guarantee: only decisions are used; the smallest success asked about is returned, in the norm of
        the threat.
    Cost: per example at most queries + 2 forwards, no backwards.
    Needs: decisions; L0, L1 or L2 with a box.
    Source: Rauber, Brendel and Bethge 2017, arXiv:1707.04131.

    Example:
        >>> import torch
        >>> from holdfast.threats import L1
        >>> model = torch.nn.Linear(4, 2)
        >>> x = torch.full((1, 4), 0.5)
        >>> result = SaltAndPepper(queries=20).run(model, x, model(x).argmax(1), L1("inf"))
        >>> bool(((result.x_adv - x).abs() % 0.5 == 0).all())
        True
    """

    smallest = True

    queries: Count = 1000
    across_channels: bool = True

    def check(self, threat: Threat) -> None:
        """Refuses other norms, and threats without a box."""
        check_sparse(threat, "SaltAndPepper")

    def walk(self, oracle: Oracle) -> None:
        """Draws noise and searches its level, until every budget is spent."""
        decisions = Decisions(oracle, self.queries)
        for draw in range(self.queries):
            if not bool(decisions.ready.any()):
                break
            Draw(oracle, draw, self.across_channels, thinned=draw % 2 == 1).search(decisions)


class Draw:
    """One order of pixels, and the end of the box that each jumps to.

    Args:
        oracle: for the inputs, their keys and the threat.
        number: which draw.
        across_channels: whether channels of a pixel go together.
        thinned: whether the pixels that the best success changed come first, and jump as there.
    """

    def __init__(
        self, oracle: Oracle, number: int, across_channels: bool, *, thinned: bool = False
    ):
        x, box = oracle.x, oracle.threat.box
        assert box is not None
        self._oracle = oracle
        places = place_shape(x, across_channels)
        keys = oracle.keys.fold("salt and pepper")
        order = keys.permutation(places.numel(), number)
        noisy = _extremes(keys.fold("ends").sign(places, number).to(x), box).expand_as(x)
        if thinned:
            changed = oracle.best != x
            if places != x.shape[1:]:
                changed = changed.any(dim=1, keepdim=True)
            noisy = torch.where(changed, oracle.best, noisy)
            order = changed_first(order, changed.flatten(1))
        self._order, self._noisy = order, noisy
        self._rank = order.argsort(dim=1).view(len(x), *places)
        self._count = places.numel()

    def at(self, level: Tensor) -> Tensor:
        """The inputs with their first `level` (b,) pixels changed."""
        return torch.where(self._rank < wide(level, self._rank), self._noisy, self._oracle.x)

    def first(self, decisions: Decisions) -> tuple[Tensor, Tensor]:
        """The noise of the first of the levels n/64, n/32, ... n that fools, (b, *E), and (b,)
        whether one does; for rows that may ask."""
        point, found = self._oracle.x, torch.zeros_like(self._oracle.open)
        last = 0
        for place in range(_LEVELS):
            level = max(1, self._count * 2**place // 2 ** (_LEVELS - 1))
            if level > last:
                noise = self.at(torch.full_like(self._oracle.y, level))
                fresh = decisions.fooled(noise, ~found)
                point = torch.where(wide(fresh, point), noise, point)
                found, last = found | fresh, level
        return point, found

    def search(self, decisions: Decisions) -> None:
        """Asks for the least level that fools, among those smaller than the best success."""
        known = self._oracle.smallest_size.isfinite()
        low, high = torch.zeros_like(self._oracle.y), self._smaller()
        promising = decisions.ready & (self._oracle.threat.size(self.at(high), self._oracle.x) > 0)
        waiting = promising.clone()
        for place in range(_LEVELS):
            level = (self._count * 2**place // 2 ** (_LEVELS - 1)) * torch.ones_like(high)
            level = torch.where(known, high, level.clamp_min(1))
            asked = waiting & decisions.ready & (level > low) & ~(known & (place > 0))
            fooled = decisions.fooled(self.at(level), asked)
            high = torch.where(fooled, level, high)
            low = torch.where(asked & ~fooled, level, low)
            waiting &= ~fooled
        searching = promising & ~waiting
        while bool((searching & decisions.ready & (high - low > 1)).any()):
            level = torch.where(known, (low + 3 * high) // 4, (low + high) // 2)
            asked = searching & decisions.ready & (high - low > 1)
            fooled = decisions.fooled(self.at(level), asked)
            high = torch.where(fooled, level, high)
            low = torch.where(asked & ~fooled, level, low)

    def _smaller(self) -> Tensor:
        """The largest level whose noise is smaller than the best success, (b,) int64."""
        x, p = self._oracle.x, self._oracle.threat.p
        move = (self._noisy - x).abs().to(torch.float64)
        cost = (move > 0).to(move) if p == 0 else move**p
        if self._rank.shape != x.shape:
            cost = cost.sum(dim=1, keepdim=True)
        if p == 0 and by_pixel(self._oracle.threat):
            cost = cost.clamp_max(1.0)
        limit = self._oracle.smallest_size.to(cost) ** (p or 1.0)
        sums = cost.flatten(1).gather(1, self._order).cumsum(dim=1)
        return (sums < limit[:, None]).sum(dim=1)


def place_shape(x: Tensor, across_channels: bool) -> torch.Size:
    """The shape of what changes together in inputs (B, *E): E, or (1, H, W) for images whose
    channels go together."""
    event = x.shape[1:]
    return torch.Size([1, *event[1:]]) if across_channels and len(event) == 3 else event


def changed_first(order: Tensor, changed: Tensor) -> Tensor:
    """An order of places (b, n), those first that changed (b, n), else as they were."""
    last = (~changed).gather(1, order).to(torch.int8).argsort(dim=1, stable=True)
    return order.gather(1, last)


def by_pixel(threat: Threat) -> bool:
    """Whether the threat counts pixels, all channels together."""
    return getattr(threat, "per", "feature") == "pixel"


def check_sparse(threat: Threat, attack: str) -> None:
    """Refuses what is not L0, L1 or L2 with a box and one radius per example.

    Raises:
        UnsupportedThreat: another threat.
    """
    check_geometry(threat, (0.0, 1.0, 2.0), attack)
    if threat.box is None:
        raise UnsupportedThreat(f"{attack} needs ends to jump to; give {threat} a box")


def _extremes(sign: Tensor, box: Box) -> Tensor:
    """The upper end where the sign is 1, the lower where it is -1."""
    return torch.where(sign > 0, box[1], box[0]).to(sign)
