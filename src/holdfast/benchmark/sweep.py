"""Accuracy against the radius, from witnesses and certificates at several radii.

A witness of size s shows that its example falls at every radius from s on; a certificate at radius
r proves it at every radius up to r. Both curves are therefore monotone by construction.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from holdfast.benchmark.stages import Rows, attack_result
from holdfast.core.ledger import Contradiction, Ledger
from holdfast.core.results import Outcome
from holdfast.data.images import ImageData
from holdfast.threats.protocol import Threat


class Sweep:
    """What is known of every example at every radius.

    Args:
        ledger: what the evaluation at the threat itself found; passes of further radii are added.
        threat: with one radius for all.
        data: the examples.

    Columns: `witness` (N,), the smallest size at which the example is known to fall (-1 where the
    clean input is misclassified, infinity where none is known); `certified` (N,), the largest
    radius at which it is proved (-1 for none); `best` (N, *E), the best iterates so far.
    """

    def __init__(self, ledger: Ledger, threat: Threat, data: ImageData):
        infinity = torch.full((len(ledger),), math.inf, dtype=torch.float64)
        broken, wrong = ledger.outcome == Outcome.BROKEN, ledger.outcome == Outcome.MISCLASSIFIED
        radius = getattr(threat, "radius", None)
        self.radius = radius if isinstance(radius, float) else math.nan
        self.main_broken = broken
        self.ledger = ledger
        self.witness = torch.where(broken, ledger.size.double().clamp(max=self.radius), infinity)
        self.witness[wrong] = -1.0
        self.certified = torch.full_like(infinity, -1.0)
        self.certified[ledger.outcome == Outcome.CERTIFIED] = self.radius
        self.best = data.inputs(torch.arange(len(ledger))).cpu()
        if ledger.x_adv is not None:
            seen = ~ledger.x_adv.flatten(1).isnan().any(dim=1)
            self.best[seen] = ledger.x_adv[seen].to(self.best)

    def radii(self, further: Sequence[float]) -> list[float]:
        """All radii of the curve: 0, the threat's own, and the further ones."""
        if math.isnan(self.radius):
            return []
        return sorted({0.0, self.radius, *further} - {math.inf})

    def stands(self, radius: float) -> Tensor:
        """Which examples are neither known to fall at this radius nor proved, (N,) bool."""
        return (self.witness > radius) & (self.certified < radius)

    def ledger_at(self, radius: float) -> Ledger:
        """A ledger for this radius, in which only the examples that stand there are undecided."""
        ledger = Ledger(self.ledger.index, self.ledger.labels)
        ledger.outcome[self.witness <= radius] = Outcome.BROKEN
        ledger.outcome[self.certified >= radius] = Outcome.CERTIFIED
        ledger.outcome[self.witness < 0] = Outcome.MISCLASSIFIED
        return ledger

    def take_bound(self, at: Tensor, rows: Rows, radius: float) -> None:
        """Takes a bound's rows at a radius."""
        proved = at[rows["bound"] > 0]
        self.certified[proved] = self.certified[proved].clamp(min=radius)

    def take_attack(self, at: Tensor, rows: Rows, method: str) -> None:
        """Takes an attack's rows; a witness counts for every radius from its own size on."""
        broken = rows["success"]
        size = rows["size"].double()
        self.witness[at[broken]] = torch.minimum(self.witness[at[broken]], size[broken])
        self.best[at] = rows["x_adv"].to(self.best)
        self.ledger.forwards[at] += rows["forwards"]
        self.ledger.backwards[at] += rows["backwards"]
        proved = self.certified[at] >= size + 1e-6 * size.clamp(min=1.0)
        if bool((broken & proved).any()):
            example = int(self.ledger.index[at[broken & proved][0]])
            raise Contradiction(f"example {example} fell inside its certified radius (by {method})")
        inside = broken & (size <= self.radius + 1e-6 * max(1.0, self.radius))
        if bool(inside.any()):
            late = {name: column[inside] for name, column in rows.items()}
            self.ledger.take_points(at[inside], attack_result(late), method)

    def counts(self, radius: float) -> tuple[int, int]:
        """How many examples are neither misclassified nor broken, and how many certified."""
        tolerance = 1e-6 * max(1.0, radius)
        robust = self.witness > (radius + tolerance if radius > 0 else 0.0)
        proved = (self.certified >= radius) if radius > 0 else robust
        return int(robust.sum()), int((proved & robust).sum())

    def warnings(self, threat: Threat) -> list[str]:
        """Examples that fell at a smaller radius and had survived at the main one."""
        late = (self.witness <= self.radius) & (self.witness >= 0) & ~self.main_broken
        count = int(late.sum())
        if not count:
            return []
        return [
            f"{count} examples survived at {threat.text} but fell at a smaller radius: the attacks "
            "are too weak for this model; use more restarts"
        ]
