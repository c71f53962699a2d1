"""Catastrophic overfitting as it happens: FGSM training from a zero start, epoch by epoch.

Within an epoch or two the error under PGD jumps to 100 % on the training data, while loss and error
under FGSM go on falling. Beside it the random start that does not collapse.

Source: Wong 2020, sec 4.1.2, Fig 4.2; Rice 2023, Fig 2.3; the figures at the end: Table 4.1.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from holdfast.measures.queries import Queries
from holdfast.reproduce.fast_initialisation import LAST, STOP, fgsm, measured
from holdfast.reproduce.figures import over_epochs
from holdfast.reproduce.orderings import collapses, figure
from holdfast.reproduce.records import Claim, Lines, Reproduction, Size, line_per_row
from holdfast.reproduce.trainings import HISTORY, TrainedRow

ZERO, RANDOM = "zero start", "random start, step 1.25 eps"
ONCE, SEVERAL = "catastrophic.fgsm_accuracy", "catastrophic.pgd_accuracy"
LEAST, END, BEFORE, AFTER = (
    "least_pgd_error_rate",
    "last_pgd_error_rate",
    "fgsm_error_then_rate",
    "last_fgsm_error_rate",
)


def rows(size: Size) -> Sequence[TrainedRow]:
    """The start that collapses and one that does not, both watched to the end."""
    watched = {"training.monitors": [STOP | {"action": "none"}]}
    objectives = {ZERO: fgsm(size, "zero", "eps"), RANDOM: fgsm(size, "random", "1.25*eps")}
    return [
        TrainedRow(
            name=name,
            recipe=size.recipes[0],
            changes={"objective": objective, **size.changes, **watched},
            measured=measured(size),
            seeds=size.seeds,
        )
        for name, objective in objectives.items()
    ]


def lines(
    outcomes: Mapping[str, Queries], columns: Mapping[str, Mapping[str, Tensor]]
) -> dict[str, dict[str, float | None]]:
    """Accuracies at the end, and errors on the training batch: the least under PGD, with that under
    FGSM at the same epoch, and both at the end."""
    found = line_per_row(outcomes, columns)
    for name, each in columns.items():
        if HISTORY + SEVERAL in each:
            found[name] |= _errors(each[HISTORY + ONCE], each[HISTORY + SEVERAL])
    return found


def _errors(once: Tensor, several: Tensor) -> dict[str, float | None]:
    """From accuracies (seeds, epochs) under FGSM and under PGD; means over seeds."""
    best = several.argmax(dim=1, keepdim=True)
    accuracies: dict[str, Any] = {
        LEAST: several.gather(1, best),
        END: several[:, -1],
        BEFORE: once.gather(1, best),
        AFTER: once[:, -1],
    }
    return {name: 1 - float(each.mean()) for name, each in accuracies.items()}


def _jumps(lines: Lines) -> bool:
    return figure(lines, ZERO, END) > 0.95 > figure(lines, ZERO, LEAST)


def _hidden(lines: Lines) -> bool:
    return figure(lines, ZERO, AFTER) < figure(lines, ZERO, BEFORE)


REPRODUCTION = Reproduction(
    id="fast-collapse-curve",
    title="Catastrophic overfitting of FGSM training, epoch by epoch",
    thesis="Wong 2020",
    source="Fig 4.2 (sec 4.1.2)",
    needs=("CIFAR-10",),
    setting="CIFAR-10, linf 8/255, PreActResNet-18, FGSM from a zero start, 30 epochs; PGD-5 on a "
    "training batch after every epoch",
    sizes=(
        Size(
            name="quick",
            recipes=("digits-fgsm-rs",),
            changes={"training.epochs": 2, "data.limit": 300, **LAST},
            images=20,
            minutes=0.1,
            note="digits, linf 0.15, 300 training images, two epochs",
        ),
        Size(
            name="scaled",
            recipes=("cifar10-four-filter",),
            changes={
                "threat": "linf:13/255",
                "training.epochs": 15,
                "data.name": "cifar10-jpeg",
                "data.limit": 20_000,
                **LAST,
            },
            images=500,
            minutes=8,
            note="a four-filter network, 20,000 images of CIFAR-10 (JPEG), linf 13/255, 15 epochs",
        ),
        Size(
            name="published",
            recipes=("cifar10-fgsm-rs",),
            changes=LAST,
            images=10_000,
            minutes=6_000,
        ),
    ),
    rows=rows,
    published={
        ZERO: {"clean_accuracy": 0.8518, "robust_accuracy": 0.0, END: 1.0},
        RANDOM: {"clean_accuracy": 0.8381, "robust_accuracy": 0.4606},
    },
    claims=(
        collapses("the zero start collapses, the random one does not", (ZERO,), (RANDOM,)),
        Claim(text="its error under PGD jumps to 100 % on a training batch", holds=_jumps),
        Claim(text="its error under FGSM is smaller after that than before", holds=_hidden),
    ),
    draw=over_epochs(("loss", ONCE, SEVERAL)),
    measures=("clean_accuracy", "robust_accuracy", LEAST, END, BEFORE, AFTER),
    lines=lines,
    remarks="The published figure is a picture: the figures at the end are those of Table 4.1, "
    "means of 3 seeds.",
)
