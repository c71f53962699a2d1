"""A sanity check of the attacks: accuracy against a growing radius has to fall, and to reach zero
once every image is within reach.

Source: Athalye, Carlini and Wagner 2018, arXiv:1802.00420 (signs of attacks that fail); Carlini et
al. 2019, arXiv:1902.06705.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from holdfast.report import wording
from holdfast.report.drawing import Drawing, svg
from holdfast.report.palette import LIGHT
from holdfast.report.radius import radius_ticks, share_axis
from holdfast.report.tables import Column, Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIZE = (440, 260)


def sanity_curve(result: Mapping[str, Any], name: str = "sanity") -> Drawing | None:
    """Accuracy over the radii of the sanity check; None where the run has fewer than two."""
    check = result.get("sanity")
    if not isinstance(check, Mapping):
        return None
    pairs = zip(check.get("radii") or (), check.get("robust") or (), strict=False)
    points = sorted((float(radius), float(share)) for radius, share in pairs)
    if len(points) < 2:
        return None
    radii, shares = [radius for radius, _ in points], [share for _, share in points]
    said = "; ".join(f"radius {r:.4g}: {wording.percent(share)}" for r, share in points)
    alt = f"Accuracy under attack as the radius grows. {said}."

    def draw(axes: "Axes") -> None:
        axes.plot(radii, shares, color=LIGHT["series-0"], linewidth=2.4, marker="o", ms=6)
        share_axis(axes)
        radius_ticks(axes, radii)
        axes.set_xlabel("radius", fontsize=13, color=LIGHT["muted"], labelpad=6)

    columns = (Column("radius", "number"), Column("robust", "share"))
    return Drawing(
        name=name,
        title="Does the attack get stronger with the radius?",
        alt=alt,
        svg=(svg(draw, name=name, alt=alt, size=SIZE),),
        csv=Table(columns, tuple(points)).csv(),
        caption=_caption(shares),
    )


def _caption(shares: Sequence[float]) -> str:
    """What the curve should do, and what it does."""
    rises = sum(after > before for before, after in itertools.pairwise(shares))
    said = "A working attack breaks more with every larger radius, and at last everything."
    if rises:
        return f"{said} Here the curve rises at {rises} of {len(shares) - 1} places."
    if shares[-1] > 0:
        return f"{said} Here {wording.percent(shares[-1])} stand at the largest radius."
    return f"{said} Here it does."
