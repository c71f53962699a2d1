"""Single-step training on ImageNet over the radius: where it collapses, the random start is
to blame, and alignment gains nothing where nothing collapses.

Source: Andriushchenko 2024, sec 2.6 and 2.11.3, Table 2.6.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from holdfast.reproduce.figures import bars
from holdfast.reproduce.gradalign_methods import (
    ALIGNED,
    FGSM,
    FGSM_RS,
    named,
    objective,
    sizes,
    trained_row,
)
from holdfast.reproduce.orderings import all_above, collapses, per_cent
from holdfast.reproduce.records import Reproduction, Size
from holdfast.reproduce.trainings import TrainedRow

RADII = (2, 4, 6)
WEIGHTS = {2: 0.01, 4: 0.01, 6: 0.1}


def rows(size: Size) -> Sequence[TrainedRow]:
    """Three methods at three radii."""
    return [
        trained_row(size, named(method, radius), radius, {"objective": _objective(method, radius)})
        for radius in RADII
        for method in (FGSM, FGSM_RS, ALIGNED)
    ]


def _objective(method: str, radius: int) -> Mapping[str, Any]:
    found = objective(method)
    return found | {"weight": WEIGHTS[radius]} if method == ALIGNED else found


_QUICK, _SCALED, _ = sizes(quick=0.25, scaled=15, published=1, note="32x32 images in one phase")

REPRODUCTION = Reproduction(
    id="gradalign-imagenet",
    title="Single-step training on ImageNet over the radius",
    thesis="Andriushchenko 2024",
    source="Table 2.6 (sec 2.6, 2.11.3)",
    needs=("ImageNet", "several GPUs"),
    setting="ResNet-50, ImageNet, 15 epochs in three phases, last weights, PGD-50-10, one run",
    sizes=(
        _QUICK,
        _SCALED,
        Size(
            name="published",
            recipes=("imagenet-grad-align",),
            images=50_000,
            minutes=5_000_000,
        ),
    ),
    rows=rows,
    published=per_cent(
        {
            named(FGSM, 2): (61.7, 42.1),
            named(FGSM_RS, 2): (59.3, 41.1),
            named(ALIGNED, 2): (61.8, 41.4),
            named(FGSM, 4): (56.9, 30.6),
            named(FGSM_RS, 4): (55.3, 27.8),
            named(ALIGNED, 4): (57.8, 30.5),
            named(FGSM, 6): (51.5, 20.6),
            named(FGSM_RS, 6): (36.6, 0.1),
            named(ALIGNED, 6): (51.5, 20.3),
        },
        ("clean_accuracy", "robust_accuracy"),
    ),
    claims=(
        collapses(
            "at 6/255 training from a random start loses all robustness, FGSM does not",
            lost=[named(FGSM_RS, 6)],
            kept=[named(FGSM, 6), named(ALIGNED, 6)],
        ),
        all_above(
            "alignment gains nothing over FGSM, which does not collapse",
            [(named(FGSM, radius), named(ALIGNED, radius)) for radius in RADII],
        ),
    ),
    draw=bars,
    measures=("clean_accuracy", "robust_accuracy"),
    remarks="FGSM and a random start have the batches of alignment here: 512, 180 and 100.",
)
