"""A shorter step without randomness is as good as a random start.

FGSM with a step of 7/255, the mean length of a random start's perturbation at 8/255, and FGSM with
a smaller radius in training, against FGSM with a random start.

Source: Andriushchenko 2024, sec 2.4, Table 2.1 and Fig 2.3.
"""

from collections.abc import Sequence

from holdfast.reproduce.figures import bars
from holdfast.reproduce.gradalign_methods import FGSM, FGSM_RS, objective, sizes, trained_row
from holdfast.reproduce.orderings import all_above, per_cent
from holdfast.reproduce.page import SPREAD
from holdfast.reproduce.records import Reproduction, Size
from holdfast.reproduce.trainings import TrainedRow

REDUCED = "FGSM, step 7/255"
SMALLER = (4, 5, 6, 7)


def smaller(radius: int) -> str:
    """The line of FGSM training at a smaller radius."""
    return f"FGSM trained at {radius}/255"


def rows(size: Size) -> Sequence[TrainedRow]:
    """Table 2.1 with early stopping; Fig 2.3 without."""
    reduced = {"kind": "fgsm-rs", "start": "zero", "step_size": "7/255"}
    table = {FGSM: objective(FGSM), REDUCED: reduced, FGSM_RS: objective(FGSM_RS)}
    found = [trained_row(size, name, 8, {"objective": each}) for name, each in table.items()]
    last = {"objective": objective(FGSM), "selection.choose": "last"}
    return found + [trained_row(size, smaller(each), each, last, at=8) for each in SMALLER]


REPRODUCTION = Reproduction(
    id="gradalign-reduced-step",
    title="FGSM with a reduced step against a random start",
    thesis="Andriushchenko 2024",
    source="Table 2.1, Fig 2.3 (sec 2.4)",
    needs=("CIFAR-10", "a GPU"),
    setting="PreActResNet-18, CIFAR-10, linf 8/255, early stopping, PGD-50-10, 5 seeds",
    sizes=sizes(quick=0.2, scaled=15, published=200_000, choose="best"),
    rows=rows,
    published=per_cent(
        {FGSM: ((36.35, 1.74),), REDUCED: ((45.35, 0.48),), FGSM_RS: ((45.60, 0.19),)},
        ("robust_accuracy",),
    ),
    claims=(
        all_above(
            "a reduced step and a random start are both more robust than FGSM",
            [(REDUCED, FGSM), (FGSM_RS, FGSM)],
        ),
    ),
    draw=bars,
    measures=("clean_accuracy", "robust_accuracy", "robust_accuracy" + SPREAD),
    remarks="Trainings at smaller radii are published as a figure, and measured at 8/255.",
)
