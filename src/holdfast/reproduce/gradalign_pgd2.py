"""Two-step PGD training: a random start asks for a larger step, and gains nothing.

Source: Andriushchenko 2024, sec 2.11.1, Table 2.3.
"""

from collections.abc import Sequence

from holdfast.reproduce.figures import bars
from holdfast.reproduce.gradalign_methods import pgd, sizes, trained_row
from holdfast.reproduce.orderings import per_cent, rising
from holdfast.reproduce.page import SPREAD
from holdfast.reproduce.records import Reproduction, Size
from holdfast.reproduce.trainings import TrainedRow

RANDOM_HALF, RANDOM_FULL, HALF = "PGD-2-RS, step eps/2", "PGD-2-RS, step eps", "PGD-2, step eps/2"
OBJECTIVES = {
    RANDOM_HALF: pgd(2, "eps/2", "random"),
    RANDOM_FULL: pgd(2, "eps", "random"),
    HALF: pgd(2, "eps/2"),
}


def rows(size: Size) -> Sequence[TrainedRow]:
    """Three schemes at 8/255."""
    return [trained_row(size, name, 8, {"objective": each}) for name, each in OBJECTIVES.items()]


REPRODUCTION = Reproduction(
    id="gradalign-pgd2",
    title="Two-step PGD training: start and step",
    thesis="Andriushchenko 2024",
    source="Table 2.3 (sec 2.11.1)",
    needs=("CIFAR-10", "a GPU"),
    setting="PreActResNet-18, CIFAR-10, linf 8/255, last weights, PGD-50-10, 5 seeds",
    sizes=sizes(quick=0.1, scaled=8, published=150_000),
    rows=rows,
    published=per_cent(
        {RANDOM_HALF: ((45.06, 0.44),), RANDOM_FULL: ((48.07, 0.52),), HALF: ((48.43, 0.40),)},
        ("robust_accuracy",),
    ),
    claims=(
        rising(
            "with a random start the full step is better, without one half the step is enough",
            [RANDOM_HALF, RANDOM_FULL, HALF],
        ),
    ),
    draw=bars,
    measures=("clean_accuracy", "robust_accuracy", "robust_accuracy" + SPREAD),
)
