"""Tuning of robust networks with additional data: reweighting and a divergence from clean answers.

Source: Liu 2022, sec 4.3.5, Table 4.7.
Departures: one and five passes over the additional data are counted in epochs of the target's. In
the scaled size the additional images are those of the whole training split, with their labels.
"""

from collections.abc import Sequence
from typing import Any

from holdfast.reproduce.computations import ComputedRow, evaluated, lines_by_network
from holdfast.reproduce.figures import bars
from holdfast.reproduce.orderings import all_above, per_cent
from holdfast.reproduce.records import Claim, Lines, Reproduction, Size
from holdfast.reproduce.trainings import CLEAN, Measured, TrainedRow

AUTOATTACK = "autoattack_accuracy"
CIFAR10, SVHN = "CIFAR-10", "SVHN"
NONE, PLAIN, RW, KL, BOTH = "no tuning", "AT", "RW", "KL", "RW + KL"
OPTIONS: dict[str, dict[str, Any]] = {
    PLAIN: {"reweight": "none", "weight": 0.0},
    RW: {"reweight": "adversarial", "weight": 0.0},
    KL: {"reweight": "none", "weight": 6.0},
    BOTH: {"reweight": "adversarial", "weight": 6.0},
}
_EPOCHS = {CIFAR10: {1: 10, 5: 51}, SVHN: {1: 7, 5: 37}}
_BEFORE: dict[str, Any] = {
    "model.weights": None,
    "data.extra": None,
    "training.epochs": 100,
    "training.schedule": {"kind": "piecewise", "value": 0.1, "at": [0.75, 0.9]},
}


def named(data: str, passes: int = 0, method: str = NONE) -> str:
    """The line of a method, after so many passes over the additional data."""
    return f"{data}, {method}" + (f", {passes} passes" if passes else "")


def rows(size: Size) -> Sequence[TrainedRow | ComputedRow]:
    """The network before, and four ways to tune it; smaller sizes have CIFAR-10 and one pass."""
    whole = size.name == "published"
    found: list[TrainedRow | ComputedRow] = []
    for at, data in enumerate((CIFAR10, SVHN) if whole else (CIFAR10,)):
        first = _row(size, at, named(data), PLAIN, dict(_BEFORE if whole else _first(size)))
        found += [first, _strong(size, first)]
        for passes in (1, 5) if whole else (1,):
            epochs = {"training.epochs": _EPOCHS[data][passes] if whole else 1}
            for method in OPTIONS:
                name = named(data, passes, method)
                row = _row(size, at, name, method, epochs, after=first.name)
                found += [row, _strong(size, row)]
    return found


def _row(
    size: Size, at: int, name: str, method: str, changes: dict[str, Any], *, after: str = ""
) -> TrainedRow:
    attack = {"kind": "pgd", "steps": 10, "restarts": 1, "step_size": "eps/4"}
    chosen = {"kind": "reweighted-tuning", "attack": attack, **OPTIONS[method]}
    return TrainedRow(
        name=name,
        recipe=size.recipes[at],
        changes={**size.changes, "objective": chosen, **changes},
        measured=(CLEAN, Measured(measure="robust_accuracy", attack="pgd-10-1-eps/4")),
        seeds=size.seeds,
        after=after,
    )


def _first(size: Size) -> dict[str, Any]:
    """How smaller sizes train the network that is tuned."""
    epochs = 1 if size.name == "quick" else 12
    found: dict[str, Any] = {"data.extra": None, "training.epochs": epochs}
    if size.name == "scaled":
        found |= {"model.weights": None, "training.schedule": {"kind": "constant", "value": 2e-3}}
    return found


def _strong(size: Size, row: TrainedRow) -> ComputedRow:
    return evaluated(row, protocol="fast" if size.name == "quick" else "standard")


_TABLE = {
    named(CIFAR10): 52.01,
    named(CIFAR10, 1, PLAIN): 54.11,
    named(CIFAR10, 1, RW): 54.69,
    named(CIFAR10, 1, KL): 54.73,
    named(CIFAR10, 1, BOTH): 54.69,
    named(CIFAR10, 5, PLAIN): 55.49,
    named(CIFAR10, 5, RW): 56.41,
    named(CIFAR10, 5, KL): 56.55,
    named(CIFAR10, 5, BOTH): 56.99,
    named(SVHN): 67.77,
    named(SVHN, 1, PLAIN): 70.81,
    named(SVHN, 1, RW): 70.83,
    named(SVHN, 1, KL): 72.29,
    named(SVHN, 1, BOTH): 72.53,
    named(SVHN, 5, PLAIN): 72.18,
    named(SVHN, 5, RW): 72.72,
    named(SVHN, 5, KL): 73.17,
    named(SVHN, 5, BOTH): 73.35,
}


def _ran(text: str, pairs: Sequence[tuple[str, str]]) -> Claim:
    """An ordering under AutoAttack of those pairs that ran."""

    def holds(lines: Lines) -> bool | None:
        there = [pair for pair in pairs if pair[0] in lines]
        return all_above(text, there, AUTOATTACK).holds(lines) if there else None

    return Claim(text=text, holds=holds)


_LINES = [(data, passes) for data in (CIFAR10, SVHN) for passes in (1, 5)]

REPRODUCTION = Reproduction(
    id="difficulty-tuning",
    title="Tuning robust networks with additional data",
    thesis="Liu 2022",
    source="Table 4.7 (sec 4.3.5)",
    needs=("CIFAR-10", "500,000 pseudo-labelled images", "SVHN with its extra images", "a GPU"),
    setting="WRN-34-10 at linf 8/255 and ResNet-18 at 0.02, half of every batch extra, AutoAttack",
    sizes=(
        Size(
            name="quick",
            recipes=("digits-pgd",),
            changes={
                "data.limit": 200,
                "data.validation": 50,
                "data.extra": {"name": "digits", "fraction": 0.5},
                "selection.attack": "pgd-2-1",
            },
            images=10,
            minutes=0.2,
            note="digits, one epoch",
        ),
        Size(
            name="scaled",
            recipes=("cifar10-fine-tuning",),
            changes={
                "model": {"name": "mnist_conv"},
                "data.name": "cifar10-jpeg",
                "data.limit": 5000,
                "data.extra": {"name": "cifar10-jpeg", "fraction": 0.5},
                "training.optimizer": "adam",
                "training.schedule": {"kind": "constant", "value": 3e-4},
                "training.precision": "float32",
                "training.channels_last": False,
            },
            images=200,
            minutes=15,
            note="a small network, 5,000 images of CIFAR-10 (JPEG), one epoch of tuning",
        ),
        Size(
            name="published",
            recipes=("cifar10-fine-tuning", "svhn-fine-tuning"),
            images=50_000,
            minutes=5_000_000,
        ),
    ),
    rows=rows,
    published=per_cent({name: (value,) for name, value in _TABLE.items()}, (AUTOATTACK,)),
    claims=(
        _ran(
            "additional data make networks more robust",
            [(named(data, passes, m), named(data)) for data, passes in _LINES for m in OPTIONS],
        ),
        _ran(
            "reweighting, a divergence and both are better than plain tuning",
            [
                (named(data, passes, m), named(data, passes, PLAIN))
                for data, passes in _LINES
                for m in (RW, KL, BOTH)
            ],
        ),
        _ran(
            "five passes are better than one",
            [(named(d, 5, m), named(d, 1, m)) for d in (CIFAR10, SVHN) for m in OPTIONS],
        ),
    ),
    draw=bars,
    lines=lines_by_network,
    measures=("clean_accuracy", "robust_accuracy", AUTOATTACK),
    remarks=(
        "How the networks before tuning were trained is not published; ours are trained by PGD for "
        "100 epochs. The attack's step on SVHN is not published either. The quick size has the "
        "fast protocol in the place of AutoAttack."
    ),
)
