"""What the adaptive step of ATAS depends on, and how unequal the examples' gradients are.

One setting is changed at a time. By the way the ratio of the bounds of adaptive and constant steps
is recorded, which is below 1 where gradients are unequal enough.

Source: Liu 2022, sec 5.2.3, Eq 5.27, and the settings of sec 5.2.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from holdfast.measures.queries import Queries
from holdfast.reproduce.atas_methods import ATAS, method_row, small_sizes
from holdfast.reproduce.figures import bars
from holdfast.reproduce.orderings import figure
from holdfast.reproduce.records import Claim, Lines, Reproduction, Size
from holdfast.reproduce.trainings import HISTORY, TrainedRow, line_of

RATIO, BOUND = "bound_ratio", 0.5**-0.25
PLAIN, SUM = "as published", "gradients of single examples"
VARIANTS: dict[str, dict[str, Any]] = {
    PLAIN: {},
    "C = 0.001": {"offset": 0.001},
    "C = 0.1": {"offset": 0.1},
    "beta = 0": {"beta": 0.0},
    "beta = 0.9": {"beta": 0.9},
    "alpha / C = 8/255": {"step_size": "8/255"},
    "alpha / C = 32/255": {"step_size": "32/255"},
    "steps in 4/255 to 14/255": {"clamp": [4 / 255, 14 / 255]},
    "no new starts": {"reset": None},
    "no warm-up": {"warmup": 0},
    SUM: {"reduction": "sum"},
}


def rows(size: Size) -> Sequence[TrainedRow]:
    """One for each variant."""
    return [
        method_row(
            size,
            name,
            ATAS,
            changes={
                "objective": {"kind": "atas", **changes},
                "training.monitors": [{"kind": "gradient-norms"}],
            },
        )
        for name, changes in VARIANTS.items()
    ]


def with_ratio(
    outcomes: Mapping[str, Queries], columns: Mapping[str, Mapping[str, Tensor]]
) -> Lines:
    """The figures of each training, with the last ratio of the bounds."""
    key = HISTORY + "gradient-norms.ratio"
    return {
        name: line_of(each) | {RATIO: float(each[key][:, -1].double().mean())}
        for name, each in columns.items()
    }


def _same(lines: Lines) -> bool:
    """With C scaled by the batch both reductions are the same training."""
    one, other = (figure(lines, each, "pgd50_accuracy") for each in (PLAIN, SUM))
    return abs(one - other) < 0.02


def _bounded(lines: Lines) -> bool:
    return all(0 < figure(lines, name, RATIO) <= BOUND + 1e-6 for name in lines)


REPRODUCTION = Reproduction(
    id="atas-ablations",
    title="The adaptive step: offset, momentum, step, bounds, restarts",
    thesis="Liu 2022",
    source="sec 5.2, Eq 5.27",
    needs=("CIFAR-10", "a GPU"),
    setting="PreActResNet-18, CIFAR-10, linf 8/255, 30 epochs",
    sizes=(
        *small_sizes(quick=0.3, scaled=25),
        Size(name="published", recipes=("cifar10-atas",), images=10_000, minutes=400_000),
    ),
    rows=rows,
    published={},
    claims=(
        Claim(text="the scale of gradients does not matter with C scaled likewise", holds=_same),
        Claim(text="the ratio of the bounds is at most (1 - beta)^(-1/4)", holds=_bounded),
    ),
    draw=bars,
    lines=with_ratio,
    measures=("clean_accuracy", "pgd10_accuracy", "pgd50_accuracy", RATIO),
    tolerance={},
    remarks=(
        "No ablation is published; the claims are those of the method. The exponent of Eq 5.27 is "
        "printed as +1/4. A ratio below 1 asks for gradient norms with a coefficient of variation "
        "above 0.64."
    ),
)
