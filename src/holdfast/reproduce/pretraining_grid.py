"""Robust training on a larger data set, then on the target: which methods in which step.

Five networks trained on CINIC-10, each tuned in six ways on CIFAR-10. Regularization counts more in
the second step; robust optimization twice is less robust than once.

Source: Zhang 2019, sec 5.3, Tables 5.1 to 5.4.
"""

from collections.abc import Sequence

from holdfast.reproduce.computations import ComputedRow
from holdfast.reproduce.figures import tradeoff
from holdfast.reproduce.orderings import above, all_above, largest
from holdfast.reproduce.pretraining_before import untuned
from holdfast.reproduce.records import Reproduction, Size
from holdfast.reproduce.regularisation_methods import (
    MEASURES,
    RO,
    TEST,
    lines_of_tuned,
    pretrained,
    sizes,
    trades,
    tuned,
)
from holdfast.reproduce.trainings import TrainedRow

PRETRAINED = (RO, trades(0.1), trades(0.5), trades(1.0), trades(3.0))
TUNED = (RO, trades(0.1), trades(0.5), trades(1.0), trades(3.0), trades(5.0))
NONE = "none"


def named(before: str, after: str) -> str:
    """The line of a pair of methods."""
    return f"{before} -> {after}"


def rows(size: Size) -> Sequence[TrainedRow | ComputedRow]:
    """The grid; smaller sizes have two methods before, and two after."""
    whole = size.name == "published"
    found: list[TrainedRow | ComputedRow] = []
    for before in PRETRAINED if whole else (RO, trades(3.0)):
        first = pretrained(size, before)
        found += [first, untuned(size, named(before, NONE), first)]
        for after in TUNED if whole else (RO, trades(5.0)):
            found.append(tuned(size, named(before, after), first, after))
    return found


_CELLS = {
    NONE: (
        (0.84608, 0.96880, 0.93424, 0.91184, 0.88956),
        (0.8197, 0.9358, 0.8985, 0.8781, 0.8531),
        (0.58892, 0.01058, 0.37604, 0.48396, 0.54052),
        (0.5379, 0.0091, 0.3589, 0.4452, 0.5069),
    ),
    RO: (
        (0.96854, 0.86100, 0.96568, 0.97116, 0.97842),
        (0.8625, 0.8028, 0.8739, 0.8709, 0.8772),
        (0.79440, 0.53642, 0.72532, 0.76084, 0.80876),
        (0.5220, 0.4504, 0.5005, 0.5040, 0.5143),
    ),
    trades(0.1): (
        (0.99924, 0.98034, 0.98100, 0.96602, 0.99492),
        (0.9080, 0.9321, 0.9240, 0.9085, 0.9145),
        (0.52710, 0.05494, 0.40996, 0.48768, 0.54322),
        (0.4371, 0.0575, 0.3697, 0.4373, 0.4594),
    ),
    trades(0.5): (
        (0.99518, 0.95888, 0.97598, 0.96976, 0.98708),
        (0.8886, 0.8938, 0.9055, 0.9024, 0.8987),
        (0.67516, 0.35652, 0.57730, 0.60744, 0.67128),
        (0.4879, 0.3222, 0.4766, 0.4948, 0.5085),
    ),
    trades(1.0): (
        (0.98430, 0.92098, 0.96518, 0.97248, 0.97948),
        (0.8743, 0.8607, 0.8888, 0.8934, 0.8811),
        (0.70234, 0.44784, 0.62390, 0.66436, 0.70718),
        (0.5105, 0.4018, 0.5067, 0.5195, 0.5240),
    ),
    trades(3.0): (
        (0.95458, 0.85140, 0.93656, 0.94148, 0.95758),
        (0.8547, 0.8036, 0.8624, 0.8617, 0.8645),
        (0.69986, 0.47806, 0.64200, 0.67198, 0.70956),
        (0.5333, 0.4387, 0.5363, 0.5387, 0.5503),
    ),
    trades(5.0): (
        (0.93406, 0.80804, 0.91026, 0.93108, 0.93798),
        (0.8400, 0.7707, 0.8440, 0.8562, 0.8549),
        (0.69838, 0.47052, 0.63400, 0.66428, 0.70014),
        (0.5488, 0.4442, 0.5425, 0.5447, 0.5575),
    ),
}
PUBLISHED = {
    named(before, after): {
        measure: cells[at] for measure, cells in zip(MEASURES, tables, strict=True)
    }
    for after, tables in _CELLS.items()
    for at, before in enumerate(PRETRAINED)
}
BEST = named(trades(3.0), trades(5.0))

REPRODUCTION = Reproduction(
    id="pretraining-grid",
    title="Robust training on a larger data set, then on the target",
    thesis="Zhang 2019",
    source="Tables 5.1 to 5.4 (sec 5.3)",
    needs=("CINIC-10", "CIFAR-10", "a GPU"),
    setting="ResNet-18, CINIC-10 then CIFAR-10, linf 0.03, 100 epochs each, PGD-20, one run",
    sizes=tuple(sizes(quick=0.15, scaled=25, published=5_000_000)),
    rows=rows,
    published=PUBLISHED,
    claims=(
        largest(
            "TRADES in both steps, with the larger weight in the second, is the most robust",
            BEST,
            [named(before, after) for before in (RO, trades(3.0)) for after in (NONE, RO)],
        ),
        above(
            "tuning with robust optimization makes its own network less robust",
            named(RO, NONE),
            named(RO, RO),
        ),
        all_above(
            "tuning with TRADES 5 makes robust networks more robust",
            [(named(each, trades(5.0)), named(each, NONE)) for each in (RO, trades(3.0))],
        ),
        above(
            "regularization counts more in the second step than in the first",
            named(RO, trades(5.0)),
            named(trades(3.0), RO),
        ),
    ),
    draw=tradeoff(
        {
            f"tuned: {after}": [named(each, after) for each in PRETRAINED]
            for after in (NONE, *TUNED)
        },
        TEST,
    ),
    lines=lines_of_tuned,
    measures=MEASURES,
    remarks=(
        "The text has RO -> RO as the most robust in training (79.44 %); TRADES 3.0 -> RO has "
        "80.88 %. It puts the best pair about 3.0 points above the best network without "
        "pretraining, which is 3.08 over TRADES and 1.85 over AR."
    ),
)
