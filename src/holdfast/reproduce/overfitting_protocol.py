"""What the reproductions of robust overfitting share: figures of a learning curve, and sizes.

    best = max_e r_e,   final = mean of the last 5 r_e (+- their deviation),   lost = best - final

with r_e the robust accuracy on test examples after epoch e, under the attack of training.

Source: Rice, Wong and Kolter 2020, arXiv:2002.11569; Wong 2020, sec 4.3.1; Rice 2023, sec 2.3.2.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from holdfast.measures.queries import Queries
from holdfast.reproduce.page import SPREAD
from holdfast.reproduce.records import Claim, Lines, Size, line_per_row
from holdfast.reproduce.trainings import HISTORY
from holdfast.training.monitors.robust_overfitting import TAIL

BEST, FINAL, LOST = "best_robust_accuracy", "final_robust_accuracy", "lost_accuracy"
CLEAN_AT_BEST, FINAL_CLEAN = "clean_at_best_accuracy", "final_clean_accuracy"
TRAIN_AT_BEST, TRAIN = "training_at_best_accuracy", "final_training_accuracy"
BEST_AT = "best_at"
POINT = 0.01
"""A loss above it counts as robust overfitting."""
TOLERANCE = {BEST: (0.015, 0.0), FINAL: (0.02, 0.0), LOST: (0.02, 0.0)}
ORACLE: Mapping[str, Any] = {
    "data.validation": 0,
    "selection.on": "test",
    "selection.every": 1,
    "selection.examples": 30_000,
}
"""The published protocol: all training images, and the test set looked at after every epoch."""
QUICK: Mapping[str, Any] = {
    "training.epochs": 2,
    "data.limit": 60,
    **ORACLE,
    "selection.attack": "pgd-2-1",
    "selection.examples": 20,
}
PGD7: Mapping[str, Any] = {
    "kind": "pgd-at",
    "attack": {"kind": "pgd", "steps": 7, "restarts": 1, "step_size": "eps/4"},
}
SCALED: Mapping[str, Any] = {
    "threat": "linf:4/255",
    "objective": PGD7,
    "training.epochs": 60,
    "training.batch_size": 25,
    "training.schedule": {"kind": "piecewise", "value": 2e-3, "at": [0.5, 0.75]},
    "data.limit": 500,
    **ORACLE,
    "selection.attack": "pgd-10-1-eps/4",
    "selection.examples": 300,
}
RAMP: Mapping[str, Any] = {
    "training.radius_schedule": {"kind": "linear", "start": 0.0, "end": 1.0, "finish": 0.1}
}
"""The radius is brought in over the first tenth: at the full radius from the beginning some
trainings of the scaled size never leave the constant classifier."""
EPOCHS, RATE = 60 / 200, 2e-3 / 0.1
"""Epochs and learning rates of the scaled size, of the published ones."""
QUICK_NOTE = "digits, linf 0.15, 60 training images, two epochs"
SCALED_NOTE = (
    "CIFAR-10 (JPEG), linf 4/255, conv 16-32-100, 500 training images without augmentation, 60 "
    "epochs of Adam for 200 of SGD, 7 attack steps, the first 300 test images"
)


def small_sizes(*, minutes: float, note: str = "") -> tuple[Size, Size]:
    """The quick size of an entry, on the embedded digits, and the scaled one, on CIFAR-10 (JPEG).

    Args:
        minutes: of the scaled one.
        note: what else differs in the scaled one.
    """
    scaled = SCALED_NOTE + (f"; {note}" if note else "")
    return (
        Size(
            name="quick",
            recipes=("digits-pgd",),
            changes=QUICK,
            images=20,
            minutes=0.2,
            note=QUICK_NOTE,
        ),
        Size(
            name="scaled",
            recipes=("cifar10-jpeg-small",),
            changes=SCALED,
            images=300,
            minutes=minutes,
            note=scaled,
        ),
    )


def curve(columns: Mapping[str, Tensor]) -> dict[str, float | None]:
    """Best and final figures of the learning curves of a training, means over seeds.

    Args:
        columns: `history.robust_accuracy` (seeds, epochs) and others; see `trainings.trained`.

    Returns:
        the measures of this file; those of the training examples under attack where the history
        has them. The spread of a final figure is over the last 5 epochs.
    """
    robust, clean = columns[HISTORY + "robust_accuracy"], columns[HISTORY + "clean_accuracy"]
    place = robust.argmax(dim=1, keepdim=True)
    tail = min(TAIL, robust.shape[1])
    best, final = robust.gather(1, place).mean(), robust[:, -tail:].mean()
    found: dict[str, float | None] = {
        BEST: float(best),
        FINAL: float(final),
        LOST: float(best - final),
        CLEAN_AT_BEST: float(clean.gather(1, place).mean()),
        FINAL_CLEAN: float(clean[:, -tail:].mean()),
        BEST_AT: float((place + 1).double().mean()) / robust.shape[1],
    }
    if tail > 1:
        found[FINAL + SPREAD] = float(robust[:, -tail:].std(dim=1).mean())
        found[FINAL_CLEAN + SPREAD] = float(clean[:, -tail:].std(dim=1).mean())
    keys = (HISTORY + "adversarial_accuracy", HISTORY + "accuracy")
    shown = next((columns[key] for key in keys if key in columns), None)
    if shown is not None:
        found[TRAIN_AT_BEST] = float(shown.gather(1, place).mean())
        found[TRAIN] = float(shown[:, -tail:].mean())
    return found


def lines(
    outcomes: Mapping[str, Queries], columns: Mapping[str, Mapping[str, Tensor]]
) -> dict[str, dict[str, float | None]]:
    """The figures of every training and those of its learning curves."""
    found = line_per_row(outcomes, columns)
    for name, each in columns.items():
        if HISTORY + "robust_accuracy" in each:
            found[name] |= curve(each)
    return found


def of_errors(
    final: float,
    best: float,
    spread: float | None = None,
    clean: tuple[float, float, float] | None = None,
) -> dict[str, float | None]:
    """A published line, from errors in per cent.

    Args:
        final: robust error at the end.
        best: the least.
        spread: of the final one.
        clean: error at the end, its spread, and that of the best epoch.

    Example:
        >>> of_errors(51.4, 43.2)
        {'best_robust_accuracy': 0.568, 'final_robust_accuracy': 0.486, 'lost_accuracy': 0.082}
    """
    found: dict[str, float | None] = {
        BEST: round(1 - best / 100, 6),
        FINAL: round(1 - final / 100, 6),
        LOST: round((final - best) / 100, 6),
    }
    if spread is not None:
        found[FINAL + SPREAD] = round(spread / 100, 6)
    if clean is not None:
        end, deviation, at_best = clean
        found[FINAL_CLEAN] = round(1 - end / 100, 6)
        found[FINAL_CLEAN + SPREAD] = round(deviation / 100, 6)
        found[CLEAN_AT_BEST] = round(1 - at_best / 100, 6)
    return found


def having(lines: Lines, *measures: str) -> list[str]:
    """The names of the lines that have all of these figures."""
    return [
        name
        for name, line in lines.items()
        if all(line.get(measure) is not None for measure in measures)
    ]


def lost(lines: Lines, name: str) -> float:
    """What a training loses after its best epoch.

    Raises:
        KeyError: there is no such figure.
    """
    found = lines[name][LOST]
    if found is None:
        raise KeyError(LOST)
    return found


def all_overfit(text: str) -> Claim:
    """Every training loses more than a point of robust accuracy after its best epoch."""

    def holds(lines: Lines) -> bool | None:
        names = having(lines, LOST)
        return all(lost(lines, name) > POINT for name in names) if names else None

    return Claim(text=text, holds=holds)
