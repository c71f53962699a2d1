"""What makes fast adversarial training work: a start over the whole ball, or the full step.

R+FGSM starts on a corner of half the radius and steps by the other half, so every coordinate ends
on -eps, 0 or eps. The 2x2 table changes the start and the step one at a time.

Source: Wong 2020, sec 4.1.4, Table 4.3; R+FGSM: Tramer et al. 2017, arXiv:1705.07204.
"""

from collections.abc import Sequence

from holdfast.reproduce.figures import bars
from holdfast.reproduce.page import SPREAD
from holdfast.reproduce.records import Claim, Lines, Reproduction, Size
from holdfast.reproduce.trainings import CLEAN, Measured, TrainedRow

CORNER, CORNER_FULL = "R+FGSM", "R+FGSM, full step"
UNIFORM, UNIFORM_FULL = "R+FGSM, uniform start", "uniform start, full step"
VARIANTS = {
    CORNER: {"start": "corner", "step_size": "0.5*eps"},
    CORNER_FULL: {"start": "corner", "step_size": "eps"},
    UNIFORM: {"start": "ball", "step_size": "0.5*eps"},
    UNIFORM_FULL: {"start": "ball", "step_size": "eps"},
}
_ROBUST = Measured(measure="robust_accuracy", attack="pgd-50-10-0.01", weights="last")
_LAST = Measured(measure=CLEAN.measure, weights="last")


def rows(size: Size) -> Sequence[TrainedRow]:
    """One for each start and step."""
    return [
        TrainedRow(
            name=name,
            recipe=size.recipes[0],
            changes={"objective": {"kind": "fgsm-rs", **options}, **size.changes},
            measured=(_LAST, _ROBUST),
            seeds=size.seeds,
        )
        for name, options in VARIANTS.items()
    ]


def _gain(lines: Lines, better: str, worse: str) -> float:
    one, other = (lines[name]["robust_accuracy"] for name in (better, worse))
    assert one is not None
    assert other is not None
    return one - other


REPRODUCTION = Reproduction(
    id="random-start-mnist",
    title="Fast adversarial training: a start over the whole ball, and a full step",
    thesis="Wong 2020",
    source="Table 4.3 (sec 4.1.4)",
    needs=("MNIST",),
    setting="MNIST, linf 0.3, 10 epochs, the last checkpoint, PGD-50-10, 10 seeds",
    sizes=(
        Size(
            name="quick",
            recipes=("digits-fgsm-rs",),
            changes={"training.epochs": 1, "selection.choose": "last"},
            images=20,
            minutes=0.2,
            note="digits, one epoch",
        ),
        Size(
            name="scaled",
            recipes=("mnist-fgsm-rs",),
            changes={
                "training.epochs": 10,
                "selection.choose": "last",
                "selection.examples": 100,
                "selection.every": 10,
            },
            images=500,
            seeds=2,
            minutes=40,
            note="2 seeds, the first 500 test images; training as published",
        ),
        Size(
            name="published",
            recipes=("mnist-fgsm-rs",),
            changes={"training.epochs": 10, "selection.choose": "last", "selection.every": 10},
            images=10_000,
            seeds=10,
            minutes=400,
        ),
    ),
    rows=rows,
    published={
        CORNER: {"robust_accuracy": 0.3458, "robust_accuracy" + SPREAD: 0.3606},
        CORNER_FULL: {"robust_accuracy": 0.2653, "robust_accuracy" + SPREAD: 0.3248},
        UNIFORM: {"robust_accuracy": 0.7292, "robust_accuracy" + SPREAD: 0.1040},
        UNIFORM_FULL: {"robust_accuracy": 0.8621, "robust_accuracy" + SPREAD: 0.0075},
    },
    claims=(
        Claim(
            text="the uniform start is the larger gain",
            holds=lambda lines: _gain(lines, UNIFORM, CORNER) > _gain(lines, CORNER_FULL, CORNER),
        ),
        Claim(
            text="uniform start and full step together are best",
            holds=lambda lines: all(
                _gain(lines, UNIFORM_FULL, each) >= 0 for each in VARIANTS if each != UNIFORM_FULL
            ),
        ),
        Claim(
            text="its spread over seeds is the smallest",
            holds=lambda lines: all(
                (lines[UNIFORM_FULL]["robust_accuracy" + SPREAD] or 0.0)
                <= (lines[each]["robust_accuracy" + SPREAD] or 0.0)
                for each in VARIANTS
            ),
        ),
    ),
    draw=bars,
    measures=("clean_accuracy", "robust_accuracy", "robust_accuracy" + SPREAD),
    remarks="The start of the published code lies in the ball but not in the box (`ball`).",
)
