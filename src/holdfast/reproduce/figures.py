"""The figures of reproductions: bars beside published figures, sweeps, success curves, pictures.

Ours are filled, published ones hollow diamonds; where the setting is not the published one the
legend says so. Colours are those of Okabe and Ito 2008, darkened; series differ in dash as well.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from holdfast.measures.queries import Queries
from holdfast.reproduce.page import words
from holdfast.reproduce.records import NOT_PUBLISHED, Finding, Reproduction

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from torch import Tensor

COLOURS = ("#0a5fa3", "#b04508", "#00756a", "#7d3c9b", "#6e5f00", "#b0286a", "#4a5560")
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (7, 2, 1.5, 2)))
INK, MUTED, LINE = "#1c2630", "#55616d", "#d5dade"

Draw = Callable[[Finding, Reproduction], "Figure"]


def blank(width: float, height: float, panels: int = 1) -> tuple["Figure", list["Axes"]]:
    """A figure with calm axes side by side; sizes in inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    axes = list(figure.subplots(1, panels, squeeze=False)[0])
    for each in axes:
        _calm(each)
    return figure, axes


def bars(finding: Finding, entry: Reproduction) -> "Figure":
    """One panel for each measure, one bar for each line."""
    names = [name for name, line in finding.lines.items() if line]
    measures = [
        m for m in entry.measures if any(finding.lines[n].get(m) is not None for n in names)
    ]
    count = max(1, len(measures))
    figure, axes = blank(3.1 + 2.5 * count, 1.3 + 0.28 * max(2, len(names)), count)
    for at, (each, measure) in enumerate(zip(axes, measures, strict=False)):
        ours = [finding.lines[name].get(measure) for name in names]
        theirs = [entry.published.get(name, {}).get(measure) for name in names]
        _bars(each, ours, theirs)
        each.set_yticks(range(len(names)), names if at == 0 else [""] * len(names))
        each.invert_yaxis()
        each.set_xlabel(words(measure), color=MUTED)
        _per_cent(each, measure)
    _setting(figure, finding)
    return figure


def _bars(axes: "Axes", ours: Sequence[float | None], theirs: Sequence[float | None]) -> None:
    places = [at for at, value in enumerate(ours) if value is not None]
    axes.barh(places, [ours[at] or 0 for at in places], height=0.62, color=COLOURS[0], label="ours")
    there = [(value, at) for at, value in enumerate(theirs) if value is not None]
    if there:
        x, y = zip(*there, strict=True)
        axes.plot(x, y, "D", mfc="white", mec=COLOURS[1], mew=1.4, ms=6, label="published")
    axes.grid(axis="x", color=LINE)
    axes.set_axisbelow(True)
    axes.set_xlim(left=0)


def sweep(
    values: Mapping[str, Mapping[float, str]],
    label: str,
    *,
    log: bool = False,
    measures: Sequence[str] | None = None,
    against: tuple[str, str] | None = None,
) -> Draw:
    """A figure of the measures over a parameter.

    Args:
        values: of each series, the line of each value.
        label: of the parameter.
        log: its axis is logarithmic.
        measures: that have a panel; None: those of the entry's table.
        against: two measures that a further panel has on its axes, see `tradeoff`; or None.
    """

    def draw(finding: Finding, entry: Reproduction) -> "Figure":
        shown = entry.measures if measures is None else measures
        panels = len(shown) + (against is not None)
        figure, axes = blank(3.3 * panels, 3.2, panels)
        if against is not None:
            groups = {name: list(lines.values()) for name, lines in values.items()}
            _trade(axes.pop(), finding, entry, groups, against)
        for panel, measure in zip(axes, shown, strict=True):
            for at, (series, lines) in enumerate(values.items()):
                found = [(v, finding.lines.get(n, {}).get(measure)) for v, n in lines.items()]
                points = [(value, y) for value, y in found if y is not None]
                if points:
                    x, y = zip(*points, strict=True)
                    _line(panel, x, y, at, series)
            panel.set_title(words(measure), fontsize=11, color=INK, loc="left")
            panel.set_xlabel(label, color=MUTED)
            panel.set_ylim(bottom=0)
            if log:
                panel.set_xscale("log")
                ticks = apart({value for lines in values.values() for value in lines})
                panel.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
                panel.set_xticks([], minor=True)
            _per_cent(panel, measure, axis="y")
        axes[0].legend(frameon=False, fontsize=9)
        _setting(figure, finding)
        return figure

    return draw


def tradeoff(series: Mapping[str, Sequence[str]], against: tuple[str, str]) -> Draw:
    """One measure of each line over another: how much of one is paid with the other.

    Args:
        series: the lines of each colour.
        against: the measures, across and up.
    """

    def draw(finding: Finding, entry: Reproduction) -> "Figure":
        figure, (axes,) = blank(7.2, 4.6)
        _trade(axes, finding, entry, series, against)
        axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1))
        _setting(figure, finding)
        return figure

    return draw


def _trade(
    axes: "Axes",
    finding: Finding,
    entry: Reproduction,
    series: Mapping[str, Sequence[str]],
    against: tuple[str, str],
) -> None:
    """A dot for each line of ours, a hollow diamond for each published one."""
    for number, (label, names) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        style: dict[str, Any] = {"mec": colour, "ms": 5, "mew": 1.3, "linestyle": "none"}
        x, y = _pairs(finding.lines, names, against)
        axes.plot(x, y, marker="o", mfc=colour, label=label, **style)
        x, y = _pairs(entry.published, names, against)
        axes.plot(x, y, marker="D", mfc="white", **style)
    axes.set_xlabel(words(against[0]), color=MUTED)
    axes.set_ylabel(words(against[1]), color=MUTED)
    for measure, axis in zip(against, ("x", "y"), strict=True):
        _per_cent(axes, measure, axis)


def _pairs(
    lines: Mapping[str, Mapping[str, float | None]], names: Sequence[str], against: tuple[str, str]
) -> tuple[list[float], list[float]]:
    """Two measures of the lines that have both."""
    found = [[lines.get(name, {}).get(each) for each in against] for name in names]
    points = [(x, y) for x, y in found if x is not None and y is not None]
    return [x for x, _ in points], [y for _, y in points]


def apart(values: set[float], factor: float = 1.9) -> list[float]:
    """Those of the values, ascending, that stand so far apart that their labels fit a log axis.

    Example:
        >>> apart({0.1, 0.15, 0.2, 0.4})
        [0.1, 0.2, 0.4]
    """
    found: list[float] = []
    for value in sorted(values):
        if not found or value >= factor * found[-1]:
            found.append(value)
    return found


def success_curves(panels: Mapping[str, Sequence[str]], low: int = 200) -> Draw:
    """Success rate over queries, of the rows of each panel: up to `low`, and up to the budget."""

    def draw(finding: Finding, entry: Reproduction) -> "Figure":
        budgets = (min(low, finding.size.queries), finding.size.queries)
        shown = {
            title: [name for name in names if name in finding.outcomes]
            for title, names in panels.items()
        }
        shown = {title: names for title, names in shown.items() if names}
        figure, _ = blank(8, 0.6 + 3 * len(shown))
        figure.clear()
        grid = figure.subplots(max(1, len(shown)), 2, squeeze=False)
        for row, (title, names) in zip(grid, shown.items(), strict=False):
            for axes_, budget in zip(row, budgets, strict=True):
                _calm(axes_)
                _curves(axes_, {name: finding.outcomes[name] for name in names}, budget)
                axes_.set_title(f"{title}, to {budget:,} queries", fontsize=10, loc="left")
            row[1].legend(frameon=False, fontsize=8, loc="lower right")
        _setting(figure, finding)
        return figure

    return draw


def _curves(axes: "Axes", outcomes: Mapping[str, Queries], budget: int) -> None:
    steps = max(1, budget // 400)
    at = [*range(1, budget + 1, steps)]
    for number, (name, found) in enumerate(outcomes.items()):
        rates = [rate or 0.0 for rate in found.success_curve(at)]
        dash = DASHES[number % len(DASHES)]
        colour = COLOURS[number % len(COLOURS)]
        axes.plot(at, rates, color=colour, linestyle=dash, lw=1.8, label=name.split(": ")[-1])
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlim(0, budget)
    axes.set_xlabel("queries", color=MUTED)
    _per_cent(axes, "success_rate", axis="y")


def seeds(groups: Mapping[str, Sequence[str]], measures: Sequence[str]) -> Draw:
    """One dot for each seed, the mean as a bar, one panel for each measure.

    Args:
        groups: the rows of each line, one for each seed.
    """

    def draw(finding: Finding, entry: Reproduction) -> "Figure":
        figure, axes = blank(2.6 + 2.4 * len(measures), 1.2 + 0.5 * len(groups), len(measures))
        for at, (panel, measure) in enumerate(zip(axes, measures, strict=True)):
            for place, (line, rows) in enumerate(groups.items()):
                there = [finding.outcomes[row] for row in rows if row in finding.outcomes]
                found = [each.statistics().get(measure) for each in there]
                values = [value for value in found if value is not None]
                if values:
                    mean = sum(values) / len(values)
                    panel.plot(values, [place] * len(values), "o", color=COLOURS[0], alpha=0.55)
                    panel.plot([mean], [place], "|", color=COLOURS[1], ms=22, mew=2.5)
                theirs = entry.published.get(line, {}).get(measure)
                if theirs is not None:
                    panel.plot([theirs], [place], "D", mfc="white", mec=COLOURS[1], mew=1.4)
            panel.set_yticks(range(len(groups)), list(groups) if at == 0 else [""] * len(groups))
            panel.set_ylim(len(groups) - 0.5, -0.5)
            panel.set_xlabel(words(measure), color=MUTED)
            panel.grid(axis="x", color=LINE)
            panel.margins(x=0.12)
            panel.set_xlim(left=0)
            _per_cent(panel, measure)
        marks = "dots: seeds; bars: their mean; diamonds: published"
        another = f" ({NOT_PUBLISHED})" if finding.size.note else ""
        figure.suptitle(marks + another, fontsize=9, color=MUTED, x=0.99, ha="right")
        return figure

    return draw


def pictures(images: Sequence[Sequence["Tensor"]], titles: Sequence[Sequence[str]]) -> "Figure":
    """A grid of images (C, H, W) in [0, 1], each with a title."""
    from matplotlib.figure import Figure

    rows, columns = len(images), max(map(len, images))
    figure = Figure(figsize=(1.75 * columns, 2.0 * rows), layout="constrained", facecolor="white")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes_row, line, names in zip(grid, images, titles, strict=True):
        for axes in axes_row:
            axes.set_axis_off()
        for axes, image, title in zip(axes_row, line, names, strict=False):
            pixels = image.detach().cpu().clamp(0, 1).permute(1, 2, 0).numpy()
            if pixels.shape[2] == 1:
                axes.imshow(pixels[:, :, 0], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            else:
                axes.imshow(pixels, interpolation="nearest")
            axes.set_title(title, fontsize=8, color=INK)
    return figure


def _line(axes: "Axes", x: Any, y: Any, number: int, label: str) -> None:
    colour, dash = COLOURS[number % len(COLOURS)], DASHES[number % len(DASHES)]
    axes.plot(x, y, marker="o", ms=4, color=colour, linestyle=dash, lw=1.8, label=label)


def _calm(axes: "Axes") -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.tick_params(length=0, labelsize=9, labelcolor=INK)
    axes.grid(axis="y", color=LINE, alpha=0.6)
    axes.set_axisbelow(True)


def _per_cent(axes: "Axes", measure: str, axis: str = "x") -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    line = axes.xaxis if axis == "x" else axes.yaxis
    if measure.endswith(("rate", "accuracy")):
        line.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0%}"))
    if axis == "x":
        line.set_major_locator(MaxNLocator(4))


def _setting(figure: "Figure", finding: Finding) -> None:
    """The legend, with a word on the setting."""
    handles, labels = [], []
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            if label in ("ours", "published") and label not in labels:
                handles.append(handle)
                labels.append(label)
    if labels:
        named = [
            "published (another setting)" if label == "published" and finding.size.note else label
            for label in labels
        ]
        figure.legend(handles, named, loc="outside upper right", ncols=2, frameon=False, fontsize=9)
    elif finding.size.note:
        figure.suptitle(NOT_PUBLISHED, fontsize=9, color=MUTED, x=0.99, ha="right")


def over_epochs(figures: Sequence[str], names: Mapping[str, str] | None = None) -> Draw:
    """Learning curves of trainings: one panel per figure of the history, one line per row.

    Args:
        figures: keys of the history, such as `robust_accuracy`.
        names: rows to draw, with their labels; None draws all.
    """

    def draw(finding: Finding, entry: Reproduction) -> "Figure":
        panel, axes = blank(3.6 * len(figures) + 0.8, 3.2, len(figures))
        learning_curves(axes, finding, figures, names)
        _setting(panel, finding)
        return panel

    return draw


def learning_curves(
    axes: Sequence["Axes"],
    finding: Finding,
    figures: Sequence[str],
    names: Mapping[str, str] | None = None,
) -> None:
    """The panels of `over_epochs`, one of the axes for each figure."""
    drawn = names or {name: name for name in finding.columns}
    for each, figure in zip(axes, figures, strict=True):
        for number, (name, label) in enumerate(drawn.items()):
            values = finding.columns.get(name, {}).get("history." + figure)
            if values is not None:
                mean = values.double().mean(dim=0).tolist()
                _line(each, range(1, len(mean) + 1), mean, number, label)
        each.set_xlabel("epoch", color=MUTED)
        each.set_ylabel(words(figure), color=MUTED)
        _per_cent(each, figure, "y")
    if axes[0].lines:
        axes[0].legend(frameon=False, fontsize=8)
