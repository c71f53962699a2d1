"""What became of every example: the bar of outcomes, and the histogram of margins."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from holdfast.report import wording
from holdfast.report.drawing import Drawing, Key, svg
from holdfast.report.palette import LIGHT
from holdfast.report.tables import Column, Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Result = Mapping[str, Any]

SIZE = (440, 260)
MOST_ATTACKS = 4
OUTCOMES = ("certified", "undecided", "broken", "misclassified")


def outcome_bar(result: Result, name: str = "outcomes") -> Drawing:
    """Where the examples ended: certified, undecided, broken by which attack, misclassified; one
    bar whose parts are proportional to the counts."""
    parts = _parts(result)
    total = max(1, sum(part.count for part in parts))
    words = ", ".join(f"{part.count} {part.label}" for part in parts)
    alt = f"Of {result['examples']} examples: {words}."
    body, left = [], 0.0
    for part in parts:
        body.append(_segment(part, left, 100 * part.count / total))
        left += 100 * part.count / total
    drawn = f'<svg class="bar" role="img" aria-label="{escape(alt)}">{"".join(body)}</svg>'
    table = Table(
        (Column("outcome"), Column("examples", "count"), Column("share", "share")),
        tuple((part.label, part.count, part.count / total) for part in parts),
    )
    return Drawing(
        name=name,
        title="What became of every example",
        alt=alt,
        svg=(drawn,),
        keys=tuple(part.key() for part in parts),
        csv=table.csv(),
    )


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
        svg=(svg(draw, name=name, alt=alt, size=SIZE),),
        keys=tuple(Key(each, each, "box") for each in present),
        csv=Table((Column("outcome"), Column("margin", "number")), tuple(found)).csv(),
        caption="The smallest value of the true class's logit less the largest other, over "
        "everything tried. Certified examples are not attacked: theirs is the clean margin.",
    )


@dataclass(frozen=True)
class _Part:
    """One outcome: what it is called, its colour and opacity, how many examples have it."""

    label: str
    role: str
    strength: float
    count: int

    def key(self) -> Key:
        mark = "hatched" if self.role == "undecided" else "box"
        label = f"{self.label} {wording.count(self.count)}"
        return Key(label, self.role, mark, self.strength)


def _parts(result: Result) -> list[_Part]:
    """Every outcome that occurs; broken ones by attack, later attacks in fainter colour."""
    total = result["examples"]
    clean = round(result["clean_accuracy"] * total)
    robust = round(result["robust_accuracy"] * total)
    proved = round((result.get("certified_accuracy") or 0) * total)
    broken = _broken(result, clean, robust)
    parts = [
        _Part("certified", "certified", 1, proved),
        _Part("undecided", "undecided", 1, robust - proved),
        *reversed(broken),
        _Part("misclassified", "misclassified", 1, total - clean),
    ]
    return [part for part in parts if part.count > 0]


def _broken(result: Result, clean: int, robust: int) -> list[_Part]:
    """The broken ones by attack; together where more than a few attacks broke some, or where the
    attacks do not account for all."""
    standing, broken = clean, []
    for place, attack in enumerate(result.get("attacks") or ()):
        after = round(attack["robust_accuracy"] * result["examples"])
        strength = max(0.35, 1 - 0.3 * place)
        broken.append(_Part(f"broken by {attack['name']}", "broken", strength, standing - after))
        standing = after
    if sum(part.count > 0 for part in broken) > MOST_ATTACKS or standing != robust:
        return [_Part("broken", "broken", 1, clean - robust)]
    return broken


def _segment(part: _Part, left: float, width: float) -> str:
    """One part of the bar, in percent of its width; its share is written into it where there is
    room."""
    share = escape(wording.percent(width / 100))
    look, text = f"in-{part.role}" + (" faint" if part.strength < 1 else ""), ""
    if width >= 14:
        text = f'<text x="{left + width / 2:.3f}%" y="50%" class="{look}">{share}</text>'
    place = f'x="{left:.3f}%" width="{width:.3f}%" height="100%"'
    box = f'<rect {place} class="part {part.role}" fill-opacity="{part.strength:.2g}"/>'
    return f"<g><title>{escape(part.label)}: {share}</title>{box}{text}</g>"


def _edges(margins: Sequence[float], bins: int = 28) -> list[float]:
    """Edges of equal bins over the middle 99 %, one of them at 0 with a bin on either
    side, so that none mixes the signs."""
    ordered = sorted(margins)
    low = min(0.0, ordered[int(0.005 * (len(ordered) - 1))])
    high = max(0.0, ordered[math.ceil(0.995 * (len(ordered) - 1))])
    width = (high - low) / bins or 1.0
    first, last = min(-1, math.floor(low / width)), max(1, math.ceil(high / width))
    return [width * step for step in range(first, last + 1)]


def _heights(values: Sequence[float], edges: Sequence[float]) -> list[int]:
    """How many values lie in each bin, open below and closed above; the outer bins take what lies
    beyond."""
    width, heights = edges[1] - edges[0], [0] * (len(edges) - 1)
    first = round(edges[0] / width)
    for value in values:
        place = math.ceil(value / width) - 1 - first
        heights[min(max(place, 0), len(heights) - 1)] += 1
    return heights
