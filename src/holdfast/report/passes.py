"""Accuracy against the passes spent: what each step of the attacks bought, and what it cost.

Symbols: after step i the cost is c_i = c_0 + sum over j <= i of (forwards_j + backwards_j) / n,
passes per image over all n evaluated examples, c_0 the clean prediction's; the curve falls where
the cost of the step has been spent.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from holdfast.report import wording
from holdfast.report.drawing import Drawing, Key, svg
from holdfast.report.palette import LIGHT, MARKERS, series
from holdfast.report.tables import Column, Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Result = Mapping[str, Any]

WIDE, NARROW = (920, 340), (400, 300)


@dataclass(frozen=True)
class _Mark:
    """One attack: its number and name, the passes per image spent so far, the accuracy left, and
    how many examples fell to it."""

    number: int
    attack: str
    passes: float
    accuracy: float
    broken: float


@dataclass(frozen=True)
class _Curve:
    """One evaluation: the clean accuracy and what it cost, then its attacks."""

    model: str
    start: tuple[float, float]
    marks: tuple[_Mark, ...]

    def path(self) -> tuple[list[float], list[float]]:
        """The corners of the step curve."""
        points = [self.start, *((mark.passes, mark.accuracy) for mark in self.marks)]
        return [passes for passes, _ in points], [accuracy for _, accuracy in points]


def accuracy_against_passes(results: Sequence[Result], names: Sequence[str] = ()) -> Drawing | None:
    """Robust accuracy over the passes spent per image, a mark per attack; None where no run says
    what its attacks cost.

    Args:
        results: evaluations; those without attacks, or without costs, are left out.
        names: of the models in the legend; by default the results' own.
    """
    names = names or [str(result.get("model") or "model") for result in results]
    found = [(at, _curve(each, names[at])) for at, each in enumerate(results)]
    curves = [(at, curve) for at, curve in found if curve is not None]
    if not curves:
        return None
    alone = len(results) == 1
    alt = "Robust accuracy against passes spent per image, attack by attack. " + " ".join(
        _words(curve) for _, curve in curves
    )

    def draw(axes: "Axes") -> None:
        _frame(axes, [curve for _, curve in curves])
        for at, curve in curves:
            _steps(axes, curve, LIGHT[series(at)], MARKERS[at % len(MARKERS)])
        if alone:
            _numbers(axes, curves[0][1])

    name = "accuracy-against-passes"
    return Drawing(
        name=name,
        title="What the attacks cost",
        alt=alt,
        svg=(
            svg(draw, name=f"{name}-wide", alt=alt, size=WIDE),
            svg(draw, name=f"{name}-narrow", alt=alt, size=NARROW),
        ),
        keys=tuple(
            Key("not broken so far" if alone else curve.model, series(at)) for at, curve in curves
        ),
        csv=_table([curve for _, curve in curves]).csv(),
        caption="Each mark is one attack at its end; a hollow one broke nothing."
        + (" Numbers are the steps' own, where there is room." if alone else "")
        + " A pass is one forward or backward evaluation of the model on one image, the clean "
        "prediction included; the axis is logarithmic and counts all images.",
    )


def _curve(result: Result, model: str) -> _Curve | None:
    """An evaluation's accuracies with their costs, or None."""
    rows, count = result.get("attacks") or (), result.get("examples")
    if not count or not any(_cost(row) for row in rows):
        return None
    spent = _clean_cost(result) * count
    start, before = (spent / count, result["clean_accuracy"]), result["clean_accuracy"]
    marks = []
    for number, row in enumerate(rows, start=1):
        spent += _cost(row)
        after = row["robust_accuracy"]
        broken = row.get("broken")
        fell = (before - after) * count if broken is None else broken
        marks.append(_Mark(number, str(row["name"]), spent / count, after, fell))
        before = after
    return _Curve(model, start, tuple(marks))


def _cost(row: Mapping[str, Any]) -> float:
    return (row.get("forwards") or 0) + (row.get("backwards") or 0)


def _clean_cost(result: Result) -> float:
    """Passes per image of the clean prediction; one where the run does not say."""
    rows = [row for row in result.get("stages") or () if row.get("stage") == "clean"]
    return (_cost(rows[0]) / result["examples"] if rows else 0) or 1.0


def _steps(axes: "Axes", curve: _Curve, colour: str, marker: str) -> None:
    """The curve, with a filled mark where examples fell and a hollow one where none did."""
    x, y = curve.path()
    axes.step(x, y, where="post", color=colour, linewidth=2.2)
    for mark in curve.marks:
        fell = round(mark.broken) > 0
        axes.plot(
            [mark.passes],
            [mark.accuracy],
            marker=marker,
            ms=8 if fell else 6,
            color=colour,
            markerfacecolor=colour if fell else LIGHT["paper"],
            markeredgewidth=1.6,
        )


def _frame(axes: "Axes", curves: Sequence[_Curve]) -> None:
    """A logarithmic axis of passes, and as much of the accuracies as the curves need."""
    from matplotlib.ticker import NullLocator

    x = [passes for curve in curves for passes in curve.path()[0]]
    y = [accuracy for curve in curves for accuracy in curve.path()[1]]
    axes.set_xscale("log")
    axes.set_xlim(min(x) / 1.15, max(x) * 1.25)
    ticks = pass_ticks(min(x), max(x))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(ticks, [f"{tick:,.0f}" for tick in ticks])
    room = 0.1 * (max(y) - min(y)) + 0.01
    axes.set_ylim(min(y) - 1.6 * room, max(y) + room)
    axes.locator_params(axis="y", nbins=5)
    digits = 0 if max(y) - min(y) > 0.05 else 1
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.{digits}%}" if value >= 0 else "")
    axes.set_xlabel("passes per image", fontsize=13, color=LIGHT["muted"], labelpad=6)


def pass_ticks(low: float, high: float) -> list[float]:
    """Ticks 1, 2, 5, 10 and so on of a logarithmic axis; the powers of ten alone where those would
    be more than six.

    Example:
        >>> pass_ticks(1.0, 30.0), pass_ticks(1.0, 5000.0)
        ([1.0, 2.0, 5.0, 10.0, 20.0], [1.0, 10.0, 100.0, 1000.0])
    """
    decades = range(max(0, math.floor(math.log10(low))), math.ceil(math.log10(high)) + 1)
    fine = [lead * 10**power for power in decades for lead in (1, 2, 5)]
    ticks = [tick for tick in fine if low <= tick <= high]
    if len(ticks) > 6:
        ticks = [tick for tick in ticks if math.log10(tick).is_integer()]
    return [float(tick) for tick in ticks]


def _numbers(axes: "Axes", curve: _Curve) -> None:
    """The attacks' numbers below their marks: of those too near to each other to be read, the one
    that broke most."""
    placed: list[tuple[float, float]] = []
    for mark in sorted(curve.marks, key=lambda mark: -mark.broken):
        x, y = axes.transData.transform((mark.passes, mark.accuracy))
        if any(abs(x - a) < 20 and abs(y - b) < 16 for a, b in placed):
            continue
        placed.append((x, y))
        axes.annotate(
            str(mark.number),
            (mark.passes, mark.accuracy),
            xytext=(0, -19),
            textcoords="offset points",
            ha="center",
            fontsize=12,
            color=LIGHT["ink"],
        )


def _words(curve: _Curve) -> str:
    said = "; ".join(
        f"{mark.attack}: {wording.percent(mark.accuracy)} after {wording.decimal(mark.passes)}"
        for mark in curve.marks
    )
    return f"{curve.model}: clean {wording.percent(curve.start[1])}; {said} passes per image."


def _table(curves: Sequence[_Curve]) -> Table:
    columns = (
        Column("model"),
        Column("step", "count"),
        Column("attack"),
        Column("passes per image", "number"),
        Column("robust", "share"),
    )
    rows = []
    for curve in curves:
        rows.append((curve.model, 0, "clean", *curve.start))
        rows += [(curve.model, m.number, m.attack, m.passes, m.accuracy) for m in curve.marks]
    return Table(columns, tuple(rows))
