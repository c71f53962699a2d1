"""Which trainings survive which radius: seven methods over the radius, on CIFAR-10 and SVHN.

Single-step trainings lose all robustness above some radius (catastrophic overfitting), FGSM first,
then FGSM with a random start; with gradient alignment none does. Stopped early, at the weights most
robust on training examples, none loses all, and several steps are still the more robust.

Source: Andriushchenko 2024, sec 2.4, 2.6 and 2.11.3, Tables 2.4 and 2.5, Figs 2.1, 2.8 and 2.14.
"""

from collections.abc import Sequence
from dataclasses import replace

from holdfast.reproduce.figures import sweep
from holdfast.reproduce.gradalign_methods import (
    ALIGNED,
    CIFAR,
    FGSM,
    FGSM_RS,
    FREE,
    METHODS,
    PGD2,
    PGD2_ALIGNED,
    PGD10,
    STANDARD,
    SVHN,
    method_row,
    named,
    sizes,
)
from holdfast.reproduce.orderings import above, all_above, collapses, largest, per_cent
from holdfast.reproduce.page import SPREAD
from holdfast.reproduce.records import Reproduction, Size
from holdfast.reproduce.trainings import TrainedRow

STOPPED_CLEAN, STOPPED = "stopped_clean_accuracy", "stopped_robust_accuracy"
RADII = {CIFAR: range(1, 17), SVHN: range(1, 13)}


def rows(size: Size) -> Sequence[TrainedRow]:
    """Every method at every radius; smaller sizes have two radii of CIFAR-10."""
    if size.name != "published":
        found = [method_row(size, method, radius) for radius in (8, 16) for method in METHODS]
        return [_at_both_ends(row) for row in found]
    found = [method_row(size, STANDARD, 8, recipe) for recipe in size.recipes]
    for recipe in size.recipes:
        for radius in RADII[recipe]:
            found += [method_row(size, method, radius, recipe) for method in METHODS]
    return [_at_both_ends(row) for row in found]


def _at_both_ends(row: TrainedRow) -> TrainedRow:
    """The training measured at its last weights, and at those that early stopping chooses."""
    last = [replace(each, weights="last") for each in row.measured]
    stopped = [replace(each, measure=f"stopped_{each.measure}") for each in row.measured]
    changes = {**row.changes, "selection.choose": "best"}
    return replace(row, changes=changes, measured=(*last, *stopped))


_MEASURES = ("clean_accuracy", "robust_accuracy")
PUBLISHED = per_cent(
    {
        named(STANDARD, 8): (94.03, 0.00),
        named(FGSM, 8): ((85.16, 1.3), (0.02, 0.04)),
        named(FGSM_RS, 8): ((84.32, 0.08), (45.10, 0.56)),
        named(ALIGNED, 8): ((81.00, 0.37), (47.58, 0.24)),
        named(FREE, 8): ((77.92, 0.65), (45.90, 0.98)),
        named(PGD2, 8): ((82.15, 0.48), (48.43, 0.40)),
        named(PGD2_ALIGNED, 8): ((81.16, 0.39), (47.76, 0.77)),
        named(PGD10, 8): ((81.88, 0.37), (50.04, 0.79)),
        named(FGSM, 16): ((73.76, 7.4), (0.00, 0.00)),
        named(FGSM_RS, 16): ((72.18, 3.7), (0.00, 0.00)),
        named(ALIGNED, 16): ((58.46, 0.22), (28.88, 0.70)),
        named(FREE, 16): ((48.10, 9.83), (0.00, 0.00)),
        named(PGD2, 16): ((68.65, 5.83), (9.92, 14.00)),
        named(PGD2_ALIGNED, 16): ((61.38, 0.71), (29.80, 0.42)),
        named(PGD10, 16): ((60.28, 0.50), (33.24, 0.52)),
        named(STANDARD, 8, SVHN): (96.00, 1.00),
        named(FGSM, 8, SVHN): ((91.40, 1.64), (0.04, 0.05)),
        named(FGSM_RS, 8, SVHN): ((95.38, 0.27), (0.00, 0.00)),
        named(ALIGNED, 8, SVHN): ((92.36, 0.47), (42.08, 0.25)),
        named(FREE, 8, SVHN): ((75.34, 28.4), (43.16, 12.3)),
        named(PGD2, 8, SVHN): ((92.68, 0.45), (47.28, 0.26)),
        named(PGD2_ALIGNED, 8, SVHN): ((92.46, 0.35), (47.02, 0.83)),
        named(PGD10, 8, SVHN): ((91.92, 0.40), (52.08, 0.49)),
        named(FGSM, 12, SVHN): ((88.74, 1.25), (0.00, 0.00)),
        named(FGSM_RS, 12, SVHN): ((94.70, 0.66), (0.00, 0.00)),
        named(ALIGNED, 12, SVHN): ((88.54, 0.21), (24.04, 0.31)),
        named(FREE, 12, SVHN): ((18.50, 0.00), (18.50, 0.00)),
        named(PGD2, 12, SVHN): ((92.74, 2.26), (14.30, 13.34)),
        named(PGD2_ALIGNED, 12, SVHN): ((87.14, 0.26), (31.26, 0.24)),
        named(PGD10, 12, SVHN): ((84.52, 0.63), (38.32, 0.38)),
        "CURE, 8/255 (quoted)": (81.20, 36.30),
        "YOPO-3-5, 8/255 (quoted)": (82.14, 38.18),
        "YOPO-5-3, 8/255 (quoted)": (83.99, 44.72),
        "LLR-2, 8/255 (quoted)": (90.46, 44.50),
    },
    _MEASURES,
)
PUBLISHED[named(FGSM_RS, 16)][STOPPED] = 0.2224
PUBLISHED[named(PGD10, 16)][STOPPED] = 0.3065

REPRODUCTION = Reproduction(
    id="gradalign-radii",
    title="Catastrophic overfitting: seven trainings over the radius",
    thesis="Andriushchenko 2024",
    source="Tables 2.4 and 2.5, Figs 2.1, 2.8 and 2.14 (sec 2.4, 2.6, 2.11.3)",
    needs=("CIFAR-10", "SVHN", "a GPU"),
    setting="PreActResNet-18, last weights, PGD-50-10 on 1,000 test images, 5 seeds",
    sizes=sizes(quick=0.3, scaled=45, published=1_000_000, recipes=(CIFAR, SVHN)),
    rows=rows,
    published=PUBLISHED,
    claims=(
        collapses(
            "at 8/255 FGSM loses all robustness, and with a random start it does not",
            lost=[named(FGSM, 8)],
            kept=[named(FGSM_RS, 8)],
        ),
        collapses(
            "at 16/255 FGSM, with a random start too, and free training lose it; with gradient "
            "alignment neither FGSM nor PGD-2 does",
            lost=[named(each, 16) for each in (FGSM, FGSM_RS, FREE)],
            kept=[named(each, 16) for each in (ALIGNED, PGD2_ALIGNED, PGD10)],
        ),
        largest(
            "PGD-10 is the most robust at 8/255", named(PGD10, 8), [named(m, 8) for m in METHODS]
        ),
        largest(
            "PGD-10 is the most robust at 16/255",
            named(PGD10, 16),
            [named(m, 16) for m in METHODS],
        ),
        above(
            "at 8/255 alignment adds nothing to PGD-2, which does not collapse there",
            named(PGD2, 8),
            named(PGD2_ALIGNED, 8),
        ),
        all_above(
            "at 16/255 alignment makes FGSM and PGD-2 more robust",
            [(named(ALIGNED, 16), named(FGSM, 16)), (named(PGD2_ALIGNED, 16), named(PGD2, 16))],
        ),
        collapses(
            "on SVHN FGSM with a random start is lost at 8/255, with alignment it is not",
            lost=[named(FGSM_RS, 8, SVHN)],
            kept=[named(ALIGNED, 8, SVHN)],
        ),
        above(
            "stopped early at 16/255, PGD-10 is more robust than FGSM with a random start",
            named(PGD10, 16),
            named(FGSM_RS, 16),
            STOPPED,
        ),
    ),
    draw=sweep(
        {m: {radius: named(m, radius) for radius in RADII[CIFAR]} for m in METHODS},
        "radius (255ths)",
        measures=(*_MEASURES, STOPPED),
    ),
    measures=(*_MEASURES, "robust_accuracy" + SPREAD, STOPPED_CLEAN, STOPPED),
    remarks=(
        "Lines marked as quoted are figures of other papers, under PGD-20-1 (LLR-2: WRN-28-8, "
        "MultiTargeted). 18.50 % on SVHN is the constant classifier. The published clean accuracy "
        "is that of all test images, ours that of the 1,000 that are attacked."
    ),
)
