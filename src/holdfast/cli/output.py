"""What the command shows: results on stdout, everything else on stderr. Imports no torch."""

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from holdfast.runs import atomic


def talks() -> bool:
    """Whether this process is the one that shows anything: rank 0 of its job."""
    return os.environ.get("RANK", "0") == "0"


def emit(text: str) -> None:
    """Text on stdout."""
    if talks():
        sys.stdout.write(text if text.endswith("\n") else text + "\n")
        sys.stdout.flush()


def emit_json(value: Any) -> None:
    """Plain data as JSON on stdout."""
    emit(json.dumps(atomic.plain(value), indent=2, ensure_ascii=False))


def emit_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table on stdout, the first column to the left and numbers to the right."""
    if not talks():
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD)
    body = [["" if each is None else each for each in row] for row in rows]
    for place, column in enumerate(columns):
        numeric = all(isinstance(row[place], (int, float)) for row in body)
        table.add_column(column, justify="right" if numeric and place else "left")
    for row in body:
        table.add_row(*(Text(str(each)) for each in row))
    console = Console(file=sys.stdout, no_color=True if "NO_COLOR" in os.environ else None)
    if title:
        console.print(Text(title))
    console.print(table)


def note(text: str) -> None:
    """A line on stderr."""
    if talks():
        sys.stderr.write(text + "\n")
        sys.stderr.flush()


def warn(texts: Iterable[str]) -> None:
    """Warnings, a line each, on stderr."""
    for text in texts:
        note(f"warning: {' '.join(text.split())}")


def percent(value: float | None) -> str:
    """An accuracy, or `not run`.

    Example:
        >>> percent(0.4567), percent(None)
        ('45.67%', 'not run')
    """
    return "not run" if value is None else f"{value:.2%}"


def evaluation(result: Mapping[str, Any]) -> None:
    """The tables of an evaluation, and whether it can be believed."""
    from holdfast.report.flags import flag_lines

    kind = f"{result['model']} on {result['data']} ({result['examples']} examples)"
    rows = []
    for name in ("clean", "robust", "certified"):
        interval = result[f"{name}_interval"]
        span = "" if interval is None else f"{interval[0]:.2%} - {interval[1]:.2%}"
        rows.append((name, percent(result[f"{name}_accuracy"]), span))
    emit_table(f"{kind}, {result['threat']}", ("accuracy", "", "95% interval"), rows)
    if result["attacks"]:
        named = (result.get("protocol") or {}).get("version")
        title = f"protocol {named}" if named else ""
        columns = ("step", "examples", "broken", "robust after it", "passes per example")
        emit_table(title, columns, [_step(row) for row in result["attacks"]])
    if len(result["radii"]) > 2:
        radii = [
            (
                f"{row['radius']:g}",
                percent(row["robust_accuracy"]),
                percent(row["certified_accuracy"]),
            )
            for row in result["radii"]
        ]
        emit_table("", ("radius", "robust", "certified"), radii)
    lines = flag_lines(result)
    if lines:
        emit("\n".join(lines))


def _step(row: Mapping[str, Any]) -> tuple[object, ...]:
    """One attack of an evaluation; runs of older versions lack how many examples it saw."""
    seen = row.get("examples")
    per_example = f"{(row['forwards'] + row['backwards']) / seen:,.0f}" if seen else ""
    return row["name"], seen, row.get("broken"), percent(row["robust_accuracy"]), per_example
