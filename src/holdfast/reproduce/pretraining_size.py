"""How much of the gain of pretraining is lost with a smaller data set.

Source: Zhang 2019, sec 5.6, Table 5.5.
Departures: the sample is drawn by the seed, without replacement.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from holdfast.reproduce.figures import bars
from holdfast.reproduce.orderings import all_above, largest, per_cent
from holdfast.reproduce.records import Reproduction, Size
from holdfast.reproduce.regularisation_methods import (
    MEASURES,
    RO,
    ar,
    lines_of_tuned,
    pretrained,
    sizes,
    trades,
    tuned,
)
from holdfast.reproduce.trainings import TrainedRow

PIPELINES = ((RO, RO), (trades(3.0), trades(5.0)), (ar(1.0), ar(5.0)))
FULL, SAMPLE = "full", "sample"
SIZES = {"quick": 80, "scaled": 5_556, "published": 50_000}
"""Examples of the sample: 5/18 of all, but for the quick size."""


def named(before: str, after: str, data: str) -> str:
    """The line of a pair of methods and an amount of data."""
    return f"{before} -> {after}, {data}"


def rows(size: Size) -> Sequence[TrainedRow]:
    """Every pair of methods, with all of the larger data set and with a sample of it."""
    sample: dict[str, Any] = {"data.sample": {"size": SIZES[size.name]}}
    found = []
    for before, after in PIPELINES:
        for data, changes in ((FULL, {}), (SAMPLE, sample)):
            first = pretrained(size, before, changes)
            first = replace(first, name=f"{before}, {data} (pretraining)")
            found += [first, tuned(size, named(before, after, data), first, after)]
    return found


def _named(at: int, data: str) -> str:
    return named(*PIPELINES[at], data)


_PAIRS = [(_named(at, FULL), _named(at, SAMPLE)) for at in range(len(PIPELINES))]

REPRODUCTION = Reproduction(
    id="pretraining-size",
    title="Robust pretraining on all of CINIC-10 and on a sample",
    thesis="Zhang 2019",
    source="Table 5.5 (sec 5.6)",
    needs=("CINIC-10", "CIFAR-10", "a GPU"),
    setting="ResNet-18, 180,000 or 50,000 images then CIFAR-10, linf 0.03, 100 epochs each, PGD-20",
    sizes=tuple(sizes(quick=0.15, scaled=25, published=2_000_000)),
    rows=rows,
    published=per_cent(
        {
            _named(0, FULL): (96.854, 86.25, 79.440, 52.20),
            _named(0, SAMPLE): (94.214, 83.37, 69.842, 48.94),
            _named(1, FULL): (93.798, 85.49, 70.014, 55.75),
            _named(1, SAMPLE): (90.166, 81.87, 62.686, 52.29),
            _named(2, FULL): (90.228, 83.11, 70.076, 57.34),
            _named(2, SAMPLE): (85.374, 78.57, 61.830, 52.20),
        },
        MEASURES,
    ),
    claims=(
        all_above("all are more robust with the whole data set", _PAIRS),
        all_above("all are more accurate with it", _PAIRS, "clean_accuracy"),
        largest(
            "adversarial regularization in both steps is the most robust",
            _named(2, FULL),
            [name for pair in _PAIRS for name in pair],
        ),
    ),
    draw=bars,
    lines=lines_of_tuned,
    measures=MEASURES,
    remarks=(
        "The number of epochs is held, not that of steps: the sample has 3.6 times fewer steps "
        "(data.sample.match = 'steps' holds these). "
        "The text has robust accuracy fall more than clean accuracy; for TRADES in test it does "
        "not (3.46 and 3.62 points)."
    ),
)
