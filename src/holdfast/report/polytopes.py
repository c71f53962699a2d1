"""What a network makes of a ball, in two outputs: sampled points inside of outer bounds.

Source: Wong 2020, Figs 3.4 and 3.5.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from holdfast.report import wording
from holdfast.report.drawing import Drawing, Key, svg
from holdfast.report.palette import LIGHT
from holdfast.report.tables import Column, Table

if TYPE_CHECKING:
    import numpy
    from matplotlib.axes import Axes

    Array = numpy.ndarray[Any, Any]

SIZE = (420, 340)
_ROLES = ("series-2", "series-1", "series-3", "series-4")
_DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (7, 2, 1.5, 2)))


@dataclass(frozen=True, eq=False)
class Polytope:
    """Reached outputs, and polygons that hold them.

    Args:
        reached: (N, 2) outputs of sampled inputs.
        bounds: the corners (n, 2) of outer polygons, by name.
    """

    reached: "Array"
    bounds: Mapping[str, "Array"]


def polytope_plot(
    polytope: Polytope, name: str = "polytope", title: str = "Outputs that the ball can reach"
) -> Drawing:
    """Reached outputs as grey points, each outer polygon as a line."""
    spans = [
        f"{label} spans {wording.decimal(wide)} by {wording.decimal(high)}"
        for label, (wide, high) in (
            ("the sample", _spans(polytope.reached)),
            *((each, _spans(corners)) for each, corners in polytope.bounds.items()),
        )
    ]
    alt = f"{len(polytope.reached)} reached outputs within outer bounds: {'; '.join(spans)}."
    return Drawing(
        name=name,
        title=title,
        alt=alt,
        svg=(svg(lambda axes: paint_polytope(axes, polytope), name=name, alt=alt, size=SIZE),),
        keys=(
            Key("reached", "undecided", "box"),
            *(
                Key(label, _ROLES[at % len(_ROLES)], "line" if at == 0 else "dashed")
                for at, label in enumerate(polytope.bounds)
            ),
        ),
        csv=_table(polytope).csv(),
    )


def paint_polytope(axes: "Axes", polytope: Polytope) -> None:
    """The same on any axes."""
    reached = polytope.reached
    axes.plot(
        reached[:, 0], reached[:, 1], ".", color=LIGHT["undecided"], ms=2, rasterized=True, zorder=1
    )
    for at, (label, corners) in enumerate(polytope.bounds.items()):
        closed = [*corners.tolist(), corners[0].tolist()]
        x, y = zip(*closed, strict=True)
        axes.plot(
            x,
            y,
            color=LIGHT[_ROLES[at % len(_ROLES)]],
            linestyle=_DASHES[at % len(_DASHES)],
            lw=1.9,
            label=label,
            zorder=2,
        )
    axes.margins(0.06)
    axes.locator_params(nbins=4)
    axes.grid(visible=False)


def _spans(points: "Array") -> tuple[float, float]:
    wide, high = (points.max(axis=0) - points.min(axis=0)).tolist()
    return wide, high


def _table(polytope: Polytope) -> Table:
    columns = (Column("bound"), Column("first", "number"), Column("second", "number"))
    rows = tuple(
        (label, *corner)
        for label, corners in polytope.bounds.items()
        for corner in corners.tolist()
    )
    return Table(columns, rows)
