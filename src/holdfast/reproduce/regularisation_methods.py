"""Robust optimization, TRADES and adversarial regularization as changes of recipes, and the sizes
at which they are trained, alone or one after another on two data sets.

Source: Zhang 2019, sec 3.2, 4.1 and 5.2.
Departures: evaluation has PGD-20 with steps of 0.003 from a random start, the thesis from the clean
input. Smaller sizes train a small network on CIFAR-10 (JPEG); the larger data set that is trained
on first is there the first 20,000 images, the other the first 5,000 of them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from holdfast.measures.queries import Queries
from holdfast.reproduce.computations import lines_by_network
from holdfast.reproduce.records import Lines, Size
from holdfast.reproduce.trainings import Measured, TrainedRow

RO = "RO"
MEASURES = ("clean_train_accuracy", "clean_accuracy", "robust_train_accuracy", "robust_accuracy")
TEST = ("clean_accuracy", "robust_accuracy")
"""What is traded for what, on test examples."""

_FIRST = " (pretraining)"
_RECIPES = ("cifar10-ar", "cifar10-trades")
_ATTACKS = {"quick": "pgd-5-1-0.01", "scaled": "pgd-20-1-0.003", "published": "pgd-20-1-0.003"}
_SMALL = {
    "model": {"name": "mnist_conv"},
    "data.name": "cifar10-jpeg",
    "training.optimizer": "adam",
    "training.schedule": {"kind": "cyclic", "peak": 3e-3, "at": 0.3},
    "training.precision": "float32",
    "training.channels_last": False,
    "training.epochs": 10,
    "selection.every": 10,
}
_TINY = {
    "threat": "linf:0.03",
    "training.epochs": 1,
    "data.limit": 200,
    "data.validation": 50,
    "selection.attack": "pgd-2-1",
    "selection.choose": "last",
}


def trades(weight: float) -> str:
    """The name of TRADES with a weight."""
    return f"TRADES {weight:.1f}"


def ar(weight: float) -> str:
    """The name of adversarial regularization with a weight."""
    return f"AR {weight:.1f}"


def objective(method: str) -> dict[str, Any]:
    """The objective of a method by its name; robust optimization is AR of weight 0."""
    kind, _, weight = method.partition(" ")
    if kind == "TRADES":
        return {"kind": "trades", "weight": float(weight), "steps": 10, "step_size": 0.007}
    attack = {"kind": "pgd", "steps": 10, "restarts": 1, "step_size": 0.007, "start": "clean"}
    return {"kind": "ar", "weight": float(weight or 0), "attack": attack}


def measured(size: Size) -> tuple[Measured, ...]:
    """The four accuracies."""
    attack = _ATTACKS[size.name]
    return (
        Measured(measure="clean_train_accuracy", split="train"),
        Measured(measure="clean_accuracy"),
        Measured(measure="robust_train_accuracy", attack=attack, split="train"),
        Measured(measure="robust_accuracy", attack=attack),
    )


def attack_of(size: Size) -> str:
    """The attack that a size is measured with."""
    return _ATTACKS[size.name]


def row(
    size: Size,
    name: str,
    method: str,
    changes: Mapping[str, Any] | None = None,
    *,
    after: str = "",
    accuracies: bool = True,
) -> TrainedRow:
    """One training.

    Args:
        changes: beside those of the size.
        after: the row whose network is tuned.
        accuracies: whether the four accuracies are measured.
    """
    recipe = size.recipes[-1] if method.startswith("TRADES") else size.recipes[0]
    return TrainedRow(
        name=name,
        recipe=recipe,
        changes={**size.changes, "objective": objective(method), **(changes or {})},
        measured=measured(size) if accuracies else (),
        seeds=size.seeds,
        after=after,
    )


def pretrained(size: Size, method: str, changes: Mapping[str, Any] | None = None) -> TrainedRow:
    """A training on the larger data set, which is not measured itself."""
    known: dict[str, dict[str, Any]] = {
        "quick": {},
        "scaled": {"data.limit": 20_000},
        "published": {"data.name": "cinic10-enlarged"},
    }
    name = method + _FIRST
    return row(size, name, method, {**known[size.name], **(changes or {})}, accuracies=False)


def tuned(
    size: Size, name: str, before: TrainedRow, method: str, changes: Mapping[str, Any] | None = None
) -> TrainedRow:
    """A training on the smaller data set that starts from the weights of another."""
    known: dict[str, dict[str, Any]] = {
        "quick": {"training.schedule.peak": 1e-3},
        "scaled": {"data.limit": 5000, "training.epochs": 5, "training.schedule.peak": 3e-4},
        "published": {"training.schedule.value": 1e-3},
    }
    return row(size, name, method, {**known[size.name], **(changes or {})}, after=before.name)


def lines_of_tuned(
    outcomes: Mapping[str, Queries], columns: Mapping[str, Mapping[str, Tensor]]
) -> Lines:
    """The figures of each network, those that were only pretrained apart."""
    shown = {name: each for name, each in columns.items() if not name.endswith(_FIRST)}
    return lines_by_network(outcomes, shown)


def sizes(
    *, quick: float, scaled: float, published: float, changes: Mapping[str, Any] | None = None
) -> Sequence[Size]:
    """The three sizes of an entry; their minutes.

    Args:
        changes: of the recipes, at every size.
    """
    more = dict(changes or {})
    return (
        Size(
            name="quick",
            recipes=("digits-pgd",),
            changes=_TINY | more,
            images=20,
            minutes=quick,
            note="digits, one epoch",
        ),
        Size(
            name="scaled",
            recipes=_RECIPES,
            changes=_SMALL | {"data.limit": 10_000} | more,
            images=500,
            minutes=scaled,
            note="a small network, parts of CIFAR-10 (JPEG), 10 epochs and 5 of tuning",
        ),
        Size(
            name="published",
            recipes=_RECIPES,
            changes=more,
            images=50_000,
            minutes=published,
        ),
    )
