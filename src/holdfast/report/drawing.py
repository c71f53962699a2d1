"""From a matplotlib figure to SVG that stands inside a page: same bytes for the same data, colours
as CSS variables, text as text, no identifier that could clash with another figure's.

Only numbers and fixed words are drawn: whatever a run names (models, classes, attacks) stands in
the page's own text, beside the figure.
"""

import io
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from holdfast.report.palette import LIGHT

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SETTINGS: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "holdfast",
    "text.parse_math": False,
    "axes.unicode_minus": False,
    "font.family": "DejaVu Sans",
    "hatch.linewidth": 1.0,
    "path.simplify": False,
}
_FONT = re.compile(r"font-family:[^;\"]*;?\s*|(font:[^;\"]*?px)[^;\"]*")
_NUMBER = re.compile(r"-?\d+\.\d{3,}")
_ATTRIBUTE = re.compile(r'="[^"]*"')
_ID = re.compile(r' id="([^"]*)"')


@dataclass(frozen=True)
class Key:
    """One line of a legend: what it names, and how that is drawn.

    Args:
        label: may hold anything; the page escapes it.
        colour: a role of `palette.LIGHT`.
        mark: `line`, `dashed`, `band`, `box` or `hatched`.
        strength: opacity of a box.
    """

    label: str
    colour: str
    mark: str = "line"
    strength: float = 1.0


@dataclass(frozen=True)
class Drawing:
    """A figure for a page.

    Args:
        name: of its files: letters, digits and dashes.
        title: what the reader sees above it.
        alt: what it shows, in words, for those who do not see it.
        svg: the drawing, one or more; of several the page shows the one that fits the screen.
        keys: the legend.
        csv: the data that it shows, unrounded.
        caption: what to bear in mind.
    """

    name: str
    title: str
    alt: str
    svg: tuple[str, ...]
    keys: tuple[Key, ...] = ()
    csv: str = ""
    caption: str = ""


def svg(
    draw: Callable[["Axes"], None], *, name: str, alt: str, size: tuple[int, int], right: int = 12
) -> str:
    """What `draw` puts on one pair of axes, as an inline SVG element.

    Args:
        name: prefix of its identifiers, unlike that of any other figure of the page.
        alt: its description.
        size: width and height in px.
        right: room beside the axes, in px; a second vertical axis needs more.

    Guarantee: the same bytes for the same drawing and version of matplotlib.
    """
    import matplotlib
    from matplotlib.figure import Figure

    width, height = size
    with matplotlib.rc_context(_SETTINGS), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        figure = Figure(figsize=(width / 72, height / 72), dpi=72)
        left, end, low, high = 56 / width, 1 - right / width, 44 / height, 1 - 10 / height
        axes = figure.add_axes((left, low, end - left, high - low))
        _plain(axes)
        draw(axes)
        sink = io.StringIO()
        metadata = {"Date": None, "Creator": None, "Type": None, "Format": None}
        figure.savefig(sink, format="svg", transparent=True, metadata=metadata)
    return inline(sink.getvalue(), name=name, alt=alt, size=size)


def inline(text: str, *, name: str, alt: str, size: tuple[int, int]) -> str:
    """A file that matplotlib wrote, as an element for a page."""
    body = text[text.index(">", text.index("<svg")) + 1 : text.rindex("</svg>")]
    body = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", body, flags=re.S)
    body = _FONT.sub(lambda found: found[1] or "", body).replace("xlink:href", "href")
    used = set(re.findall(r"(?:url\(|href=\")#([^)\"]+)", body))
    body = _ID.sub(lambda found: found[0] if found[1] in used else "", body)
    for each in sorted(used):
        body = body.replace(f'id="{each}"', f'id="{name}-{each}"').replace(
            f"#{each}", f"#{name}-{each}"
        )
    for role, colour in LIGHT.items():
        body = body.replace(colour, f"var(--{role})")
    body = re.sub(r"\s*\n\s*", " ", _ATTRIBUTE.sub(lambda found: _short(found[0]), body))
    head = f'<svg viewBox="0 0 {size[0]} {size[1]}" role="img" aria-label="{escape(alt)}">'
    return f"{head}{body.strip()}</svg>"


def _short(attribute: str) -> str:
    """An attribute with its numbers to a hundredth of a px."""
    return _NUMBER.sub(lambda number: f"{float(number[0]):.2f}", attribute)


def _plain(axes: "Axes") -> None:
    """Calm axes: no box, a faint grid of horizontal lines, muted numbers."""
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(LIGHT["line"])
    axes.tick_params(length=0, pad=7, labelsize=13, labelcolor=LIGHT["muted"])
    axes.grid(axis="y", color=LIGHT["line"], linewidth=1)
    axes.set_axisbelow(True)
