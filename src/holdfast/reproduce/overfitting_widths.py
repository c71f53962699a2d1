"""Robust overfitting and double descent: best and final robust accuracy over the width.

The best epoch is better the wider the network; the final one is worst at a width of 5, long before
the training set is fitted, and better again beyond.

Source: Wong 2020, sec 4.3.10, Figs 4.22 and 4.23; Rice 2023, Figs 2.19 and 2.20; figures by width
    from the logs that were released with the thesis.
"""

from collections.abc import Mapping, Sequence

from holdfast.reproduce.figures import sweep
from holdfast.reproduce.orderings import figure
from holdfast.reproduce.overfitting_protocol import (
    BEST,
    FINAL,
    LOST,
    ORACLE,
    TOLERANCE,
    TRAIN,
    all_overfit,
    having,
    lines,
    of_errors,
    small_sizes,
)
from holdfast.reproduce.records import Claim, Lines, Reproduction, Size
from holdfast.reproduce.trainings import TrainedRow

ERRORS: Mapping[int, tuple[float, float, float]] = {
    1: (50.11, 51.33, 46.75),
    2: (47.80, 50.91, 33.50),
    3: (46.04, 51.94, 22.45),
    4: (45.31, 52.47, 14.85),
    5: (45.00, 53.13, 9.85),
    6: (44.72, 52.81, 6.86),
    7: (44.22, 52.25, 4.69),
    8: (44.00, 51.68, 3.59),
    9: (43.79, 51.90, 2.87),
    10: (43.20, 51.38, 2.23),
    15: (43.10, 49.61, 1.41),
    20: (41.84, 48.83, 0.68),
}
"""By width, per cent: robust error at the best epoch and the end, in training at the end."""
WIDTHS = {"quick": (2, 4), "scaled": (1, 2, 4, 8, 16), "published": tuple(ERRORS)}
FITTED = 0.95


def named(width: int) -> str:
    """The line of a width."""
    return f"width {width}"


def rows(size: Size) -> Sequence[TrainedRow]:
    """One for each width."""
    network = {"model.name": "digits_conv"} if size.name != "published" else {}
    depth = {"depth": 34} if size.name == "published" else {}
    return [
        TrainedRow(
            name=named(width),
            recipe=size.recipes[0],
            changes={**size.changes, **network, "model.options": {**depth, "width": width}},
            measured=(),
            seeds=size.seeds,
        )
        for width in WIDTHS[size.name]
    ]


def _curve(lines: Lines, measure: str) -> list[float]:
    """A figure over the widths that the lines have, ascending."""
    every = sorted({width for widths in WIDTHS.values() for width in widths})
    there = having(lines, measure)
    return [figure(lines, named(w), measure) for w in every if named(w) in there]


def _wider(lines: Lines) -> bool | None:
    found = _curve(lines, BEST)
    return found == sorted(found) if found else None


def _descends_twice(lines: Lines) -> bool | None:
    found = _curve(lines, FINAL)
    return min(found) < min(found[0], found[-1]) if found else None


def _before_fitted(lines: Lines) -> bool | None:
    final, training = _curve(lines, FINAL), _curve(lines, TRAIN)
    if not final or len(final) != len(training):
        return None
    return training[final.index(min(final))] < FITTED < training[-1]


def _published(width: int) -> dict[str, float | None]:
    best, final, training = ERRORS[width]
    return of_errors(final, best) | {TRAIN: round(1 - training / 100, 6)}


REPRODUCTION = Reproduction(
    id="overfitting-widths",
    title="Robust overfitting over the width: a double descent",
    thesis="Wong 2020",
    source="Figs 4.22 and 4.23 (sec 4.3.10)",
    needs=("CIFAR-10",),
    setting="CIFAR-10, linf 8/255, WRN-34 of widths 1 to 20, 200 epochs, PGD-10 on the whole test "
    "set after every epoch",
    sizes=(
        *small_sizes(minutes=12, note="two convolutions and a layer, of widths 1 to 16"),
        Size(
            name="published",
            recipes=("cifar10-pgd-wrn",),
            changes=ORACLE,
            images=10_000,
            minutes=20_000_000,
        ),
    ),
    rows=rows,
    published={named(width): _published(width) for width in ERRORS},
    claims=(
        Claim(text="the best robust accuracy rises with the width", holds=_wider),
        all_overfit("longer training hurts at every width"),
        Claim(
            text="the final one is lowest at a width between the smallest and the largest",
            holds=_descends_twice,
        ),
        Claim(text="there the training set is not fitted yet", holds=_before_fitted),
    ),
    draw=sweep(
        {
            "PGD training": {
                float(width): named(width)
                for width in sorted({each for size in WIDTHS.values() for each in size})
            }
        },
        "width",
        log=True,
    ),
    measures=(BEST, FINAL, LOST, TRAIN),
    lines=lines,
    tolerance=TOLERANCE,
    remarks="Test examples choose the best epoch: an oracle. The thesis says depth 28, the "
    "released code builds 34.",
)
