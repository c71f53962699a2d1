"""Fast adversarial training on MNIST is as robust as PGD training.

Source: Wong 2020, sec 4.2.1, Table 4.4; Rice 2023, Table 2.2.
Departures: without the column of exactly verified accuracy.
"""

from collections.abc import Sequence

from holdfast.reproduce.fast_initialisation import LAST
from holdfast.reproduce.figures import bars
from holdfast.reproduce.orderings import figure, per_cent
from holdfast.reproduce.records import Claim, Lines, Reproduction, Size
from holdfast.reproduce.trainings import Measured, TrainedRow

PGD40, FAST = "PGD", "FGSM"
SMALL, LARGE = "small_radius_accuracy", "robust_accuracy"
ATTACKS = {"quick": "pgd-5-1", "scaled": "pgd-50-10-0.01", "published": "pgd-50-10-0.01"}
CLOSE = 0.02


def rows(size: Size) -> Sequence[TrainedRow]:
    """PGD and FGSM training at radius 0.3, measured at 0.1 and 0.3."""
    attack = ATTACKS[size.name]
    measured = (
        Measured(measure="clean_accuracy", weights="last"),
        Measured(measure=SMALL, attack=attack, threat="linf:0.1", weights="last"),
        Measured(measure=LARGE, attack=attack, weights="last"),
    )
    epochs = {"training.epochs": 10} if size.name == "published" else {}
    return [
        TrainedRow(
            name=name,
            recipe=recipe,
            changes={**size.changes, **(epochs if name == FAST else {})},
            measured=measured,
            seeds=size.seeds,
        )
        for name, recipe in zip((PGD40, FAST), size.recipes, strict=True)
    ]


def _close(measure: str, radius: str) -> Claim:
    def holds(lines: Lines) -> bool:
        return figure(lines, FAST, measure) > figure(lines, PGD40, measure) - CLOSE

    text = f"FGSM is within {100 * CLOSE:g} points of PGD training at radius {radius}"
    return Claim(text=text, holds=holds)


REPRODUCTION = Reproduction(
    id="fast-mnist",
    title="Fast adversarial training on MNIST, beside PGD training",
    thesis="Wong 2020",
    source="Table 4.4 (sec 4.2.1)",
    needs=("MNIST",),
    setting="MNIST, linf 0.3, conv 16-32-100, PGD 100 epochs and FGSM 10, the last checkpoint, "
    "PGD-50-10 at 0.1 and 0.3",
    sizes=(
        Size(
            name="quick",
            recipes=("digits-pgd", "digits-fgsm-rs"),
            changes={"training.epochs": 1, "data.limit": 300, **LAST},
            images=20,
            minutes=0.1,
            note="digits, linf 0.15, 300 training images, one epoch",
        ),
        Size(
            name="scaled",
            recipes=("mnist-pgd-short", "mnist-fgsm-rs"),
            changes=LAST,
            images=1000,
            minutes=30,
            note="PGD of 20 steps of 0.03 for 10 epochs, FGSM for 15, 1,000 test images",
        ),
        Size(
            name="published",
            recipes=("mnist-pgd", "mnist-fgsm-rs"),
            changes=LAST,
            images=10_000,
            minutes=700,
        ),
    ),
    rows=rows,
    published=per_cent(
        {PGD40: [99.20, 97.66, 89.90], FAST: [99.20, 97.53, 88.77]},
        ["clean_accuracy", SMALL, LARGE],
    ),
    claims=(_close(SMALL, "0.1"), _close(LARGE, "0.3"), _close("clean_accuracy", "0")),
    draw=bars,
    measures=("clean_accuracy", SMALL, LARGE),
    remarks="The thesis also verifies both networks exactly at radius 0.1: 96.7 % of PGD's, 96.8 "
    "% of FGSM's test images.",
)
