"""Bounding maps: the certified radius of every pixel, as a picture beside the image.

A light pixel has a small radius: the model may change its mind there; a dark one does not matter.

Source: Liu 2022, Fig 3.5.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from holdfast.report.drawing import Drawing, inline

if TYPE_CHECKING:
    import numpy
    from matplotlib.figure import Figure

    Array = numpy.ndarray[Any, Any]

MOST_ROWS, _CELL, _ROOM = 12, 110, 26


def bounding_maps(
    images: "Array", maps: Mapping[str, "Array"], name: str = "bounding-maps"
) -> Drawing:
    """One row for each image: the image, then its map by each model.

    Args:
        images: (N, C, H, W) in [0, 1]; at most twelve are shown.
        maps: (N, C, H, W) in [0, 1], of each model, light where the radius is small
            (`certify.bounding_map`); of several channels the mean is shown.
    """
    import io

    import matplotlib

    rows = min(MOST_ROWS, len(images))
    alt = f"{rows} images, each with its bounding map by {', '.join(maps) or 'no model'}."
    size = (_CELL * (1 + len(maps)), rows * _CELL + _ROOM)
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "holdfast"}):
        figure = maps_figure(images, maps, size)
        sink = io.StringIO()
        metadata: Any = {"Date": None, "Creator": None, "Type": None, "Format": None}
        figure.savefig(sink, format="svg", transparent=True, metadata=metadata)
    drawn = inline(sink.getvalue(), name=name, alt=alt, size=size)
    caption = "Light: a small certified radius. Dark: the pixel hardly matters to the model."
    return Drawing(name=name, title="Bounding maps", alt=alt, svg=(drawn,), csv="", caption=caption)


def maps_figure(images: "Array", maps: Mapping[str, "Array"], size: tuple[int, int]) -> "Figure":
    """The same as a figure, so many px large."""
    from matplotlib.figure import Figure

    rows, columns = min(MOST_ROWS, len(images)), 1 + len(maps)
    width, height = size
    figure = Figure(figsize=(width / 72, height / 72), dpi=72)
    shown = {"image": images, **maps}
    for column, (label, pictures) in enumerate(shown.items()):
        for row in range(rows):
            bottom = 1 - (_ROOM + (row + 1) * _CELL) / height
            place = (column / columns + 0.02, bottom, 1 / columns - 0.04, (_CELL - 6) / height)
            axes = figure.add_axes(place)
            axes.set_axis_off()
            picture = pictures[row]
            pixels = picture.transpose(1, 2, 0) if len(picture) == 3 else picture.mean(axis=0)
            if column and pixels.ndim == 3:
                pixels = pixels.mean(axis=2)
            axes.imshow(pixels.clip(0, 1), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            if row == 0:
                axes.set_title(label, fontsize=12, pad=6)
    return figure
