"""How the Square Attack depends on p, the fraction of the image that its first updates change.

Source: Andriushchenko 2024, Fig 3.5 (sec 3.10); Andriushchenko, Croce, Flammarion and Hein 2020,
arXiv:1912.00049, Fig 5.
"""

from collections.abc import Sequence
from dataclasses import replace

from holdfast.attacks.square import Square
from holdfast.reproduce.figures import sweep
from holdfast.reproduce.page import words
from holdfast.reproduce.records import MEASURES, Claim, Lines, Reproduction, Row, Size
from holdfast.reproduce.square_ablation import REPRODUCTION as ABLATION

FRACTIONS = (0.0125, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4)
NAMES = {norm: {p: f"{norm}: p = {p:g}" for p in FRACTIONS} for norm in ("linf", "l2")}


def rows(size: Size) -> Sequence[Row]:
    """One for each norm and fraction."""
    return [
        Row(
            name=NAMES[norm][p],
            subject=size.subjects[0],
            threat=threat,
            attack=Square(queries=size.queries, p_init=p),
        )
        for norm, threat in zip(NAMES, size.threats, strict=True)
        for p in FRACTIONS
    ]


def _flat(norm: str, measure: str, largest: float, least: float = 0.0) -> Claim:
    """That over all fractions from `least` on, the measure stays below `largest` times its best."""

    def holds(lines: Lines) -> bool:
        found = [lines[name][measure] or 0.0 for p, name in NAMES[norm].items() if p >= least]
        return max(found) <= largest * min(found)

    since = f" from {least:g} on" if least else ""
    text = f"{norm}: {words(measure)} vary by a factor of at most {largest:g} over p{since}"
    return Claim(text=text, holds=holds)


REPRODUCTION = Reproduction(
    id="square-p-sweep",
    title="Square Attack: how much its one hyperparameter matters",
    thesis="Andriushchenko 2024",
    source="Fig 3.5",
    needs=ABLATION.needs,
    setting=ABLATION.setting.replace(" (p 0.05)", "").replace(" (p 0.1)", "")
    + ", ten values of p; read off the figure: linf fails nowhere, mean below 140, median below 20",
    sizes=tuple(
        replace(each, fractions=(), note=each.note.replace(" (p 0.3)", "").replace(" (p 0.1)", ""))
        for each in ABLATION.sizes
    ),
    rows=rows,
    published={NAMES["linf"][p]: {"failure_rate": 0.0} for p in FRACTIONS},
    claims=(
        _flat("linf", "mean_spent", 2.0),
        _flat("l2", "mean_spent", 1.5, least=0.05),
        Claim(
            text="l2: the smallest p is not the best",
            holds=lambda lines: (
                (lines[NAMES["l2"][0.0125]]["mean_spent"] or 0.0)
                > min(lines[NAMES["l2"][p]]["mean_spent"] or 0.0 for p in FRACTIONS)
            ),
        ),
    ),
    draw=sweep(NAMES, "p", log=True),
    measures=(*MEASURES, "mean_spent"),
    remarks="The figure has no numbers; only the failure rate is given in words.",
)
