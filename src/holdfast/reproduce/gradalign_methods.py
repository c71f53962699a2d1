"""The trainings that the study of gradient alignment compares, as changes of one recipe.

Every method is a line of Tables 2.4 and 2.5; radii are counted in 255ths. Smaller sizes train the
four-filter network, which overfits catastrophically within minutes on a CPU.

Source: Andriushchenko 2024, ch. 2; Andriushchenko and Flammarion 2020, arXiv:2007.02617.
Departures: clean and robust accuracy are measured on the same 1,000 test examples. Free training of
96 and 45 passes with 8 replays is 12 and 6 epochs here.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from holdfast.reproduce.records import Size
from holdfast.reproduce.trainings import CLEAN, Measured, TrainedRow

CIFAR, SVHN, QUICK = "cifar10-grad-align", "svhn-grad-align", "digits-fgsm-rs"
FILTERS = "cifar10-four-filter"

STANDARD, FGSM, FGSM_RS, FREE = "Standard", "FGSM", "FGSM-RS", "AT for Free (m=8)"
ALIGNED, PGD2, PGD2_ALIGNED, PGD10 = "FGSM + GradAlign", "PGD-2", "PGD-2 + GradAlign", "PGD-10"
METHODS = (FGSM, FGSM_RS, ALIGNED, FREE, PGD2, PGD2_ALIGNED, PGD10)

_ATTACKS = {"quick": "pgd-5-1-eps/4", "scaled": "pgd-50-1-eps/4", "published": "pgd-50-10-eps/4"}
_FREE = {CIFAR: (12, 0.04), SVHN: (6, 0.01)}
_SMALL = {
    "data.name": "cifar10-jpeg",
    "data.limit": 20_000,
    "training.epochs": 15,
    "selection.every": 5,
}
_TINY = {
    "training.epochs": 1,
    "data.limit": 200,
    "data.validation": 50,
    "selection.attack": "pgd-2-1",
    "selection.choose": "last",
}


def pgd(steps: int, step_size: str, start: str = "clean") -> dict[str, Any]:
    """The objective of training on PGD of so many steps."""
    attack = {
        "kind": "pgd",
        "steps": steps,
        "restarts": 1,
        "step_size": step_size,
        "start": start,
    }
    return {"kind": "pgd-at", "attack": attack}


def objective(method: str, recipe: str = CIFAR) -> dict[str, Any]:
    """The objective of a method, with the published weights of the recipe's data."""
    data = "svhn" if recipe == SVHN else "cifar10"
    two, ten = pgd(2, "eps/2"), pgd(10, "eps/5")
    found: dict[str, dict[str, Any]] = {
        STANDARD: {"kind": "standard"},
        FGSM: {"kind": "fgsm-rs", "start": "zero"},
        FGSM_RS: {"kind": "fgsm-rs", "start": "uniform"},
        ALIGNED: {"kind": "grad-align", "weight": data},
        FREE: {"kind": "free", "replays": 8},
        PGD2: two,
        PGD2_ALIGNED: {
            "kind": "grad-align",
            "weight": 0.5 if data == "svhn" else 0.1,
            "attack": two["attack"],
        },
        PGD10: ten,
    }
    return found[method]


def measured(size: Size, threat: str | None = None) -> tuple[Measured, ...]:
    """Clean accuracy, and that under the attack of a size."""
    robust = Measured(measure="robust_accuracy", attack=_ATTACKS[size.name], threat=threat)
    return (CLEAN, robust)


def trained_row(
    size: Size,
    name: str,
    radius: float,
    changes: Mapping[str, Any],
    *,
    recipe: str | None = None,
    at: float | None = None,
) -> TrainedRow:
    """One training of a size.

    Args:
        radius: that is trained for, times 255.
        changes: beside those of the size.
        recipe: None takes the size's first.
        at: the radius at which robustness is measured; None: that of training.
    """
    return TrainedRow(
        name=name,
        recipe=recipe or size.recipes[0],
        changes={**size.changes, "threat": f"linf:{radius:g}/255", **changes},
        measured=measured(size, None if at is None else f"linf:{at:g}/255"),
        seeds=size.seeds,
    )


def named(method: str, radius: float, recipe: str = CIFAR) -> str:
    """The line of a method at a radius."""
    return f"{'SVHN ' if recipe == SVHN else ''}{method}, {radius:g}/255"


def method_row(size: Size, method: str, radius: float, recipe: str | None = None) -> TrainedRow:
    """The training of a method at a radius."""
    chosen = recipe or size.recipes[0]
    changes: dict[str, Any] = {"objective": objective(method, chosen)}
    if method == FREE:
        passes = size.changes.get("training.epochs", 0)
        epochs, peak = _FREE.get(chosen, (max(1, 2 * passes // 5), None))
        changes["training.epochs"] = epochs
        changes |= {} if peak is None else {"training.schedule.peak": peak}
    return trained_row(size, named(method, radius, chosen), radius, changes, recipe=chosen)


def sizes(
    *,
    quick: float,
    scaled: float,
    published: float,
    choose: str = "last",
    recipes: Sequence[str] = (CIFAR,),
    seeds: int = 5,
    changes: Mapping[str, Any] | None = None,
    note: str = "",
) -> tuple[Size, Size, Size]:
    """The three sizes of an entry.

    Args:
        quick: minutes; so are `scaled` and `published`.
        choose: `last`, or `best` under PGD on training examples (early stopping).
        recipes: of the published size.
        seeds: of the published size.
        changes: of the recipes at every size but the published one.
        note: how else the smaller sizes differ.
    """
    chosen = {"selection.choose": choose}
    more = dict(changes or {})
    words = "a four-filter network, 20,000 images of CIFAR-10 (JPEG), 15 epochs, one seed, PGD-50-1"
    return (
        Size(
            name="quick",
            recipes=(QUICK,),
            changes=_TINY | more,
            images=20,
            minutes=quick,
            note="digits, one epoch",
        ),
        Size(
            name="scaled",
            recipes=(FILTERS,),
            changes=_SMALL | chosen | more,
            images=500,
            minutes=scaled,
            note=words + (f"; {note}" if note else ""),
        ),
        Size(
            name="published",
            recipes=tuple(recipes),
            changes=chosen,
            images=1000,
            seeds=seeds,
            minutes=published,
        ),
    )
