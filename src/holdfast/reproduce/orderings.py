"""Claims that are orderings of figures, and how the figures of lines are looked up.

All claims are judged on the lines of a run; one that needs an absent figure is not judged.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from holdfast.reproduce.page import SPREAD
from holdfast.reproduce.records import Claim, Lines

ROBUST = "robust_accuracy"
COLLAPSED = 0.05
"""Below it robust accuracy counts as lost: catastrophic overfitting."""


def figure(lines: Lines, name: str, measure: str = ROBUST) -> float:
    """A figure of a line.

    Raises:
        KeyError: there is no such line or figure, or it is unknown.
    """
    found = lines[name][measure]
    if found is None:
        raise KeyError(measure)
    return found


def above(text: str, better: str, worse: str, measure: str = ROBUST) -> Claim:
    """One line has the larger figure of two."""
    return rising(text, (worse, better), measure)


def rising(text: str, names: Sequence[str], measure: str = ROBUST) -> Claim:
    """The figures rise strictly in this order of lines."""

    def holds(lines: Lines) -> bool:
        found = [figure(lines, name, measure) for name in names]
        return all(low < high for low, high in pairwise(found))

    return Claim(text=text, holds=holds)


def largest(text: str, name: str, others: Iterable[str], measure: str = ROBUST) -> Claim:
    """One line has the largest figure of all."""
    rest = [each for each in others if each != name]

    def holds(lines: Lines) -> bool:
        return all(figure(lines, name, measure) > figure(lines, each, measure) for each in rest)

    return Claim(text=text, holds=holds)


def all_above(text: str, pairs: Sequence[tuple[str, str]], measure: str = ROBUST) -> Claim:
    """In every pair of lines the first has the larger figure."""

    def holds(lines: Lines) -> bool:
        return all(
            figure(lines, one, measure) > figure(lines, other, measure) for one, other in pairs
        )

    return Claim(text=text, holds=holds)


def collapses(text: str, lost: Sequence[str], kept: Sequence[str] = ()) -> Claim:
    """The first lines have lost robust accuracy, the others have not."""

    def holds(lines: Lines) -> bool:
        low = [figure(lines, name) < COLLAPSED for name in lost]
        return all(low) and all(figure(lines, name) >= COLLAPSED for name in kept)

    return Claim(text=text, holds=holds)


def per_cent(
    table: Mapping[str, Sequence[float | tuple[float, float] | None]], measures: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Published figures from a table in per cent: by line, a mean or a mean with its spread.

    Example:
        >>> per_cent({"FGSM": [(85.16, 1.3), 0.02]}, ["clean_accuracy", "robust_accuracy"])["FGSM"]
        {'clean_accuracy': 0.8516, 'clean_accuracy_spread': 0.013, 'robust_accuracy': 0.0002}
    """
    found: dict[str, dict[str, float]] = {}
    for name, cells in table.items():
        line = found.setdefault(name, {})
        for measure, cell in zip(measures, cells, strict=False):
            if isinstance(cell, tuple):
                line[measure + SPREAD] = round(cell[1] / 100, 6)
            value = cell[0] if isinstance(cell, tuple) else cell
            if value is not None:
                line[measure] = round(value / 100, 6)
    return {name: dict(sorted(line.items())) for name, line in found.items()}
