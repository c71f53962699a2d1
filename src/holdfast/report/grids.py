"""Tables for a page: cells that know what they are sorted by, and the data as a link."""

import base64
from dataclasses import dataclass
from typing import Any

from holdfast.report.tables import Column, Table


@dataclass(frozen=True)
class Cell:
    """A table's cell: what it shows, what it is sorted by, its share of 1 where it is one."""

    text: str
    key: str
    share: float | None = None


@dataclass(frozen=True)
class Grid:
    """A table for a page.

    Args:
        name: of its file, and of its region for those who do not see it.
        heads: headings, each with whether its values are numbers.
        rows: the cells.
        csv: all of its data.
    """

    name: str
    heads: tuple[tuple[str, bool], ...]
    rows: tuple[tuple[Cell, ...], ...]
    csv: str

    @property
    def uri(self) -> str:
        """The data as a link."""
        return data_uri(self.csv)


def grid(table: Table, name: str, csv: str | None = None) -> Grid:
    """A table as the page shows it, with its own data or those given."""
    shown = table.shown()
    rows = tuple(
        tuple(
            _cell(column, value, text)
            for column, value, text in zip(table.columns, values, texts, strict=True)
        )
        for values, texts in zip(table.rows, shown, strict=True)
    )
    heads = tuple((column.name, column.kind != "text") for column in table.columns)
    return Grid(name, heads, rows, table.csv() if csv is None else csv)


def data_uri(text: str) -> str:
    """Comma-separated values as a link that downloads."""
    return "data:text/csv;charset=utf-8;base64," + base64.b64encode(text.encode()).decode()


def _cell(column: Column, value: Any, text: str) -> Cell:
    if column.kind == "text" or value is None:
        return Cell(text, text)
    if column.kind == "interval":
        return Cell(text, f"{value[0]:.6g}")
    share = float(value) if column.kind == "share" and 0 <= value <= 1 else None
    return Cell(text, f"{float(value):.12g}", share)
