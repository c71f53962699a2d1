"""The figures of a page, from results, examples and metrics as they were written.

Symbols: an answer is an interval, certified <= true <= attacked; the band between the two curves of
a model is what is not known.
"""

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from holdfast.core.errors import InputError
from holdfast.core.numbers import number
from holdfast.report import tables, wording
from holdfast.report.drawing import Drawing, Key, svg
from holdfast.report.palette import LIGHT, MARKERS, series
from holdfast.report.tables import Column, Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Result = Mapping[str, Any]

WIDE, NARROW, PANEL = (920, 400), (400, 320), (400, 236)
OUTCOMES = ("certified", "undecided", "broken", "misclassified")


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
            _two_curves(axes, result["radii"], colour[at], MARKERS[at % len(MARKERS)])
            _intervals(axes, result["radii"], colour[at], 5 * (place - (len(shown) - 1) / 2))
        _own_radius(axes, [result for _, result, _ in shown])
        _shares(axes)
        _radius_ticks(axes, sorted({p["radius"] for _, each, _ in shown for p in each["radii"]}))
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


def outcome_bar(result: Result, name: str = "outcomes") -> Drawing:
    """Where the examples ended: certified, undecided, broken by which attack, misclassified; one
    bar whose parts are proportional to the counts."""
    parts = _parts(result)
    total = max(1, sum(count for _, _, count in parts))
    words = ", ".join(f"{count} {label}" for label, _, count in parts)
    alt = f"Of {result['examples']} examples: {words}."
    body, left = [], 0.0
    for label, role, count in parts:
        width = 100 * count / total
        body.append(_segment(left, width, role, label, wording.percent(count / total)))
        left += width
    drawn = f'<svg class="bar" role="img" aria-label="{escape(alt)}">{"".join(body)}</svg>'
    table = Table(
        (Column("outcome"), Column("examples", "count"), Column("share", "share")),
        tuple((label, count, count / total) for label, _, count in parts),
    )
    keys = tuple(
        Key(f"{label} {wording.count(count)}", role, "hatched" if role == "undecided" else "box")
        for label, role, count in parts
    )
    return Drawing(name, "What became of every example", alt, (drawn,), keys, table.csv())


def margin_histogram(examples: Mapping[str, Any], name: str = "margins") -> Drawing | None:
    """How far from the decision boundary the examples stayed: the smallest logit margin that any
    method found, by outcome; None where there are no margins.

    Args:
        examples: columns of `examples.parquet`.
    """
    if not {"margin", "outcome"} <= examples.keys():
        return None
    pairs = zip(examples["outcome"], examples["margin"], strict=True)
    found = [(str(o), float(m)) for o, m in pairs if math.isfinite(m)]
    if not found:
        return None
    edges = _edges([margin for _, margin in found])
    present = [each for each in OUTCOMES if any(outcome == each for outcome, _ in found)]
    heights = {each: _heights([m for o, m in found if o == each], edges) for each in present}
    below = sum(margin <= 0 for _, margin in found)
    alt = (
        f"Histogram of the smallest margins of {len(found)} examples from "
        f"{edges[0]:.3g} to {edges[-1]:.3g}; {below} lie at or below 0."
    )

    def draw(axes: "Axes") -> None:
        base = [0] * (len(edges) - 1)
        for each in present:
            axes.bar(
                edges[:-1],
                heights[each],
                width=edges[1] - edges[0],
                bottom=base,
                align="edge",
                color=LIGHT[each],
                edgecolor=LIGHT["paper"],
                linewidth=1,
            )
            base = [low + high for low, high in zip(base, heights[each], strict=True)]
        axes.axvline(0, color=LIGHT["ink"], linewidth=1)
        axes.set_xlabel("logit margin", fontsize=13, color=LIGHT["muted"], labelpad=6)

    return Drawing(
        name=name,
        title="Smallest margin found",
        alt=alt,
        svg=(svg(draw, name=name, alt=alt, size=PANEL),),
        keys=tuple(Key(each, each, "box") for each in present),
        csv=Table((Column("outcome"), Column("margin", "number")), tuple(found)).csv(),
        caption="The smallest value of the true class's logit less the largest other, over "
        "everything tried. Certified examples are not attacked: theirs is the clean margin.",
    )


def _two_curves(
    axes: "Axes", points: Sequence[Mapping[str, Any]], colours: tuple[str, str], marker: str
) -> None:
    upper, lower = (LIGHT[colour] for colour in colours)
    at = [point["radius"] for point in points]
    robust = [point["robust_accuracy"] for point in points]
    proved = [share for point in points if (share := point.get("certified_accuracy")) is not None]
    if len(proved) == len(at):
        axes.fill_between(at, proved, robust, color=upper, alpha=0.14, linewidth=0)
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
    own = {_radius_of(result) for result in results} & measured
    for radius in sorted(own):
        axes.axvline(radius, color=LIGHT["muted"], linewidth=1.2, linestyle=(0, (1.5, 3)))


def _radius_ticks(axes: "Axes", radii: Sequence[float]) -> None:
    """Ticks at the measured radii; of those too near to each other to be read, the first."""
    room = 52 * (radii[-1] - radii[0]) / axes.bbox.width
    kept: list[float] = []
    for radius in radii:
        if not kept or radius - kept[-1] >= room:
            kept.append(radius)
    axes.set_xticks(kept, [f"{radius:.3g}" for radius in kept])


def _radius_of(result: Result) -> float:
    """The radius in the threat's text form; NaN where it has none."""
    text = str(result.get("threat") or "").partition(":")[2].partition(",")[0]
    try:
        return number(text)
    except InputError:
        return math.nan


def _shares(axes: "Axes") -> None:
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


def _parts(result: Result) -> list[tuple[str, str, int]]:
    """Label, role and count of every outcome that occurs; broken ones by attack."""
    total = result["examples"]
    clean = round(result["clean_accuracy"] * total)
    robust = round(result["robust_accuracy"] * total)
    proved = round((result.get("certified_accuracy") or 0) * total)
    parts = [("certified", "certified", proved), ("undecided", "undecided", robust - proved)]
    standing, broken = clean, []
    for attack in result.get("attacks") or ():
        after = round(attack["robust_accuracy"] * total)
        broken.append((f"broken by {attack['name']}", "broken", standing - after))
        standing = after
    parts += [*reversed(broken), ("misclassified", "misclassified", total - clean)]
    return [part for part in parts if part[2] > 0]


def _segment(left: float, width: float, role: str, label: str, share: str) -> str:
    """One part of the bar; its share is written into it where there is room."""
    text = (
        f'<text x="{left + width / 2:.3f}%" y="50%" class="in-{role}">{escape(share)}</text>'
        if width >= 9
        else ""
    )
    box = f'x="{left:.3f}%" width="{width:.3f}%" height="100%" class="part {role}"'
    return f"<g><title>{escape(label)}: {escape(share)}</title><rect {box}/>{text}</g>"


def _edges(margins: Sequence[float], bins: int = 28) -> list[float]:
    """Edges of equal bins over the middle 99 %, one of them at 0, so that none mixes the signs."""
    ordered = sorted(margins)
    low = min(0.0, ordered[int(0.005 * (len(ordered) - 1))])
    high = max(0.0, ordered[math.ceil(0.995 * (len(ordered) - 1))])
    width = (high - low) / bins or 1.0
    first, last = math.floor(low / width), math.ceil(high / width)
    return [width * step for step in range(first, max(last, first + 1) + 1)]


def _heights(values: Sequence[float], edges: Sequence[float]) -> list[int]:
    """How many values lie in each bin, open below and closed above; the outer bins take what lies
    beyond."""
    width, heights = edges[1] - edges[0], [0] * (len(edges) - 1)
    for value in values:
        place = math.ceil((value - edges[0]) / width) - 1
        heights[min(max(place, 0), len(heights) - 1)] += 1
    return heights
