"""Where fast adversarial training starts: zero, the batch before, anywhere in the ball.

Any start but zero works; a full step from anywhere in the ball is best; twice the radius puts every
coordinate on the boundary and collapses. Free and PGD training stand beside it, all with a cyclic
learning rate.

Source: Wong 2020, sec 4.1.1, Table 4.1; Rice 2023, Table 2.1; Wong, Rice and Kolter 2020,
    arXiv:2001.03994.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from holdfast.reproduce.figures import bars
from holdfast.reproduce.orderings import all_above, collapses, per_cent, rising
from holdfast.reproduce.records import Reproduction, Size
from holdfast.reproduce.trainings import Measured, TrainedRow

ZERO, ZERO_STOPPED = "FGSM, zero start", "FGSM, zero start, early stopping"
PREVIOUS, RANDOM = "FGSM, previous start", "FGSM, random start, step eps"
FULL = "FGSM, random start, step 1.25 eps"
DOUBLE, DOUBLE_STOPPED = (
    "FGSM, random start, step 2 eps",
    "FGSM, random start, step 2 eps, early stopping",
)
FREE, PGD7 = "Free, 8 replays", "PGD-7"
FREE_REPORTED, PGD7_REPORTED = "Free, as its authors report", "PGD-7, as its authors report"
STOP = {
    "kind": "catastrophic",
    "attack": {"kind": "pgd", "steps": 5, "restarts": 1, "step_size": "eps/4"},
    "floor": 0.0,
}
"""The published early stop: a fall of PGD-5 accuracy on a training batch by more than 0.2."""
LAST = {"selection.choose": "last", "data.validation": 0}
"""All training images, and the weights of the last epoch."""
ATTACKS = {"quick": "pgd-5-1", "scaled": "pgd-50-1-0.01", "published": "pgd-50-10-2/255"}


def fgsm(size: Size, start: str, step: str) -> dict[str, Any]:
    """The objective of a start; a random one is drawn outside the box too but on CIFAR-10."""
    drawn = "uniform" if size.recipes[0].startswith("cifar10") else "ball"
    return {
        "kind": "fgsm-rs",
        "start": drawn if start == "random" else start,
        "step_size": step,
        "attack_mode": "train",
    }


def measured(size: Size) -> tuple[Measured, ...]:
    """Clean and robust accuracy of the last weights, or of those an early stop brought back."""
    return (
        Measured(measure="clean_accuracy", weights="last"),
        Measured(measure="robust_accuracy", attack=ATTACKS[size.name], weights="last"),
    )


def rows(size: Size) -> Sequence[TrainedRow]:
    """Seven of FGSM, one of Free and one of PGD."""
    fast, free, pgd = size.recipes
    stopped = {"training.monitors": [STOP]}
    slow = {"training.schedule": {"kind": "cyclic", "peak": 1e-3, "at": 0.4}}
    inner = {"kind": "pgd", "steps": 7, "restarts": 1, "step_size": "eps/4"}
    several = {"kind": "pgd-at", "attack": inner, "attack_mode": "train"}
    found: list[tuple[str, str, Mapping[str, Any], Mapping[str, Any]]] = [
        (ZERO, fast, fgsm(size, "zero", "eps"), {}),
        (ZERO_STOPPED, fast, fgsm(size, "zero", "eps"), stopped),
        (PREVIOUS, fast, fgsm(size, "previous", "eps"), {}),
        (RANDOM, fast, fgsm(size, "random", "eps"), {}),
        (FULL, fast, fgsm(size, "random", "1.25*eps"), {}),
        (DOUBLE, fast, fgsm(size, "random", "2*eps"), {}),
        (DOUBLE_STOPPED, fast, fgsm(size, "random", "2*eps"), stopped),
        (FREE, free, {"kind": "free", "replays": 8}, {} if size.name == "published" else slow),
        (PGD7, pgd, several, {}),
    ]
    return [
        TrainedRow(
            name=name,
            recipe=recipe,
            changes={"objective": objective, **size.changes, **more},
            measured=measured(size),
            seeds=size.seeds,
        )
        for name, recipe, objective, more in found
    ]


REPRODUCTION = Reproduction(
    id="fast-initialisation",
    title="Fast adversarial training: the start of the one step",
    thesis="Wong 2020",
    source="Table 4.1 (sec 4.1.1)",
    needs=("CIFAR-10",),
    setting="CIFAR-10, linf 8/255, PreActResNet-18, FGSM 30, PGD 40 and Free 12 epochs of 8 "
    "replays, the last checkpoint, PGD-50-10, 3 seeds",
    sizes=(
        Size(
            name="quick",
            recipes=("digits-fgsm-rs",) * 3,
            changes={"training.epochs": 1, "data.limit": 300, **LAST},
            images=20,
            minutes=0.2,
            note="digits, linf 0.15, 300 training images, one epoch",
        ),
        Size(
            name="scaled",
            recipes=("mnist-fgsm-rs",) * 3,
            changes={
                "training.epochs": 4,
                "data.limit": 20_000,
                **LAST,
            },
            images=200,
            minutes=25,
            note="MNIST, linf 0.3, 20,000 training images, 4 epochs of each method, starts drawn "
            "without the box, 200 test images, PGD-50 with one start",
        ),
        Size(
            name="published",
            recipes=("cifar10-fgsm-rs", "cifar10-free", "cifar10-pgd-fast"),
            changes=LAST,
            images=10_000,
            seeds=3,
            minutes=100_000,
        ),
    ),
    rows=rows,
    published=per_cent(
        {
            ZERO: [85.18, 0.00],
            ZERO_STOPPED: [71.14, 38.86],
            PREVIOUS: [86.02, 42.37],
            RANDOM: [85.32, 44.01],
            FULL: [83.81, 46.06],
            DOUBLE: [86.05, 0.00],
            DOUBLE_STOPPED: [70.93, 40.38],
            FREE_REPORTED: [85.96, 46.33],
            FREE: [78.38, 46.18],
            PGD7_REPORTED: [87.30, 45.80],
            PGD7: [82.46, 50.69],
        },
        ["clean_accuracy", "robust_accuracy"],
    ),
    claims=(
        collapses(
            "a zero start and a step of twice the radius collapse, the other starts do not",
            lost=(ZERO, DOUBLE),
            kept=(PREVIOUS, RANDOM, FULL, FREE, PGD7),
        ),
        all_above("early stopping recovers both", ((ZERO_STOPPED, ZERO), (DOUBLE_STOPPED, DOUBLE))),
        all_above(
            "it does not reach the random start with a step of 1.25 eps",
            ((FULL, ZERO_STOPPED), (FULL, DOUBLE_STOPPED)),
        ),
        rising(
            "PGD-7 is above Free, and that above a step of 1.25 eps, a step of eps, the previous "
            "start and the zero start",
            (ZERO, PREVIOUS, RANDOM, FULL, FREE, PGD7),
        ),
    ),
    draw=bars,
    measures=("clean_accuracy", "robust_accuracy"),
    remarks="The rows as reported by the authors of Free and of PGD are of other networks and "
    "under weaker attacks (20 steps; 10 starts for Free, none for PGD).",
)
