"""Randomness is not what helps: PGD training at the corners of the ball.

PGD-10 whose result is pushed to a corner is as robust as PGD-10, so that perturbations inside the
ball are not needed; FGSM, whose perturbations are corners too, loses everything.

Source: Andriushchenko 2024, sec 2.4.
"""

from collections.abc import Sequence

from holdfast.reproduce.figures import bars
from holdfast.reproduce.gradalign_methods import FGSM, PGD10, objective, sizes, trained_row
from holdfast.reproduce.orderings import all_above, collapses, per_cent
from holdfast.reproduce.page import SPREAD
from holdfast.reproduce.records import Reproduction, Size
from holdfast.reproduce.trainings import TrainedRow

CORNERS = "PGD-10 at corners"


def rows(size: Size) -> Sequence[TrainedRow]:
    """FGSM, PGD-10, and PGD-10 at corners."""
    found = {FGSM: objective(FGSM), PGD10: objective(PGD10), CORNERS: {"kind": "corner-pgd"}}
    return [trained_row(size, name, 8, {"objective": each}) for name, each in found.items()]


REPRODUCTION = Reproduction(
    id="gradalign-corners",
    title="PGD training at the corners of the ball",
    thesis="Andriushchenko 2024",
    source="sec 2.4",
    needs=("CIFAR-10", "a GPU"),
    setting="PreActResNet-18, CIFAR-10, linf 8/255, last weights, PGD-50-10, 5 seeds",
    sizes=sizes(quick=0.1, scaled=12, published=200_000),
    rows=rows,
    published=per_cent(
        {FGSM: ((0.00, 0.00),), PGD10: ((50.48, 0.20),), CORNERS: ((50.64, 0.23),)},
        ("robust_accuracy",),
    ),
    claims=(
        all_above(
            "both PGD trainings are robust where FGSM is not", [(PGD10, FGSM), (CORNERS, FGSM)]
        ),
        collapses("FGSM loses all robustness, at corners PGD does not", [FGSM], [CORNERS]),
    ),
    draw=bars,
    measures=("clean_accuracy", "robust_accuracy", "robust_accuracy" + SPREAD),
)
