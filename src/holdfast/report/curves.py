"""Learning curves: whatever numbers `metrics.jsonl` holds, in small panels.

Losses share a panel and so do accuracies; every other number has its own. The horizontal axis is
the epoch where no series has two values in one, else the step, else the number of the record.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from holdfast.report import wording
from holdfast.report.drawing import Drawing, Key, svg
from holdfast.report.palette import LIGHT, series
from holdfast.report.tables import Column, Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Series = list[tuple[float, float]]

SIZE, MOST_POINTS, MOST_PANELS = (310, 190), 200, 6

_CLOCKS = ("epoch", "step")
_NOT_SHOWN = re.compile(
    r"seconds|time|elapsed|left$|^(epochs?|steps?|epochs_done|forwards|backwards|version)$"
)
_ACCURACY = re.compile(r"acc|clean|robust|certified")
_DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (7, 2, 1.5, 2)))


def learning_curves(metrics: Sequence[Mapping[str, Any]], name: str = "learning") -> list[Drawing]:
    """Panels of losses, of accuracies, and one of each other number, at most six.

    Args:
        metrics: the records of a run; keys that are no finite numbers are left out, and a key that
            never has two values draws nothing, nor does a setting that is always the same.
        name: prefix of the drawings' names.
    """
    metrics = _of_epochs(metrics)
    clock = _clock(metrics)
    found = _series(metrics, clock)
    groups: dict[str, list[str]] = {}
    for key in found:
        groups.setdefault(_group(key), []).append(key)
    groups = {group: keys for group, keys in groups.items() if _moves(group, keys, found)}
    order = sorted(groups, key=lambda group: (group != "Loss", group != "Accuracy"))
    times = [at for points in found.values() for at, _ in points]
    reach = (min(times), max(times)) if times else (0.0, 1.0)
    return [
        _panel(f"{name}-{number}", group, {key: found[key] for key in groups[group]}, clock, reach)
        for number, group in enumerate(order[:MOST_PANELS])
    ]


def _moves(group: str, keys: Sequence[str], found: Mapping[str, Series]) -> bool:
    """Whether a panel has something to show: a setting that never changes has not."""
    if group in ("Loss", "Accuracy"):
        return True
    return any(len({value for _, value in found[key]}) > 1 for key in keys)


def _panel(
    name: str, group: str, lines: Mapping[str, Series], clock: str, reach: tuple[float, float]
) -> Drawing:
    """One panel; its lines differ in colour and dash, and all panels have the same times."""
    thinned = any(len(points) > MOST_POINTS for points in lines.values())
    words = "; ".join(
        f"{key} from {wording.decimal(points[0][1])} to {wording.decimal(points[-1][1])}"
        for key, points in lines.items()
    )
    alt = f"{group} over the {clock}: {words}."
    shares = group == "Accuracy" and all(0 <= v <= 1 for p in lines.values() for _, v in p)

    def draw(axes: "Axes") -> None:
        for at, points in enumerate(lines.values()):
            x, y = zip(*_thin(points), strict=True)
            dash = _DASHES[at % len(_DASHES)]
            axes.plot(x, y, color=LIGHT[series(at)], linewidth=2, linestyle=dash)
        if shares:
            axes.set_ylim(-0.02, 1.02)
            axes.set_yticks([0, 0.5, 1], ["0%", "50%", "100%"])
        else:
            axes.locator_params(axis="y", nbins=4)
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:.3g}")
        room = 0.03 * (reach[1] - reach[0])
        axes.set_xlim(reach[0] - room, reach[1] + room)
        axes.locator_params(axis="x", nbins=6, integer=True)
        axes.set_xlabel(clock, fontsize=13, color=LIGHT["muted"], labelpad=6)

    alone = list(lines) == [group.replace(" ", "_")]
    return Drawing(
        name=name,
        title=group,
        alt=alt,
        svg=(svg(draw, name=name, alt=alt, size=SIZE),),
        keys=()
        if alone
        else tuple(
            Key(key, series(at), "line" if at % len(_DASHES) == 0 else "dashed")
            for at, key in enumerate(lines)
        ),
        csv=_table(lines, clock).csv(),
        caption=f"Means of neighbouring values, {MOST_POINTS} per curve." if thinned else "",
    )


def _clock(metrics: Sequence[Mapping[str, Any]]) -> str:
    """What the horizontal axis counts."""
    for name in _CLOCKS:
        rows = [record for record in metrics if _is_number(record.get(name))]
        seen = [(key, record[name]) for record in rows for key in _numbers(record)]
        if rows and len(seen) == len(set(seen)):
            return name
    return "record"


def _series(metrics: Sequence[Mapping[str, Any]], clock: str) -> dict[str, Series]:
    """The values of every key that has at least two, with their places, in order of appearance."""
    found: dict[str, Series] = {}
    for number, record in enumerate(metrics, start=1):
        at: Any = number if clock == "record" else record.get(clock)
        if _is_number(at):
            for key in _numbers(record):
                found.setdefault(key, []).append((float(at), float(record[key])))
    return {key: points for key, points in found.items() if len(points) > 1}


def _of_epochs(metrics: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The records with one value per key and time: where there are records of whole epochs
    (`event = "epoch"`), what those hold is taken from them alone, and steps become fractions of
    epochs."""
    whole = [record for record in metrics if record.get("event") == "epoch"]
    if len(whole) < 2 or not all(_is_number(record.get("step")) for record in whole):
        return [dict(record) for record in metrics]
    held = {key for record in whole for key in _numbers(record)}
    pace = len(whole) / max(1, whole[-1]["step"])
    parts = [
        {key: record[key] for key in _numbers(record) if key not in held}
        | {"epoch": record["step"] * pace}
        for record in metrics
        if record.get("event") == "step" and _is_number(record.get("step"))
    ]
    numbered = [{**record, "epoch": at} for at, record in enumerate(whole, start=1)]
    return numbered + parts


def _numbers(record: Mapping[str, Any]) -> list[str]:
    return [
        key
        for key, value in record.items()
        if _is_number(value) and not _NOT_SHOWN.search(key.lower())
    ]


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _group(key: str) -> str:
    if "loss" in key.lower():
        return "Loss"
    return "Accuracy" if _ACCURACY.search(key.lower()) else key.replace("_", " ")


def _thin(points: Series) -> Series:
    """At most so many points: the means of equal runs of neighbours."""
    size = math.ceil(len(points) / MOST_POINTS)
    runs = [points[at : at + size] for at in range(0, len(points), size)]
    return [(sum(x for x, _ in run) / len(run), sum(y for _, y in run) / len(run)) for run in runs]


def _table(lines: Mapping[str, Series], clock: str) -> Table:
    columns = (Column("name"), Column(clock, "number"), Column("value", "number"))
    rows = tuple((key, x, y) for key, points in lines.items() for x, y in points)
    return Table(columns, rows)
