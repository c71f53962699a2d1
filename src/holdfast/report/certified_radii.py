"""The certified radii of examples, sorted: how far each model's proofs reach.

Examples that are misclassified keep their radius around the wrong class where one is given, and
stand as ticks below the curve, so that it shows whether they lie nearer to a boundary.

Source: Wong 2020, Fig 3.7.
Departure: the figure is coloured by the share classified correctly; here wrong ones are marked.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from holdfast.report import wording
from holdfast.report.drawing import Drawing, Key, svg
from holdfast.report.palette import LIGHT, series
from holdfast.report.tables import Column, Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDE, NARROW = (920, 340), (400, 300)
_DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (7, 2, 1.5, 2)))


@dataclass(frozen=True)
class Profile:
    """One model's radii.

    Args:
        radii: certified, one for each example.
        correct: whether the model's class is the label.
    """

    radii: Sequence[float]
    correct: Sequence[bool]


def radius_profile(
    profiles: Mapping[str, Profile], radius: float = math.nan, name: str = "certified-radii"
) -> Drawing | None:
    """The radii of each model in ascending order over the share of examples; None without any.

    Args:
        radius: of the threat that was trained against, marked where it is finite.
    """
    profiles = {label: each for label, each in profiles.items() if len(each.radii)}
    if not profiles:
        return None
    said = "; ".join(
        f"{label}: median {wording.decimal(_middle(each.radii))}, largest "
        f"{wording.decimal(max(each.radii))}"
        for label, each in profiles.items()
    )
    alt = f"Certified radii in ascending order. {said}."

    def draw(axes: "Axes") -> None:
        paint_profile(axes, profiles, radius)
        axes.set_xlabel("examples, sorted", fontsize=13, color=LIGHT["muted"], labelpad=6)

    keys = [
        Key(label, series(at), "line" if at % len(_DASHES) == 0 else "dashed")
        for at, label in enumerate(profiles)
    ]
    if math.isfinite(radius):
        keys.append(Key(f"radius {wording.decimal(radius)}", "ink", "dashed"))
    return Drawing(
        name=name,
        title="Certified radii",
        alt=alt,
        svg=(
            svg(draw, name=f"{name}-wide", alt=alt, size=WIDE),
            svg(draw, name=f"{name}-narrow", alt=alt, size=NARROW),
        ),
        keys=tuple(keys),
        csv=_table(profiles).csv(),
        caption="Marks on a curve are examples that the model misclassifies.",
    )


def paint_profile(axes: "Axes", profiles: Mapping[str, Profile], radius: float = math.nan) -> None:
    """The same on any axes."""
    for at, (label, each) in enumerate(profiles.items()):
        ranked = sorted(zip(each.radii, each.correct, strict=True))
        places = [(rank + 0.5) / len(ranked) for rank in range(len(ranked))]
        colour, dash = LIGHT[series(at)], _DASHES[at % len(_DASHES)]
        heights = [value for value, _ in ranked]
        axes.plot(places, heights, color=colour, linestyle=dash, lw=2.2, label=label)
        wrong = [(x, value) for x, (value, right) in zip(places, ranked, strict=True) if not right]
        if wrong:
            x, y = zip(*wrong, strict=True)
            axes.plot(x, y, "x", color=LIGHT["misclassified"], ms=6, mew=1.6)
    if math.isfinite(radius):
        axes.axhline(radius, color=LIGHT["ink"], linewidth=1.4, linestyle=(0, (4, 3)))
    axes.set_xlim(0, 1)
    axes.set_ylim(bottom=0)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0%", "25%", "50%", "75%", "100%"])
    axes.get_xticklabels()[-1].set_horizontalalignment("right")
    axes.locator_params(axis="y", nbins=5)


def _middle(values: Sequence[float]) -> float:
    return sorted(values)[(len(values) - 1) // 2]


def _table(profiles: Mapping[str, Profile]) -> Table:
    columns = (Column("model"), Column("radius", "number"), Column("correct"))
    rows = tuple(
        (label, value, "yes" if right else "no")
        for label, each in profiles.items()
        for value, right in sorted(zip(each.radii, each.correct, strict=True))
    )
    return Table(columns, rows)
