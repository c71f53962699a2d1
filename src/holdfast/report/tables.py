"""Tables of results: as plain text, Markdown, LaTeX (booktabs) and CSV.

The first three show rounded numbers; CSV keeps them whole, so that it is the result's own data.
Imports neither torch nor numpy.
"""

import csv
import io
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from holdfast.report import wording

Kind = Literal["text", "share", "interval", "count", "number", "seconds"]
Result = Mapping[str, Any]

_SHOW: dict[str, Callable[[Any], str]] = {
    "share": wording.percent,
    "interval": wording.span,
    "count": wording.count,
    "number": wording.decimal,
    "seconds": wording.duration,
}
_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "&": r"\&",
        "%": r"\%",
        "$": r"\$",
        "#": r"\#",
        "_": r"\_",
        "{": r"\{",
        "}": r"\}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "–": "--",
        "−": r"$-$",
        "∞": r"$\infty$",
    }
)
_HTML = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "|": "\\|"}
_MARKUP = "\\`*_[]"


@dataclass(frozen=True)
class Column:
    """A column: its heading, and what its values are."""

    name: str
    kind: Kind = "text"

    def show(self, value: Any) -> str:
        """A value as a reader sees it; what is absent is a dash."""
        if value is None:
            return wording.ABSENT
        if self.kind == "text":
            return " ".join(str(value).split())
        return _SHOW[self.kind](value)


@dataclass(frozen=True)
class Table:
    r"""Rows under columns; `print(table)` shows it as text.

    Args:
        columns: what the values of each row are.
        rows: one value per column; an interval is a pair, None stands for an absent value.

    Example:
        >>> table = Table((Column("model"), Column("clean", "share")), (("a|b", 0.5),))
        >>> print(table.markdown())
        | model | clean |
        |:---|---:|
        | a\|b | 50.0% |
    """

    columns: tuple[Column, ...]
    rows: tuple[tuple[Any, ...], ...]

    def __str__(self) -> str:
        return self.text()

    def shown(self) -> list[list[str]]:
        """The cells as text, without the headings."""
        return [
            [column.show(value) for column, value in zip(self.columns, row, strict=True)]
            for row in self.rows
        ]

    def text(self) -> str:
        """Columns of equal width; texts to the left, numbers to the right."""
        lines = [[column.name for column in self.columns], *self.shown()]
        widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
        return "\n".join(self._line(cells, widths) for cells in lines)

    def markdown(self) -> str:
        """A Markdown table; whatever names hold is shown, never interpreted."""
        marks = [":---" if column.kind == "text" else "---:" for column in self.columns]
        heads = [_in_markdown(column.name) for column in self.columns]
        body = [[_in_markdown(cell) for cell in cells] for cells in self.shown()]
        lines = [f"| {' | '.join(cells)} |" for cells in (heads, *body)]
        return "\n".join([lines[0], f"|{'|'.join(marks)}|", *lines[1:]])

    def latex(self) -> str:
        """A `tabular` for the package booktabs."""
        marks = "".join("l" if column.kind == "text" else "r" for column in self.columns)
        heads = [column.name.translate(_LATEX) for column in self.columns]
        body = [[cell.translate(_LATEX) for cell in cells] for cells in self.shown()]
        lines = [f"{' & '.join(cells)} \\\\" for cells in (heads, *body)]
        top, middle, bottom = r"\toprule", r"\midrule", r"\bottomrule"
        inner = [f"\\begin{{tabular}}{{{marks}}}", top, lines[0], middle, *lines[1:], bottom]
        return "\n".join([*inner, r"\end{tabular}"])

    def csv(self) -> str:
        """Comma-separated values with unrounded numbers; an interval fills two columns."""
        sink = io.StringIO()
        writer = csv.writer(sink, lineterminator="\n")
        heads = [_in_csv(column, column.name) for column in self.columns]
        writer.writerow([name for names in heads for name in names])
        for row in self.rows:
            cells = [_cells(c, value) for c, value in zip(self.columns, row, strict=True)]
            writer.writerow([each for group in cells for each in group])
        return sink.getvalue()

    def _line(self, cells: Sequence[str], widths: Sequence[int]) -> str:
        padded = [
            cell.ljust(width) if column.kind == "text" else cell.rjust(width)
            for column, cell, width in zip(self.columns, cells, widths, strict=True)
        ]
        return "  ".join(padded).rstrip()


def summary(results: Result | Iterable[Result]) -> Table:
    """One row per evaluation: clean, robust (attacked) and certified accuracy with intervals."""
    names = (
        Column("model"),
        Column("data"),
        Column("threat"),
        Column("examples", "count"),
        *_two_sided(("clean", "robust", "certified")),
    )
    rows = [
        (_name(r), r.get("data"), r.get("threat"), r.get("examples"), *_accuracies(r))
        for r in _several(results)
    ]
    return Table(names, tuple(rows))


def radii(results: Result | Iterable[Result]) -> Table:
    """One row per model and radius: robust (attacked) and certified accuracy with intervals."""
    columns = (Column("model"), Column("radius", "number"), *_two_sided(("robust", "certified")))
    rows = [
        (_name(result), point["radius"], *_accuracies(point, ("robust", "certified")))
        for result in _several(results)
        for point in result.get("radii") or ()
    ]
    return Table(columns, tuple(rows))


def per_class(results: Result | Iterable[Result]) -> Table:
    """One row per model and class: examples, and the shares that are clean correct, not broken and
    certified."""
    columns = (
        Column("model"),
        Column("class"),
        Column("examples", "count"),
        *(Column(name, "share") for name in ("clean", "robust", "certified")),
    )
    rows = []
    for result in _several(results):
        proved = result.get("certified_accuracy") is not None
        for row in result.get("per_class") or ():
            size = row["examples"]
            clean, robust = (row[key] / size if size else None for key in ("clean", "robust"))
            certified = row["certified"] / size if proved and size else None
            rows.append((_name(result), row["class"], size, clean, robust, certified))
    return Table(columns, tuple(rows))


def attacks(results: Result | Iterable[Result]) -> Table:
    """One row per model and attack, in their order: how many examples entered it and fell to it
    (where the results say), robust accuracy after it, and its cost."""
    listed = [(_name(r), row) for r in _several(results) for row in r.get("attacks") or ()]
    known = [key for key in ("examples", "broken") if any(key in row for _, row in listed)]
    columns = (
        Column("model"),
        Column("attack"),
        *(Column(key, "count") for key in known),
        *_two_sided(("robust",)),
        Column("forwards", "count"),
        Column("backwards", "count"),
        Column("seconds", "seconds"),
    )
    rows = [
        (name, row["name"], *map(row.get, known), *_accuracies(row, ("robust",)), *_costs(row))
        for name, row in listed
    ]
    return Table(columns, tuple(rows))


def stages(results: Result | Iterable[Result]) -> Table:
    """One row per model and stage: how many examples it saw, and what it cost."""
    costs = (Column("forwards", "count"), Column("backwards", "count"), Column("time", "seconds"))
    columns = (Column("model"), Column("stage"), Column("examples", "count"), *costs)
    rows = [
        (_name(result), row["stage"], row.get("examples", 0), *_costs(row))
        for result in _several(results)
        for row in result.get("stages") or ()
    ]
    return Table(columns, tuple(rows))


def _several(results: Result | Iterable[Result]) -> list[Result]:
    """A list of plain results; an evaluation stands for its own."""
    single = isinstance(results, Mapping) or hasattr(results, "result")
    listed: Iterable[Any] = [results] if single else results
    return [getattr(each, "result", each) for each in listed]


def _name(result: Result) -> str:
    return str(result.get("model") or "")


def _two_sided(names: Sequence[str]) -> list[Column]:
    pairs = [(Column(name, "share"), Column(f"{name} 95%", "interval")) for name in names]
    return [column for pair in pairs for column in pair]


def _accuracies(row: Result, names: Sequence[str] = ("clean", "robust", "certified")) -> list[Any]:
    pairs = [(row.get(f"{name}_accuracy"), row.get(f"{name}_interval")) for name in names]
    return [value for pair in pairs for value in pair]


def _costs(row: Result) -> list[Any]:
    return [row.get("forwards"), row.get("backwards"), row.get("seconds")]


def _in_markdown(cell: str) -> str:
    text = "".join(f"\\{letter}" if letter in _MARKUP else letter for letter in cell)
    return "".join(_HTML.get(letter, letter) for letter in text)


def _in_csv(column: Column, name: str) -> list[str]:
    return [f"{name} low", f"{name} high"] if column.kind == "interval" else [name]


def _cells(column: Column, value: Any) -> list[Any]:
    """The cells of one value in CSV; what is absent is empty, a whole number has no point."""
    if column.kind == "interval":
        return ["", ""] if value is None else [repr(float(each)) for each in value]
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return [""]
    if column.kind == "count" and float(value).is_integer():
        return [int(value)]
    return [value]
