"""The ledger: what is known of every example under one threat, and what it cost to learn.

One row per example; cheap methods write first, each later one sees only the undecided rows. A row
keeps the evidence for its outcome: the method, the witness or the bound, and the passes spent.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from holdfast.core.results import AttackResult, Outcome


class Contradiction(AssertionError):
    """An example was certified and broken: one of the two methods is wrong."""


class Ledger:
    """Columns over N examples.

    Args:
        index: (N,) stable indices of the examples.
        labels: (N,) their classes.

    Columns: `outcome` (codes of `Outcome`), `method` (position in `methods`, -1 for none), `margin`
    (smallest logit margin seen), `size` (of the best iterate), `bound` (largest certified margin,
    NaN where none), `forwards`, `backwards`, `seconds`, `x_adv` (best iterates, None until an
    attack ran).
    """

    def __init__(self, index: Tensor, labels: Tensor):
        count = len(index)
        self.index, self.labels = index.cpu(), labels.cpu()
        self.methods: list[str] = []
        self.outcome = torch.full((count,), int(Outcome.UNDECIDED))
        self.method = torch.full((count,), -1)
        self.prediction = torch.full((count,), -1)
        self.confidence = torch.full((count,), float("nan"))
        self.margin = torch.full((count,), float("inf"))
        self.size = torch.full((count,), float("nan"))
        self.bound = torch.full((count,), float("nan"), dtype=torch.float64)
        self.forwards = torch.zeros(count, dtype=torch.int64)
        self.backwards = torch.zeros(count, dtype=torch.int64)
        self.seconds = torch.zeros(count, dtype=torch.float64)
        self.x_adv: Tensor | None = None

    def __len__(self) -> int:
        return len(self.index)

    def undecided(self) -> Tensor:
        """Positions of the rows that no method has decided."""
        return (self.outcome == Outcome.UNDECIDED).nonzero().flatten()

    def share(self, *outcomes: Outcome) -> float:
        """The fraction of all examples that have one of these outcomes."""
        return self.count(*outcomes) / max(1, len(self))

    def count(self, *outcomes: Outcome) -> int:
        """How many examples have one of these outcomes."""
        return int(torch.isin(self.outcome, torch.tensor([int(o) for o in outcomes])).sum())

    def take_clean(
        self, at: Tensor, prediction: Tensor, confidence: Tensor, margin: Tensor
    ) -> None:
        """The answers on clean inputs: a margin that is not positive is a misclassification."""
        self.prediction[at] = prediction.cpu()
        self.confidence[at] = confidence.cpu().to(self.confidence)
        self.margin[at] = margin.cpu().to(self.margin)
        self.forwards[at] += 1
        self._decide(at, ~(margin.cpu() > 0), Outcome.MISCLASSIFIED, "clean")

    def take_attack(self, at: Tensor, result: AttackResult, method: str) -> None:
        """What an attack found; broken rows keep the witness, others the best iterate so far."""
        self.forwards[at] += result.forwards.cpu()
        self.backwards[at] += result.backwards.cpu()
        self.take_points(at, result, method)

    def take_points(self, at: Tensor, result: AttackResult, method: str) -> None:
        """The points of an attack without its passes."""
        margin, broken = result.margin.cpu(), result.success.cpu()
        better = broken | (margin <= self.margin[at])
        rows = at[better]
        if self.x_adv is None:
            self.x_adv = torch.full((len(self), *result.x_adv.shape[1:]), float("nan"))
        self.x_adv[rows] = result.x_adv.cpu()[better].to(self.x_adv)
        self.margin[rows] = margin[better].to(self.margin)
        self.size[rows] = result.size.cpu()[better].to(self.size)
        self._decide(at, broken, Outcome.BROKEN, method)

    def take_bound(self, at: Tensor, bound: Tensor, method: str) -> None:
        """Certified margins (smallest over the classes); only a positive one certifies."""
        bound = bound.detach().cpu().to(torch.float64)
        self.bound[at] = torch.fmax(self.bound[at], bound)
        self._decide(at, bound > 0, Outcome.CERTIFIED, method)

    def rows(self) -> dict[str, list[Any]]:
        """The columns as plain lists, for a table."""
        words = {int(o): str(o) for o in Outcome}
        method = [self.methods[i] if i >= 0 else "" for i in self.method.tolist()]
        columns: dict[str, list[Any]] = {
            "index": self.index.tolist(),
            "label": self.labels.tolist(),
            "prediction": self.prediction.tolist(),
            "confidence": self.confidence.tolist(),
            "outcome": [words[o] for o in self.outcome.tolist()],
            "method": method,
        }
        for name in ("margin", "size", "bound", "forwards", "backwards", "seconds"):
            columns[name] = getattr(self, name).tolist()
        return columns

    def per_class(self, names: Sequence[str]) -> list[dict[str, Any]]:
        """Counts of each class: examples, clean correct, not broken, certified."""
        table = []
        for label, name in enumerate(names):
            outcome = self.outcome[self.labels == label]
            wrong = int((outcome == Outcome.MISCLASSIFIED).sum())
            broken = int((outcome == Outcome.BROKEN).sum())
            table.append(
                {
                    "class": name,
                    "examples": len(outcome),
                    "clean": len(outcome) - wrong,
                    "robust": len(outcome) - wrong - broken,
                    "certified": int((outcome == Outcome.CERTIFIED).sum()),
                }
            )
        return table

    def _decide(self, at: Tensor, mask: Tensor, outcome: Outcome, method: str) -> None:
        rows = at[mask]
        earlier = self.outcome[rows]
        clash = {Outcome.BROKEN: Outcome.CERTIFIED, Outcome.CERTIFIED: Outcome.BROKEN}.get(outcome)
        if clash is not None and bool((earlier == clash).any()):
            example = int(self.index[rows[earlier == clash][0]])
            raise Contradiction(f"example {example} is both certified and broken (by {method})")
        rows = rows[earlier == Outcome.UNDECIDED]
        if method not in self.methods:
            self.methods.append(method)
        self.outcome[rows] = int(outcome)
        self.method[rows] = self.methods.index(method)
