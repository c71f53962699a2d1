"""Two-dimensional problems as pictures: decision regions, points, and certified boxes around them.

Source: Wong 2020, Fig 3.3; Liu 2022, Fig 3.3.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from holdfast.report.drawing import Drawing, Key, svg
from holdfast.report.palette import LIGHT, MARKERS, series
from holdfast.report.tables import Column, Table

if TYPE_CHECKING:
    import numpy
    from matplotlib.axes import Axes

    Array = numpy.ndarray[Any, Any]

SIZE = (420, 420)
_PALE = 0.22


@dataclass(frozen=True, eq=False)
class Plane:
    """What is known of a classifier of the plane.

    Args:
        regions: (H, W) the class at the points of a grid, the first row at the lowest ordinate.
        extent: (left, right, bottom, top) of the grid.
        points: (N, 2), examples.
        labels: (N,) their classes.
        boxes: named half widths (N, 2) of boxes around the points; a zero draws none.
    """

    regions: "Array"
    extent: tuple[float, float, float, float]
    points: "Array"
    labels: "Array"
    boxes: Mapping[str, "Array"]


def decision_plot(plane: Plane, name: str = "plane", title: str = "Decision regions") -> Drawing:
    """The regions of the classes, pale, with their boundary, the points and their boxes."""
    alt = (
        f"Decision regions of {len(set(plane.regions.ravel().tolist()))} classes with "
        f"{len(plane.points)} points"
        + (" and boxes: " + ", ".join(plane.boxes) if plane.boxes else "")
        + "."
    )
    marks = ("line", "dashed")
    return Drawing(
        name=name,
        title=title,
        alt=alt,
        svg=(svg(lambda axes: paint_plane(axes, plane), name=name, alt=alt, size=SIZE),),
        keys=tuple(
            Key(label, _colour(at), marks[min(at, 1)]) for at, label in enumerate(plane.boxes)
        ),
        csv=_table(plane).csv(),
    )


def paint_plane(axes: "Axes", plane: Plane) -> None:
    """The same on any axes."""
    _regions(axes, plane)
    for at, sizes in enumerate(plane.boxes.values()):
        _boxes(axes, plane.points, sizes, LIGHT[_colour(at)], dashed=at > 0)
    for label in sorted(set(plane.labels.tolist())):
        mine = plane.points[plane.labels == label]
        axes.plot(
            mine[:, 0],
            mine[:, 1],
            MARKERS[int(label) % len(MARKERS)],
            color=LIGHT[series(int(label))],
            markeredgecolor=LIGHT["ink"],
            markeredgewidth=0.8,
            ms=5,
        )
    left, right, bottom, top = plane.extent
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    axes.set_aspect("equal")
    axes.grid(visible=False)
    axes.locator_params(nbins=5)


def _regions(axes: "Axes", plane: Plane) -> None:
    """A pale colour for each class, a dark line where it ends."""
    import numpy
    from matplotlib.colors import to_rgb

    colours = [numpy.array(to_rgb(LIGHT[series(at)])) for at in range(int(plane.regions.max()) + 1)]
    pale = numpy.array([1 - _PALE * (1 - colour) for colour in colours])
    axes.imshow(
        pale[plane.regions.astype(int)],
        extent=plane.extent,
        origin="lower",
        interpolation="nearest",
        aspect="auto",
    )
    height, width = plane.regions.shape
    left, right, bottom, top = plane.extent
    x = left + (numpy.arange(width) + 0.5) * (right - left) / width
    y = bottom + (numpy.arange(height) + 0.5) * (top - bottom) / height
    present = sorted(set(plane.regions.ravel().tolist()))
    for label in present[1:] if len(present) == 2 else present:
        inside = (plane.regions == label).astype(float)
        if 0 < inside.mean() < 1:
            axes.contour(x, y, inside, levels=[0.5], colors=LIGHT["ink"], linewidths=0.9)


def _boxes(axes: "Axes", points: "Array", sizes: "Array", colour: str, *, dashed: bool) -> None:
    from matplotlib.patches import Rectangle

    style: Any = (0, (4, 2)) if dashed else "-"
    for (x, y), (wide, high) in zip(points.tolist(), sizes.tolist(), strict=True):
        if wide > 0 and high > 0:
            corner = (x - wide, y - high)
            axes.add_patch(
                Rectangle(
                    corner, 2 * wide, 2 * high, fill=False, ec=colour, lw=1.8, linestyle=style
                )
            )


def _colour(at: int) -> str:
    """The colour role of the n-th kind of boxes, apart from those of the first two classes."""
    return ("series-3", "series-2", "series-4", "series-5")[at % 4]


def _table(plane: Plane) -> Table:
    names = [f"{name} {axis}" for name in plane.boxes for axis in "xy"]
    heads = ("x", "y", "class", *names)
    columns = tuple(Column(each, "number") for each in heads)
    sizes: Sequence[Sequence[float]] = [
        [value for each in plane.boxes.values() for value in each[at].tolist()]
        for at in range(len(plane.points))
    ]
    rows = tuple(
        (*point, int(label), *more)
        for point, label, more in zip(
            plane.points.tolist(), plane.labels.tolist(), sizes, strict=True
        )
    )
    return Table(columns, rows)
