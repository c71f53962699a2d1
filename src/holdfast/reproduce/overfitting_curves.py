"""Robust overfitting across data sets, norms and methods: best and final robust accuracy.

Robust test accuracy is best soon after the learning rate has first decayed, and falls from there
while that in training goes on rising.

Source: Wong 2020, Fig 4.1, Tables 4.10 and 4.12; Rice 2023, Fig 2.7, Table 2.8.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from holdfast.reproduce.figures import over_epochs
from holdfast.reproduce.orderings import figure
from holdfast.reproduce.overfitting_protocol import (
    BEST,
    CLEAN_AT_BEST,
    FINAL,
    FINAL_CLEAN,
    LOST,
    ORACLE,
    TOLERANCE,
    TRAIN,
    TRAIN_AT_BEST,
    all_overfit,
    having,
    lines,
    of_errors,
    small_sizes,
)
from holdfast.reproduce.records import Claim, Lines, Reproduction, Size
from holdfast.reproduce.trainings import TrainedRow

WIDE = "CIFAR-10, PGD, linf"
CYCLIC = "CIFAR-10, FGSM, linf, cyclic rate, 50 epochs"
_PLATEAUS = {"kind": "piecewise", "value": 0.1, "at": [0.5, 0.75]}
_LINF = {"threat": "linf:8/255", "selection.attack": "pgd-10-1-2/255"}
PUBLISHED_ROWS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "SVHN, PGD, linf": ("svhn-pgd", {}),
    "SVHN, PGD, l2": ("svhn-l2-pgd", {}),
    WIDE: ("cifar10-pgd-wrn", {}),
    "CIFAR-10, PGD, l2": ("cifar10-l2-pgd", {}),
    "CIFAR-10, FGSM, linf": ("cifar10-fgsm-rs-long", {}),
    "CIFAR-10, FGSM, l2": ("cifar10-l2-fgsm-rs", {}),
    CYCLIC: (
        "cifar10-fgsm-rs-long",
        {
            "training.epochs": 50,
            "training.schedule": {"kind": "cyclic", "peak": 0.2, "at": 0.4},
        },
    ),
    "CIFAR-10, TRADES, linf": (
        "cifar10-trades-wrn",
        {"training.epochs": 200, "training.schedule": _PLATEAUS, **_LINF},
    ),
    "CIFAR-10, TRADES, l2": ("cifar10-l2-trades", {}),
    "CIFAR-100, PGD, linf": ("cifar100-pgd", {}),
    "CIFAR-100, PGD, l2": ("cifar100-l2-pgd", {}),
}
SMALL_DATA = {"quick": "digits", "scaled": "CIFAR-10 (JPEG)"}
SMALL_ROWS: Mapping[str, Mapping[str, Any]] = {
    "PGD, linf": {},
    "PGD, l2": {"threat": "l2:64/255"},
    "FGSM, linf": {"objective": {"kind": "fgsm-rs", "start": "uniform", "step_size": "0.875*eps"}},
    "TRADES, linf": {"objective": {"kind": "trades", "step_size": "eps/4"}},
}


def rows(size: Size) -> Sequence[TrainedRow]:
    """One for each data set, method and norm."""
    rows_of = PUBLISHED_ROWS
    if size.name != "published":
        data, recipe = SMALL_DATA[size.name], size.recipes[0]
        rows_of = {f"{data}, {name}": (recipe, changes) for name, changes in SMALL_ROWS.items()}
    return [
        TrainedRow(
            name=name,
            recipe=recipe,
            changes={**size.changes, **changes},
            measured=(),
            seeds=size.seeds,
        )
        for name, (recipe, changes) in rows_of.items()
    ]


def _fitted(lines: Lines) -> bool | None:
    names = having(lines, TRAIN, TRAIN_AT_BEST)
    rises = [figure(lines, name, TRAIN) > figure(lines, name, TRAIN_AT_BEST) for name in names]
    return all(rises) if names else None


def _clean_stays(lines: Lines) -> bool | None:
    names = [
        name
        for name in having(lines, FINAL_CLEAN, CLEAN_AT_BEST)
        if name.endswith("PGD, linf") and not name.startswith("ImageNet")
    ]
    stays = [figure(lines, n, FINAL_CLEAN) >= figure(lines, n, CLEAN_AT_BEST) for n in names]
    return all(stays) if names else None


def _stopped_pgd(lines: Lines) -> bool | None:
    pairs = [(name.replace("TRADES", "PGD"), name) for name in having(lines, BEST)]
    pairs = [(pgd, name) for pgd, name in pairs if "TRADES" in name and pgd in lines]
    above = [figure(lines, pgd, BEST) >= figure(lines, name, BEST) for pgd, name in pairs]
    return all(above) if pairs else None


REPRODUCTION = Reproduction(
    id="overfitting-curves",
    title="Robust overfitting across data sets, norms and methods",
    thesis="Wong 2020",
    source="Fig 4.1 and Table 4.12 (sec 4.3.4 to 4.3.8)",
    needs=("CIFAR-10", "CIFAR-100", "SVHN", "ImageNet"),
    setting="200 epochs, PGD-10 on the whole test set after every epoch; WRN-34-10 for PGD and "
    "TRADES at linf on CIFAR-10, PreActResNet-18 elsewhere",
    sizes=(
        *small_sizes(minutes=8, note="l2 64/255; TRADES and FGSM likewise"),
        Size(
            name="published",
            recipes=tuple(dict.fromkeys(recipe for recipe, _ in PUBLISHED_ROWS.values())),
            changes=ORACLE,
            images=10_000,
            minutes=3_000_000,
        ),
    ),
    rows=rows,
    published={
        "SVHN, PGD, linf": of_errors(45.6, 39.0, 0.40, (10.0, 0.15, 10.2)),
        "SVHN, PGD, l2": of_errors(26.4, 25.2, 0.27, (7.0, 0.23, 7.2)),
        WIDE: of_errors(51.4, 43.2, 0.41, (13.4, 0.19, 13.9))
        | {TRAIN: 0.9777, TRAIN_AT_BEST: 0.6585},
        "CIFAR-10, PGD, l2": of_errors(31.1, 28.4, 0.46, (11.0, 0.08, 11.3)),
        "CIFAR-10, FGSM, linf": of_errors(59.8, 53.7, 0.09, (12.4, 0.21, 13.6)),
        "CIFAR-10, FGSM, l2": of_errors(31.6, 29.2, 0.18, (9.9, 0.16, 10.5)),
        CYCLIC: {FINAL: 0.4678},
        "CIFAR-10, TRADES, linf": of_errors(50.6, 45.0, 0.31, (14.97, 0.24, 15.9)),
        "CIFAR-10, TRADES, l2": of_errors(58.2, 53.6, 0.66, (33.9, 0.95, 15.7)),
        "CIFAR-100, PGD, linf": of_errors(78.6, 71.9, 0.39, (45.9, 0.23, 47.3)),
        "CIFAR-100, PGD, l2": of_errors(62.5, 56.8, 0.09, (39.9, 0.22, 37.5)),
        "ImageNet, PGD, linf": of_errors(85.5, 62.7, 8.87, (50.5, 14.32, 37.0)),
        "ImageNet, PGD, l2": of_errors(94.8, 63.0, 1.16, (63.2, 6.80, 40.1)),
    },
    claims=(
        all_overfit("robust accuracy falls after its best epoch, in every training"),
        Claim(text="on training examples it is higher at the end than then", holds=_fitted),
        Claim(
            text="clean accuracy does not fall under PGD at linf, ImageNet aside",
            holds=_clean_stays,
        ),
        Claim(text="PGD, stopped in time, is not below TRADES", holds=_stopped_pgd),
    ),
    draw=over_epochs(("robust_accuracy", "clean_accuracy", "accuracy")),
    measures=(BEST, FINAL, LOST, CLEAN_AT_BEST, FINAL_CLEAN, TRAIN_AT_BEST, TRAIN),
    lines=lines,
    tolerance=TOLERANCE,
    remarks="Test examples choose the best epoch: an oracle. The ImageNet lines go on from "
    "released networks and are not run here: recipes imagenet-pgd-continued and "
    "imagenet-l2-pgd-continued. Accuracies in training are those of the batches on the way, and "
    "under TRADES those of its own inner attack.",
)
