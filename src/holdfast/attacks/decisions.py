"""What attacks that see only the model's decision share: a budget of questions, a start, the search
for the boundary on a line.

A decision is whether the model errs (or reaches the target) at a point. Each question is one
forward pass of one example, and is counted against the example's own budget; after its last one an
example gets no answers but "no", so that an attack may go on for all rows of a block as if nothing
had happened.

Source: Brendel, Rauber and Bethge 2018, arXiv:1712.04248 (the setting; starts from uniform noise).
Departures: draws of a start take turns between uniform noise, noise about a random brightness with
    a random contrast, and tiles of black and white, as models commonly give all plain noise one
    class; without a box they are normal noise of doubling scale.
"""

import math
from collections.abc import Callable, Collection

import torch
from torch import Tensor

from holdfast.attacks.lanes import wide
from holdfast.attacks.lockstep import Oracle
from holdfast.attacks.tiles import tile_shape, upsample
from holdfast.core.errors import UnsupportedThreat
from holdfast.core.random import Keys
from holdfast.core.tensors import per_example
from holdfast.threats.box import Box
from holdfast.threats.protocol import Threat
from holdfast.threats.radius import per_feature

_NAMES = {0.0: "L0", 1.0: "L1", 2.0: "L2", math.inf: "Linf"}
_BLENDS = 10


class Decisions:
    """Yes or no from an oracle, for a number of questions per example.

    Args:
        oracle: whom to ask.
        queries: how many questions an example may ask, the clean look not counted.
    """

    def __init__(self, oracle: Oracle, queries: int):
        self._oracle, self.queries = oracle, queries

    @property
    def left(self) -> Tensor:
        """(b,) int64, questions left; 0 for rows that are final."""
        left = self.queries + 1 - self._oracle.spent
        return left.clamp_min(0) * self._oracle.open

    @property
    def ready(self) -> Tensor:
        """(b,) bool, rows that may ask."""
        return self.left > 0

    def fooled(self, points: Tensor, which: Tensor) -> Tensor:
        """(b,) bool, whether the model errs at points (b, *E); False for rows that are not in
        `which` (b,) or may not ask."""
        which = which & self.ready
        if not bool(which.any()):
            return which
        return which & ~(self._oracle.ask(points, which).margin > 0)


def adversarial_start(oracle: Oracle, decisions: Decisions, draws: int) -> tuple[Tensor, Tensor]:
    """Points (b, *E) in the box where the model errs, and (b,) whether one was found.

    The given start comes first; then noise is drawn until the model errs. What is found is blended
    with the input, as far as a bisection shows that the model still errs.

    Args:
        draws: noise inputs to try at most.
    """
    far, found = _far_start(oracle, decisions, draws)
    x, one = oracle.x, torch.ones_like(oracle.best_margin)

    def blended(share: Tensor) -> Tensor:
        return x + per_example(share, x) * (far - x)

    return blended(bisect(decisions, blended, found, one, _BLENDS)), found


def _far_start(oracle: Oracle, decisions: Decisions, draws: int) -> tuple[Tensor, Tensor]:
    points, found = oracle.x.clone(), torch.zeros_like(oracle.open)
    if oracle.start is not None:
        found = decisions.fooled(oracle.start, oracle.open)
        points = torch.where(wide(found, points), oracle.start, points)
    for draw in range(draws):
        which = decisions.ready & ~found
        if not bool(which.any()):
            break
        noise = noise_inputs(oracle.x, oracle.keys.fold("start"), oracle.threat.box, draw)
        fresh = decisions.fooled(noise, which)
        points = torch.where(wide(fresh, points), noise, points)
        found |= fresh
    return points, found


def noise_inputs(x: Tensor, keys: Keys, box: Box | None, draw: int) -> Tensor:
    """Inputs without a trace of x, (B, *E): in turn uniform noise in the box, noise about a random
    brightness with a random contrast, and tiles at the ends of the box; without a box, x and normal
    noise of growing scale.

    Args:
        draw: which of them, from 0.
    """
    event = x.shape[1:]
    if box is None:
        return x + keys.normal(event, draw).to(x) * 2.0 ** min(draw - 2, 30)
    if draw % 3 == 2:
        coarse = tile_shape(event, 2 ** (1 + draw // 3 % 4))
        sign = upsample(keys.fold("tiles").sign(coarse, draw).to(x), event)
        return torch.where(sign > 0, box[1], box[0]).to(x)
    unit = keys.uniform(event, draw).to(x)
    if draw % 3 == 1:
        ends = keys.fold("ends").uniform((2,), draw).to(x)
        low, high = (per_example(ends[:, side], x) for side in (0, 1))
        unit = low + (high - low) * unit
    return (box[0] + (box[1] - box[0]) * unit).clamp(*box)


def bisect(
    decisions: Decisions,
    between: Callable[[Tensor], Tensor],
    which: Tensor,
    high: Tensor,
    rounds: int,
) -> Tensor:
    """The smallest place found, (b,), at which `between(place)` still fools; from 0 to `high`.

    Args:
        between: places (b,) to points (b, *E); the model errs at that of `high`.
        which: (b,) rows that search; for others `high` is returned.
        high: (b,) where to begin.
        rounds: questions per row.
    """
    low = torch.zeros_like(high)
    for _ in range(rounds):
        middle = (low + high) / 2
        asked = which & decisions.ready
        if not bool(asked.any()):
            break
        fooled = decisions.fooled(between(middle), which)
        high = torch.where(fooled, middle, high)
        low = torch.where(asked & ~fooled, middle, low)
    return high


def check_geometry(threat: Threat, exponents: Collection[float], attack: str) -> None:
    """Refuses threats other than balls of these exponents with one radius per example.

    Raises:
        UnsupportedThreat: another threat.
    """
    wanted = " or ".join(_NAMES[p] for p in exponents)
    if getattr(threat, "p", None) not in exponents or per_feature(threat.radius):
        raise UnsupportedThreat(
            f"{attack} does not search {threat}; give {wanted} with one radius per example"
        )
