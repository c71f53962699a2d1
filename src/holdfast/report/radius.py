"""Accuracy against the radius, from the results of one or several evaluations.

Symbols: an answer is an interval, certified <= true <= attacked; the band between the two curves of
a model is what is not known.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from holdfast.core.errors import InputError
from holdfast.core.numbers import number
from holdfast.report import tables, wording
from holdfast.report.drawing import Drawing, Key, svg
from holdfast.report.palette import LIGHT, MARKERS, series

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Result = Mapping[str, Any]

WIDE, NARROW = (920, 400), (400, 320)


def accuracy_against_radius(results: Sequence[Result], names: Sequence[str] = ()) -> Drawing | None:
    """Attacked (solid) and certified (dashed) accuracy of each model over the radius, the band
    between them, and 95 % Clopper-Pearson intervals as bars; None where no radius was asked for.

    Args:
        results: evaluations; those without radii are left out.
        names: of the models in the legend; by default the results' own.
    """
    names = names or [str(result.get("model") or "model") for result in results]
    shown = [(at, each, names[at]) for at, each in enumerate(results) if each.get("radii")]
    if not shown:
        return None
    alone = len(results) == 1
    named = [{**each, "model": name} for _, each, name in shown]
    alt = "Accuracy against the radius. " + " ".join(map(_radius_words, named))
    colour = {at: _colours(at, alone=alone) for at, _, _ in shown}

    def draw(axes: "Axes") -> None:
        for place, (at, result, _) in enumerate(shown):
            _two_curves(axes, result["radii"], colour[at], MARKERS[at % len(MARKERS)], alone)
            _intervals(axes, result["radii"], colour[at], 5 * (place - (len(shown) - 1) / 2))
        _own_radius(axes, [result for _, result, _ in shown])
        share_axis(axes)
        radius_ticks(axes, sorted({p["radius"] for _, each, _ in shown for p in each["radii"]}))
        axes.set_xlabel("radius", fontsize=13, color=LIGHT["muted"], labelpad=6)

    name = "accuracy-against-radius"
    drawn = (
        svg(draw, name=f"{name}-wide", alt=alt, size=WIDE),
        svg(draw, name=f"{name}-narrow", alt=alt, size=NARROW),
    )
    keys = tuple(
        key
        for at, each, label in shown
        for key in _radius_keys(each, "" if alone else f"{label}: ", colour[at], band=alone)
    )
    return Drawing(
        name=name,
        title="Accuracy against radius",
        alt=alt,
        svg=drawn,
        keys=keys,
        csv=tables.radii(named).csv(),
        caption="At radius 0 both curves are the clean accuracy. Bars are 95% Clopper-Pearson "
        "intervals; between the marked radii, lines only guide the eye.",
    )


def _two_curves(
    axes: "Axes",
    points: Sequence[Mapping[str, Any]],
    colours: tuple[str, str],
    marker: str,
    alone: bool,
) -> None:
    upper, lower = (LIGHT[colour] for colour in colours)
    at = [point["radius"] for point in points]
    robust = [point["robust_accuracy"] for point in points]
    proved = [share for point in points if (share := point.get("certified_accuracy")) is not None]
    if len(proved) == len(at):
        axes.fill_between(
            at, proved, robust, color=upper, alpha=0.14 if alone else 0.07, linewidth=0
        )
        axes.plot(
            at, proved, color=lower, linewidth=2.2, linestyle=(0, (5, 2.5)), marker=marker, ms=6
        )
    axes.plot(at, robust, color=upper, linewidth=2.6, marker=marker, ms=6.5)


def _intervals(
    axes: "Axes", points: Sequence[Mapping[str, Any]], colours: tuple[str, str], aside: float
) -> None:
    """The confidence intervals as thin vertical bars, so many px aside of their points."""
    from matplotlib.transforms import ScaledTranslation

    figure = axes.get_figure(root=True)
    if figure is None:
        return
    moved = axes.transData + ScaledTranslation(aside / 72, 0, figure.dpi_scale_trans)
    for side, colour in zip(("robust", "certified"), colours, strict=True):
        for point in points:
            if (interval := point.get(f"{side}_interval")) is not None:
                at = (point["radius"], point["radius"])
                axes.plot(
                    at, interval, color=LIGHT[colour], linewidth=3.5, alpha=0.3, transform=moved
                )


def _own_radius(axes: "Axes", results: Sequence[Result]) -> None:
    """A dotted line at the radius that the headline is about, where it was measured."""
    measured = {point["radius"] for result in results for point in result["radii"]}
    own = {radius_of(result) for result in results} & measured
    for radius in sorted(own):
        axes.axvline(radius, color=LIGHT["muted"], linewidth=1.2, linestyle=(0, (1.5, 3)))


def radius_ticks(axes: "Axes", radii: Sequence[float]) -> None:
    """Ticks at the measured radii; of those too near to each other to be read, the first."""
    room = 52 * (radii[-1] - radii[0]) / axes.bbox.width
    kept: list[float] = []
    for radius in radii:
        if not kept or radius - kept[-1] >= room:
            kept.append(radius)
    axes.set_xticks(kept, [f"{radius:.3g}" for radius in kept])


def radius_of(result: Result) -> float:
    """The radius in the threat's text form; NaN where it has none."""
    kind, _, rest = str(result.get("threat") or "").partition(":")
    if "(" in kind:
        return math.nan
    try:
        return number(rest.partition(",")[0])
    except InputError:
        return math.nan


def share_axis(axes: "Axes") -> None:
    """A vertical axis from 0 to 100 %."""
    axes.set_ylim(-0.015, 1.015)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0%", "25%", "50%", "75%", "100%"])


def _colours(at: int, *, alone: bool) -> tuple[str, str]:
    """The colours of the attacked and the certified curve."""
    return (series(0), series(2)) if alone else (series(at), series(at))


def _radius_keys(result: Result, prefix: str, colours: tuple[str, str], *, band: bool) -> list[Key]:
    keys = [Key(f"{prefix}not broken by any attack", colours[0])]
    if result["radii"][0].get("certified_accuracy") is not None:
        keys.append(Key(f"{prefix}certified", colours[1], "dashed"))
        keys += [Key("not known", colours[0], "band")] if band else []
    return keys


def _radius_words(result: Result) -> str:
    points = "; ".join(
        f"radius {point['radius']:.4g}: at most {wording.percent(point['robust_accuracy'])}"
        + _at_least(point.get("certified_accuracy"))
        for point in result["radii"]
    )
    return f"{result['model']}: {points}."


def _at_least(proved: float | None) -> str:
    return "" if proved is None else f", at least {wording.percent(proved)}"
