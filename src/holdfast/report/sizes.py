"""How small a change was enough: the sizes of the perturbations that broke examples, against the
threat's radius, and the cumulative share."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from holdfast.report import wording
from holdfast.report.drawing import Drawing, Key, svg
from holdfast.report.palette import LIGHT
from holdfast.report.tables import Column, Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIZE, BINS, MOST_POINTS = (440, 260), 24, 200


def size_histogram(
    examples: Mapping[str, Any], radius: float = math.nan, name: str = "sizes"
) -> Drawing | None:
    """The sizes of the perturbations that broke examples, as histogram and cumulative share; None
    where fewer than two broke, or all at one size (to a hundredth of the largest).

    Args:
        examples: columns of `examples.parquet`.
        radius: of the threat, marked where it is finite; its unit is that of the sizes.
        name: prefix of its identifiers.
    """
    if not {"outcome", "size"} <= examples.keys():
        return None
    found = _broken(examples)
    sizes = sorted(size for _, size in found)
    if len(sizes) < 2 or sizes[-1] - sizes[0] <= 0.01 * sizes[-1]:
        return None
    marked = math.isfinite(radius) and radius > 0
    top = max(sizes[-1], radius) if marked else sizes[-1]
    middle = sizes[(len(sizes) - 1) // 2]
    alt = (
        f"Histogram of the sizes of the changes that broke {len(sizes)} examples, from "
        f"{wording.decimal(sizes[0])} to {wording.decimal(sizes[-1])}; half of them fell to "
        f"{wording.decimal(middle)} or less"
        + (f", the threat's radius is {wording.decimal(radius)}." if marked else ".")
    )

    def draw(axes: "Axes") -> None:
        _bars(axes, sizes, top)
        axes.set_xlim(0, 1.02 * top)
        axes.locator_params(axis="x", nbins=5)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:.3g}")
        axes.locator_params(axis="y", nbins=4, integer=True)
        axes.set_xlabel("size of the change", fontsize=13, color=LIGHT["muted"], labelpad=6)
        other = _cumulative(axes, sizes, top)
        if marked:
            other.axvline(radius, color=LIGHT["ink"], linewidth=1.6, linestyle=(0, (4, 3)))

    keys = [Key("broken (left)", "broken", "box"), Key("share up to here (right)", "series-0")]
    if marked:
        keys.append(Key(f"radius {wording.decimal(radius)}", "ink", "dashed"))
    return Drawing(
        name=name,
        title="How small a change was enough",
        alt=alt,
        svg=(svg(draw, name=name, alt=alt, size=SIZE, right=52),),
        keys=tuple(keys),
        csv=Table((Column("index"), Column("size", "number")), tuple(found)).csv(),
        caption="Broken examples only, by the change that was kept. An attack that works at the "
        "radius does not look for the smallest change: a smaller one may exist.",
    )


def _broken(examples: Mapping[str, Any]) -> list[tuple[int, float]]:
    """Index and size of the broken examples whose size is known."""
    outcomes, sizes = examples["outcome"], examples["size"]
    indices = examples.get("index", range(len(sizes)))
    rows = zip(indices, outcomes, sizes, strict=True)
    return [(int(i), float(s)) for i, o, s in rows if str(o) == "broken" and math.isfinite(s)]


def _bars(axes: "Axes", sizes: Sequence[float], top: float) -> None:
    """Counts in equal bins from 0 to `top`."""
    width, heights = top / BINS, [0] * BINS
    for size in sizes:
        heights[min(int(size / width), BINS - 1)] += 1
    axes.bar(
        [width * at for at in range(BINS)],
        heights,
        width=width,
        align="edge",
        color=LIGHT["broken"],
        edgecolor=LIGHT["paper"],
        linewidth=1,
    )
    axes.set_ylim(0, 1.05 * max(heights))


def _cumulative(axes: "Axes", sizes: Sequence[float], top: float) -> "Axes":
    """The share of the broken examples up to each size, on axes of their own to the right."""
    count = len(sizes)
    ranks = sorted({math.ceil(count * at / MOST_POINTS) for at in range(1, MOST_POINTS + 1)})
    x = [0.0, *(sizes[rank - 1] for rank in ranks), top]
    y = [0.0, *(rank / count for rank in ranks), 1.0]
    other = axes.twinx()
    for spine in other.spines.values():
        spine.set_visible(False)
    other.step(x, y, where="post", color=LIGHT["series-0"], linewidth=2)
    other.set_ylim(0, 1.05)
    other.set_yticks([0, 0.5, 1], ["0%", "50%", "100%"])
    other.tick_params(length=0, pad=5, labelsize=13, labelcolor=LIGHT["series-0"])
    return other
