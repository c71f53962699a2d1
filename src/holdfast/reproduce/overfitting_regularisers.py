"""Regularisation and augmentation against robust overfitting, beside early stopping.

No penalty, patch or mixture of examples beats early stopping; more data does, and only together
with it.

Source: Wong 2020, sec 4.4, Table 4.13, Figs 4.24 to 4.32; Rice 2023, sec 2.3.6, Table 2.10; figures
    by parameter from the logs that were released with the thesis.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from holdfast.reproduce.figures import bars
from holdfast.reproduce.orderings import figure
from holdfast.reproduce.overfitting_protocol import (
    BEST,
    FINAL,
    LOST,
    ORACLE,
    PGD7,
    POINT,
    TOLERANCE,
    having,
    lines,
    lost,
    of_errors,
    small_sizes,
)
from holdfast.reproduce.page import SPREAD
from holdfast.reproduce.records import Claim, Lines, Reproduction, Size
from holdfast.reproduce.trainings import TrainedRow

PLAIN, SEMI = "no regulariser", "semi-supervised"
Errors = Mapping[float, tuple[float, float]]
L1: Errors = {
    5e-7: (50.34, 58.19),
    5e-6: (48.58, 52.99),
    5e-5: (55.17, 56.04),
    5e-4: (70.95, 71.59),
}
L2: Errors = {
    5e-4: (46.40, 55.17),
    5e-3: (47.72, 51.36),
    1e-2: (49.32, 51.60),
    5e-2: (52.23, 53.46),
    5e-1: (66.04, 68.25),
}
CUTOUT: Errors = {
    2: (51.12, 58.75),
    4: (51.41, 58.25),
    6: (50.99, 58.16),
    8: (50.94, 57.10),
    10: (50.74, 55.53),
    12: (50.36, 54.51),
    14: (46.67, 48.81),
    16: (47.41, 48.53),
    18: (47.79, 49.27),
    20: (49.51, 50.44),
}
MIXUP: Errors = {
    0.2: (49.35, 53.13),
    0.4: (49.24, 52.10),
    0.6: (49.17, 50.76),
    0.8: (49.45, 50.70),
    1.0: (48.86, 50.51),
    1.2: (46.64, 48.64),
    1.4: (46.28, 49.07),
    1.6: (47.22, 49.43),
    1.8: (47.35, 49.09),
    2.0: (46.64, 49.31),
}
"""By parameter: robust error at the best epoch and at the end, per cent."""
SWEEPS: Mapping[str, Errors] = {
    "l1": L1,
    "l2": L2,
    "cutout": CUTOUT,
    "mixup": MIXUP,
}
SMALL: Mapping[str, Mapping[str, tuple[float, ...]]] = {
    "quick": {"l1": (5e-5,), "l2": (5e-3,), "cutout": (2,), "mixup": (1.4,)},
    "scaled": {
        "l1": (5e-6, 5e-5, 5e-4),
        "l2": (5e-4, 5e-3, 5e-2),
        "cutout": (2, 14, 20),
        "mixup": (0.2, 1.4),
    },
}
RECIPES = {
    PLAIN: "cifar10-pgd",
    "l1": "cifar10-pgd-l1",
    "l2": "cifar10-pgd-l2",
    "cutout": "cifar10-pgd-cutout",
    "mixup": "cifar10-pgd-mixup",
    SEMI: "cifar10-pgd-semi",
}
_CROP = {"kind": "pad-crop", "padding": 4, "mode": "reflect"}


def named(method: str, value: float) -> str:
    """The line of a method and its parameter.

    Example:
        >>> named("l1", 5e-6)
        'l1 5e-06'
    """
    return f"{method} {value:g}"


def changes_of(size: Size, method: str, value: float) -> dict[str, Any]:
    """What a method and its parameter change of the recipe of the size.

    Example:
        >>> from holdfast.reproduce.overfitting_regularisers import REPRODUCTION
        >>> changes_of(REPRODUCTION.size("published"), "mixup", 0.2)
        {'objective.alpha': 0.2}
    """
    published = size.name == "published"
    if method == "cutout":
        patch = {"kind": "cutout", "length": int(value)}
        return {"data.augment": [_CROP, "flip", patch] if published else [patch]}
    key = "alpha" if method == "mixup" else method
    if published:
        return {f"objective.{key}": value}
    kind = "mixup" if method == "mixup" else "penalised"
    return {"objective": {"kind": kind, key: value, "objective": dict(PGD7)}}


def values(size: Size) -> Mapping[str, Iterable[float]]:
    """The parameters of each method at a size."""
    return SWEEPS if size.name == "published" else SMALL[size.name]


def rows(size: Size) -> Sequence[TrainedRow]:
    """Plain training, each sweep, and the second source."""
    published = size.name == "published"
    source = {"quick": "digits", "scaled": "cifar10-jpeg"}.get(size.name)
    second = {} if published else {"data.extra": {"name": source, "fraction": 0.5}}
    every: list[tuple[str, str, dict[str, Any]]] = [(PLAIN, PLAIN, {})]
    every += [
        (named(method, each), method, changes_of(size, method, each))
        for method, found in values(size).items()
        for each in found
    ]
    every.append((SEMI, SEMI, second))
    return [
        TrainedRow(
            name=name,
            recipe=RECIPES[method] if published else size.recipes[0],
            changes={**size.changes, **changes},
            measured=(),
            seeds=size.seeds,
        )
        for name, method, changes in every
    ]


def _of(lines: Lines, method: str) -> list[str]:
    """The lines of a method, by rising parameter."""
    there = having(lines, LOST)
    every = sorted({*SWEEPS[method], *(each for s in SMALL.values() for each in s[method])})
    return [named(method, each) for each in every if named(method, each) in there]


def _none_beats_stopping(lines: Lines) -> bool | None:
    rest = [figure(lines, name, BEST) for method in SWEEPS for name in _of(lines, method)]
    return max(rest) < figure(lines, PLAIN, BEST) + POINT if rest else None


def _data_does(lines: Lines) -> bool:
    best, final = figure(lines, SEMI, BEST), figure(lines, SEMI, FINAL)
    return best > figure(lines, PLAIN, BEST) + POINT and final < best - POINT


def _mild_overfit(lines: Lines) -> bool | None:
    first = [_of(lines, method)[:1] for method in SWEEPS]
    names = [name for each in first for name in each]
    return all(lost(lines, name) > POINT for name in names) if names else None


def _underfit(lines: Lines) -> bool | None:
    names = _of(lines, "l1")
    if not names:
        return None
    strong = names[-1]
    return lost(lines, strong) < POINT and figure(lines, strong, BEST) < figure(
        lines, names[0], BEST
    )


def _patches(lines: Lines) -> bool | None:
    names = _of(lines, "cutout")
    return lost(lines, names[-1]) < lost(lines, names[0]) if len(names) > 1 else None


def _published() -> dict[str, dict[str, float | None]]:
    found = {PLAIN: of_errors(53.92, 46.51)}
    for method, errors in SWEEPS.items():
        for value, (best, final) in errors.items():
            found[named(method, value)] = of_errors(final, best)
    spreads = {"l1": (5e-6, 0.39), "l2": (5e-3, 0.73), "cutout": (14, 0.79), "mixup": (1.4, 1.32)}
    for method, (value, spread) in spreads.items():
        found[named(method, value)][FINAL + SPREAD] = round(spread / 100, 6)
    return found | {SEMI: of_errors(47.1, 40.2, 4.32)}


REPRODUCTION = Reproduction(
    id="overfitting-regularisers",
    title="Regularisation and augmentation against robust overfitting",
    thesis="Wong 2020",
    source="Table 4.13, Figs 4.24 to 4.32 (sec 4.4)",
    needs=("CIFAR-10", "500,000 pseudo-labelled images of TinyImages"),
    setting="CIFAR-10, linf 8/255, PreActResNet-18, 200 epochs, PGD-10 on the whole test set after "
    "every epoch",
    sizes=(
        *small_sizes(
            minutes=20,
            note="the second source is all 50,000 training images with their true labels",
        ),
        Size(
            name="published",
            recipes=tuple(RECIPES.values()),
            changes=ORACLE,
            images=10_000,
            minutes=3_300_000,
        ),
    ),
    rows=rows,
    published=_published(),
    claims=(
        Claim(
            text="without more data nothing beats early stopping by a point",
            holds=_none_beats_stopping,
        ),
        Claim(text="more data does, and only with early stopping", holds=_data_does),
        Claim(text="the mildest of each kind overfits", holds=_mild_overfit),
        Claim(text="the strongest l1 penalty underfits instead", holds=_underfit),
        Claim(text="the largest patch loses less than the smallest", holds=_patches),
    ),
    draw=bars,
    measures=(BEST, FINAL, LOST),
    lines=lines,
    tolerance=TOLERANCE,
    remarks="Test examples choose the best epoch: an oracle. The text has ten times the l1 "
    "weights of the logs; the figures are the same. The l2 row of the table mixes weights of 5e-4 "
    "and 5e-3. Patches up to 12 have their best epoch before the first decay, those from 14 after "
    "it, so the jump between them is not of the length alone.",
)
