"""The fast adversarial trainings that ATAS is compared with, as changes of its recipes.

Source: Liu 2022, sec 5.2 and Table 5.11.
Departures: smaller sizes train a small network on 10,000 images of CIFAR-10 (JPEG).
"""

from collections.abc import Mapping
from typing import Any

from holdfast.reproduce.records import Size
from holdfast.reproduce.trainings import CLEAN, Measured, TrainedRow

PGD10, FREE, YOPO, FGSM_RS = "PGD10", "FreeAT", "YOPO", "FGSM-RS"
FGSM_GA, ATTA, ATAS = "FGSM-GA", "ATTA", "ATAS"
FAST = (FREE, YOPO, FGSM_RS, FGSM_GA, ATTA, ATAS)
METHODS = (PGD10, *FAST)
CIFAR10, CIFAR100, IMAGENET = "CIFAR-10", "CIFAR-100", "ImageNet"

_RANDOM_STEP = {"kind": "fgsm", "start": "random", "step_size": "1.25*eps"}
_COEFFICIENTS = {CIFAR10: 0.2, CIFAR100: 0.5, IMAGENET: 0.005}
_EPOCHS = {FREE: {CIFAR10: 10, CIFAR100: 10, IMAGENET: 45}}
_EPOCHS[YOPO] = {CIFAR10: 12, CIFAR100: 12, IMAGENET: 36}
_FULL = {CIFAR10: 30, CIFAR100: 30, IMAGENET: 90}
_SMALL: dict[str, Any] = {
    "model": {"name": "mnist_conv"},
    "data.name": "cifar10-jpeg",
    "data.limit": 10_000,
    "training.epochs": 12,
    "training.optimizer": "adam",
    "training.schedule": {"kind": "piecewise", "value": 2e-3, "at": [0.8, 0.93]},
    "training.precision": "float32",
    "training.channels_last": False,
    "selection.every": 12,
}
_TINY: dict[str, Any] = {
    "training.epochs": 1,
    "data.limit": 200,
    "data.validation": 50,
    "selection.attack": "pgd-2-1",
    "selection.choose": "last",
}
NOTE = "a small network, 10,000 images of CIFAR-10 (JPEG), 12 epochs"


def objective(method: str, data: str = CIFAR10) -> dict[str, Any]:
    """The objective of a method."""
    ten = {"kind": "pgd", "steps": 10, "restarts": 1, "step_size": "eps/4"}
    large = data == IMAGENET
    kept = {"stored": "float16", "stored_size": 32 if large else None}
    found: dict[str, dict[str, Any]] = {
        PGD10: {"kind": "pgd-at", "attack": ten},
        FREE: {"kind": "free", "replays": 4 if large else 8},
        YOPO: {"kind": "yopo", "rounds": 5, "inner": 3},
        FGSM_RS: {"kind": "fgsm-rs", "start": "uniform"},
        FGSM_GA: {"kind": "grad-align", "weight": _COEFFICIENTS[data], "attack": _RANDOM_STEP},
        ATTA: {"kind": "atta", **kept},
        ATAS: {"kind": "atas", "offset": 0.1 if large else None, **kept},
    }
    return found[method]


def measured(size: Size) -> tuple[Measured, ...]:
    """Clean accuracy, and that under PGD with steps of 0.2 eps."""
    long = 10 if size.name == "quick" else 50
    return (
        CLEAN,
        Measured(measure="pgd10_accuracy", attack="pgd-10-1-0.2*eps"),
        Measured(measure="pgd50_accuracy", attack=f"pgd-{long}-1-0.2*eps"),
    )


def method_row(
    size: Size,
    name: str,
    method: str,
    data: str = CIFAR10,
    changes: Mapping[str, Any] | None = None,
) -> TrainedRow:
    """The training of a method on a data set, with as many passes as the others.

    Args:
        changes: beside those of size and method.
    """
    found: dict[str, Any] = {**size.changes, "objective": objective(method, data)}
    if method in _EPOCHS:
        whole, epochs = _FULL[data], _EPOCHS[method][data]
        found["training.epochs"] = max(1, found.get("training.epochs", whole) * epochs // whole)
    if data == IMAGENET:
        epochs = found.get("training.epochs", _FULL[data])
        found["training.phases"] = [{"epochs": epochs, "resize": 256, "crop": 224}]
    if data == CIFAR100:
        found["data.name"] = "cifar100"
    recipe = size.recipes[-1] if data == IMAGENET else size.recipes[0]
    return TrainedRow(
        name=name,
        recipe=recipe,
        changes=found | dict(changes or {}),
        measured=measured(size),
        seeds=size.seeds,
    )


def small_sizes(
    *, quick: float, scaled: float, images: int = 200, changes: Mapping[str, Any] | None = None
) -> tuple[Size, Size]:
    """The quick and the scaled size of an entry; their minutes.

    Args:
        images: measured in the scaled size.
        changes: of both.
    """
    more = dict(changes or {})
    return (
        Size(
            name="quick",
            recipes=("digits-pgd",),
            changes=_TINY | more,
            images=10,
            minutes=quick,
            note="digits, one epoch",
        ),
        Size(
            name="scaled",
            recipes=("cifar10-atas",),
            changes=_SMALL | more,
            images=images,
            minutes=scaled,
            note=NOTE,
        ),
    )
