"""What training returns."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn


@dataclass(frozen=True, eq=False)
class TrainingResult:
    """A trained model and how it came about.

    Args:
        model: with the chosen weights, on the device of training.
        history: one record per epoch: means over its examples, and validation figures.
        best: `epoch`, `clean` and `robust` of the best checkpoint on validation, or None where
            nothing was validated.
        final: the same of the last validated epoch.
        chosen_epoch: whose weights the model has, from 1.
        selected_on: `validation`, `train`, `test (oracle)`, or `nothing` where the last epoch was
            taken, or an ensemble.
        seconds: of training and validation, interruptions aside.
        steps: weight steps.
        forwards: forward passes of training examples, validation aside.
        backwards: backward passes likewise.
        batch_norm: `none`, `one process`, `local` or `sync`.
        warnings: what should be looked at.
        checkpoint: the file of the chosen weights, or None without a run.
        chosen_step: after how many steps the model had its weights.
        ended: where a monitor ended training: `by` which, with what `action`, at which `step` and
            `epoch`, and for a rollback `restored_step` and `restored_epoch`; else None.
    """

    model: nn.Module
    history: tuple[Mapping[str, Any], ...]
    best: Mapping[str, Any] | None
    final: Mapping[str, Any] | None
    chosen_epoch: int
    selected_on: str
    seconds: float
    steps: int
    forwards: int
    backwards: int
    batch_norm: str
    warnings: tuple[str, ...]
    checkpoint: Path | None
    chosen_step: int = 0
    ended: Mapping[str, Any] | None = None

    @property
    def gap(self) -> float | None:
        """By how much the best robust accuracy exceeds the final one: robust overfitting."""
        if not self.best or not self.final or self.best.get("robust") is None:
            return None
        gap: float = self.best["robust"] - self.final["robust"]
        return gap

    def record(self) -> dict[str, Any]:
        """As plain data, for `result.json`."""
        return {
            "best": dict(self.best) if self.best else None,
            "final": dict(self.final) if self.final else None,
            "gap": self.gap,
            "chosen_epoch": self.chosen_epoch,
            "chosen_step": self.chosen_step,
            "selected_on": self.selected_on,
            "seconds": self.seconds,
            "steps": self.steps,
            "forwards": self.forwards,
            "backwards": self.backwards,
            "batch_norm": self.batch_norm,
            "warnings": list(self.warnings),
            "ended": dict(self.ended) if self.ended else None,
            "history": [dict(epoch) for epoch in self.history],
        }
