"""Other penalties that keep the loss linear beside gradient alignment: l2 of gradients, and CURE.

Source: Andriushchenko 2024, sec 2.11.5, Table 2.8.
"""

from collections.abc import Sequence

from holdfast.reproduce.figures import bars
from holdfast.reproduce.gradalign_methods import ALIGNED, named, objective, sizes, trained_row
from holdfast.reproduce.orderings import per_cent, rising
from holdfast.reproduce.page import SPREAD
from holdfast.reproduce.records import Reproduction, Size
from holdfast.reproduce.trainings import TrainedRow

PENALTY, CURE = "FGSM + l2 gradient penalty", "FGSM + CURE"
OBJECTIVES = {
    PENALTY: {"kind": "gradient-penalty", "weight": "cifar10"},
    CURE: {"kind": "cure", "weight": "cifar10"},
    ALIGNED: objective(ALIGNED),
}
_MEASURES = ("clean_accuracy", "robust_accuracy")


def rows(size: Size) -> Sequence[TrainedRow]:
    """Three penalties at two radii."""
    return [
        trained_row(size, named(name, radius), radius, {"objective": each})
        for radius in (8, 16)
        for name, each in OBJECTIVES.items()
    ]


def _order(radius: int) -> list[str]:
    return [named(each, radius) for each in OBJECTIVES]


REPRODUCTION = Reproduction(
    id="gradalign-penalties",
    title="Gradient alignment against other penalties on input gradients",
    thesis="Andriushchenko 2024",
    source="Table 2.8 (sec 2.11.5)",
    needs=("CIFAR-10", "a GPU"),
    setting="PreActResNet-18, CIFAR-10, FGSM training, last weights, PGD-50-10, 5 seeds",
    sizes=sizes(quick=0.2, scaled=20, published=400_000),
    rows=rows,
    published=per_cent(
        {
            named(PENALTY, 8): ((77.47, 0.14), (46.69, 1.27)),
            named(CURE, 8): ((80.20, 0.29), (47.25, 0.21)),
            named(ALIGNED, 8): ((81.00, 0.37), (47.58, 0.24)),
            named(PENALTY, 16): ((56.44, 2.22), (13.64, 11.2)),
            named(CURE, 16): ((62.39, 0.42), (25.38, 0.29)),
            named(ALIGNED, 16): ((58.46, 0.22), (28.88, 0.70)),
        },
        _MEASURES,
    ),
    claims=(
        rising("robustness at 8/255: l2 penalty, CURE, alignment", _order(8)),
        rising("robustness at 16/255: l2 penalty, CURE, alignment", _order(16)),
        rising("clean accuracy at 8/255 in the same order", _order(8), "clean_accuracy"),
    ),
    draw=bars,
    measures=(*_MEASURES, "robust_accuracy" + SPREAD),
    remarks="Weights: 1000 and 700 at 8/255, 2000 and 20,000 at 16/255, of gradients per example.",
)
