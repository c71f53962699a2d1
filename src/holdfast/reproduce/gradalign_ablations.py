"""What gradient alignment depends on: its weight, the length of training, very large radii.

Source: Andriushchenko 2024, sec 2.11.4, Figs 2.15 and 2.16, Table 2.7.
"""

from collections.abc import Sequence

from holdfast.reproduce.figures import bars
from holdfast.reproduce.gradalign_methods import ALIGNED, CIFAR, objective, sizes, trained_row
from holdfast.reproduce.orderings import above, figure, largest, per_cent
from holdfast.reproduce.page import SPREAD
from holdfast.reproduce.records import Claim, Lines, Reproduction, Size
from holdfast.reproduce.trainings import TrainedRow

WEIGHTS = (0.03, 0.06, 0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
SAFE = (0.25, 0.5, 1.0, 2.0, 4.0)
EPOCHS = (30, 50, 100, 150, 200)
LARGE = (24, 32)


def weighted(weight: float) -> str:
    """The line of a weight at 16/255."""
    return f"weight {weight:g}, 16/255"


def lasting(epochs: int) -> str:
    """The line of a length of training at 8/255."""
    return f"{epochs} epochs, 8/255"


def large(radius: int) -> str:
    """The line of a very large radius."""
    return f"{radius}/255, weight 2"


def rows(size: Size) -> Sequence[TrainedRow]:
    """Fig 2.15, Fig 2.16 and Table 2.7; smaller sizes have fewer values of each."""
    whole = size.name == "published"
    weights = WEIGHTS if whole else (0.03, 0.5, 2.0)
    found = [
        trained_row(size, weighted(each), 16, {"objective": _aligned(each)}) for each in weights
    ]
    for epochs in EPOCHS if whole else EPOCHS[:2]:
        shown = epochs if whole else size.changes["training.epochs"] * epochs // 30
        changes = {"objective": objective(ALIGNED), "training.epochs": shown}
        found.append(trained_row(size, lasting(epochs), 8, changes))
    rate = {"training.schedule.peak": 0.1} if size.recipes[0] == CIFAR else {}
    for radius in LARGE:
        found.append(trained_row(size, large(radius), radius, {"objective": _aligned(2.0), **rate}))
    return found


def _aligned(weight: float) -> dict[str, object]:
    return {"kind": "grad-align", "weight": weight}


def _safe(lines: Lines) -> bool:
    """At least 26 % for all of the weights that ran."""
    ran = [weighted(each) for each in SAFE if weighted(each) in lines]
    return bool(ran) and all(figure(lines, each) >= 0.26 for each in ran)


REPRODUCTION = Reproduction(
    id="gradalign-ablations",
    title="Gradient alignment: weight, epochs, very large radii",
    thesis="Andriushchenko 2024",
    source="Figs 2.15 and 2.16, Table 2.7 (sec 2.11.4)",
    needs=("CIFAR-10", "a GPU"),
    setting="PreActResNet-18, CIFAR-10, FGSM + GradAlign, last weights, PGD-50-10, 3 seeds",
    sizes=sizes(quick=0.2, scaled=25, published=700_000, seeds=3, note="fewer values"),
    rows=rows,
    published=per_cent(
        {
            weighted(2.0): (58.46, 28.88),
            lasting(30): (81.00, 47.58),
            large(24): ((41.80, 0.36), (17.07, 0.90)),
            large(32): ((23.07, 3.35), (12.93, 1.44)),
        },
        ("clean_accuracy", "robust_accuracy"),
    ),
    claims=(
        Claim(text="at 16/255 weights from 0.25 to 4 give 26 % or more", holds=_safe),
        largest(
            "at 16/255 a weight of 2 is better than a small one", weighted(2.0), [weighted(0.03)]
        ),
        above("longer training is less robust", lasting(30), lasting(50)),
        above("32/255 is harder than 24/255", large(24), large(32)),
    ),
    draw=bars,
    measures=("clean_accuracy", "robust_accuracy", "robust_accuracy" + SPREAD),
    remarks=(
        "Weights and epochs are published as figures; the lines of weight 2 and of 30 epochs are "
        "those of Table 2.4, over 5 seeds. The epochs are 250 at most in the text and 200 "
        "elsewhere. In the published size 24/255 and 32/255 have a rate of 0.1 at most."
    ),
)
