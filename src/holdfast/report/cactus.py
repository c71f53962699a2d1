"""The cactus plot of a verification set: how many queries are decided within how many seconds each.

Queries are sorted by their time, so that the curve that lies lower and ends farther to the right is
the better one. What is open is not drawn; the curve ends before the right border by as many.

Source: Bak, Liu, Johnson 2021, arXiv 2109.00498, sec 4 (VNN-COMP 2021).
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from holdfast.report import wording
from holdfast.report.drawing import Drawing, Key, svg
from holdfast.report.palette import LIGHT
from holdfast.report.tables import Column, Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDE, NARROW = (920, 380), (400, 320)

_LEAST = 1e-3  # seconds; what is faster is drawn here
_CURVES: tuple[tuple[str, tuple[str, ...], str, Any], ...] = (
    ("decided", ("holds", "violated"), "series-0", "-"),
    ("holds", ("holds",), "certified", (0, (5, 2.5))),
    ("violated", ("violated",), "broken", (0, (1.5, 1.8))),
)


def cactus(queries: Sequence[Mapping[str, Any]], name: str = "cactus") -> Drawing | None:
    """The curves of all decided queries, of those that hold and of those that are violated; None
    where nothing is decided.

    Args:
        queries: rows with `verdict` and `seconds`.
        name: prefix of its identifiers.
    """
    times = {
        label: sorted(float(row["seconds"]) for row in queries if row["verdict"] in verdicts)
        for label, verdicts, _, _ in _CURVES
    }
    found = len(times["decided"])
    if not found:
        return None
    total = len(queries)
    alt = (
        f"Cactus plot: {found} of {total} queries decided, the slowest in "
        f"{wording.duration(times['decided'][-1])}, half of these within "
        f"{wording.duration(times['decided'][(found - 1) // 2])} each; "
        f"{len(times['holds'])} hold, {len(times['violated'])} are violated."
    )

    def draw(axes: "Axes") -> None:
        for label, _, colour, dash in _CURVES:
            _curve(axes, times[label], LIGHT[colour], dash, wide=label == "decided")
        axes.set_xlim(0, max(total, 1) * 1.02)
        axes.locator_params(axis="x", nbins=8, integer=True)
        _seconds(axes, times["decided"])
        axes.set_xlabel("queries decided", fontsize=13, color=LIGHT["muted"], labelpad=6)

    drawn = (
        svg(draw, name=f"{name}-wide", alt=alt, size=WIDE),
        svg(draw, name=f"{name}-narrow", alt=alt, size=NARROW),
    )
    shown = [each for each in _CURVES if times[each[0]]]
    return Drawing(
        name=name,
        title="Decided queries against the time of each",
        alt=alt,
        svg=drawn,
        keys=tuple(
            Key(f"{label}: {len(times[label])}", colour, "line" if dash == "-" else "dashed")
            for label, _, colour, dash in shown
        ),
        csv=_table(times).csv(),
        caption=f"Each curve sorts its queries by their seconds; {total - found} are open.",
    )


def _curve(axes: "Axes", times: Sequence[float], colour: str, dash: Any, *, wide: bool) -> None:
    if times:
        at = list(range(1, len(times) + 1))
        seconds = [max(_LEAST, each) for each in times]
        few = len(times) <= 60
        axes.plot(
            at,
            seconds,
            color=colour,
            linewidth=3.4 if wide else 1.8,
            alpha=0.45 if wide else 1.0,
            linestyle=dash,
            marker="o" if few else None,
            markersize=7 if wide else 3.5,
        )


def _seconds(axes: "Axes", times: Sequence[float]) -> None:
    """A logarithmic axis of times, from the decade below the fastest to that above the slowest."""
    low, high = 1e-3, 1e-2
    while low * 10 <= max(_LEAST, times[0]):
        low *= 10
    while high < times[-1]:
        high *= 10
    high = max(high, low * 10)
    axes.set_yscale("log")
    axes.set_ylim(low * 0.8, high * 1.25)
    ticks, tick = [], low
    while tick <= high * 1.01:
        ticks.append(tick)
        tick *= 10
    axes.set_yticks(ticks, [_label(each) for each in ticks])
    axes.minorticks_off()


def _label(seconds: float) -> str:
    return f"{seconds:g} s" if seconds >= 0.9 else f"{1000 * seconds:.0f} ms"


def _table(times: Mapping[str, Sequence[float]]) -> Table:
    columns = (Column("curve"), Column("decided", "count"), Column("seconds", "number"))
    rows = tuple(
        (label, place, seconds)
        for label, each in times.items()
        for place, seconds in enumerate(each, start=1)
    )
    return Table(columns, rows)
