"""`write_report`: one self-contained page of a run, or of several side by side.

The page needs nothing from outside and says so to the browser (a content security policy that
forbids every request and every script but its own): it can be mailed, archived, opened from disk.
Names that a run holds are shown, never interpreted.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.core.errors import InputError
from holdfast.report import tables, wording
from holdfast.report.drawing import Drawing
from holdfast.report.filling import fill
from holdfast.report.flags import QUESTION
from holdfast.report.grids import Grid, grid
from holdfast.report.passes import accuracy_against_passes
from holdfast.report.radii_page import write_radii
from holdfast.report.radius import accuracy_against_radius
from holdfast.report.records import Record, distinct, read_record
from holdfast.report.tables import Table
from holdfast.report.verification import write_verification
from holdfast.report.views import MOST_OF_SEVERAL, MOST_ROWS, Part, part
from holdfast.runs import atomic
from holdfast.runs.atomic import Pathlike
from holdfast.runs.directory import Run


@dataclass(frozen=True)
class Page:
    """Everything that the template shows.

    Args:
        title: of the page.
        where: data, threat and number of examples.
        claim: the answer in one sentence.
        parts: one per run.
        radius: accuracy against the radius of all runs, or None.
        passes: accuracy against the passes spent, of all runs, or None.
        summary: the table of several runs, or None.
        warnings: what concerns the comparison.
    """

    title: str
    where: str
    claim: str
    parts: tuple[Part, ...]
    radius: Drawing | None
    passes: Drawing | None
    summary: Grid | None
    warnings: tuple[str, ...]


_ALONE = {"verify": write_verification, "radius": write_radii}


def write_report(
    run: Run | Pathlike | Iterable[Run | Pathlike],
    path: Pathlike | None = None,
    *,
    title: str | None = None,
) -> Path:
    """Writes the page of a run directory, or of several side by side.

    Args:
        run: a run of `evaluate`, of `train`, of `verify` or of radii, or several of the first two.
        path: the file; by default `report.html` in the run, for several in the folder that holds
            the first.
        title: of the page; by default the model's name.

    Returns:
        The file.

    Guarantee: the same runs give the same bytes; the file appears whole or not at all.
    Raises:
        InputError: no runs, a folder that is none, a damaged result, nothing to report.

    Example:
        `write_report("runs/evaluate-cnn-digits-1")`
    """
    single = isinstance(run, (Run, str)) or hasattr(run, "__fspath__")
    runs: list[Any] = [run] if single else list(run)  # type: ignore[arg-type]
    if not runs:
        raise InputError("run", runs, "is empty", "give at least one run directory")
    opened = [each if isinstance(each, Run) else Run.open(each) for each in runs]
    for verb, write in _ALONE.items():
        if any(each.describe().get("verb") == verb for each in opened):
            if len(opened) > 1:
                problem, remedy = f"hold a run of {verb} among others", "give it its own page"
                raise InputError("run", [str(each.path) for each in opened], problem, remedy)
            return write(opened[0], path)
    if path is None:
        path = opened[0].report_file if len(opened) == 1 else opened[0].path.parent / "report.html"
    atomic.write_text(path, render([read_record(each) for each in opened], title=title))
    return Path(path)


def render(records: Sequence[Record], *, title: str | None = None) -> str:
    """The page of these records, as text."""
    return fill("report.html", page=_page(records, title), question=QUESTION)


def _page(records: Sequence[Record], title: str | None) -> Page:
    names = distinct(records)
    rows = MOST_ROWS if len(records) == 1 else MOST_OF_SEVERAL
    parts = tuple(
        part(record, name, f"run-{number}", rows)
        for number, (record, name) in enumerate(zip(records, names, strict=True), start=1)
    )
    evaluated = [
        ({**record.evaluation, "model": name}, name)
        for record, name in zip(records, names, strict=True)
        if record.evaluation is not None
    ]
    results, labels = [result for result, _ in evaluated], [name for _, name in evaluated]
    several = len(parts) > 1
    return Page(
        title=title or (names[0] if not several else f"{len(parts)} models compared"),
        where=_common(results) if several else parts[0].where,
        claim=wording.comparison(results) + _doubt(parts) if several else parts[0].claim,
        parts=parts,
        radius=accuracy_against_radius(results, labels),
        passes=accuracy_against_passes(results, labels),
        summary=grid(_varying(tables.summary(results)), "summary") if several and results else None,
        warnings=tuple(_differences(results)) if several else (),
    )


def _doubt(parts: Sequence[Part]) -> str:
    """Whose numbers a severe flag puts in doubt, after the comparison that rests on them."""
    doubted = [each.name for each in parts if each.trust and each.trust.severe]
    if not doubted:
        return ""
    return f" A severe flag puts this in doubt: see {', '.join(doubted)}."


def _varying(table: Table) -> Table:
    """The table without texts and counts that are the same in every row: the page's head has
    them."""
    kept = [
        place
        for place, column in enumerate(table.columns)
        if place == 0
        or column.kind not in ("text", "count")
        or len({row[place] for row in table.rows}) > 1
    ]
    rows = tuple(tuple(row[place] for place in kept) for row in table.rows)
    return Table(tuple(table.columns[place] for place in kept), rows)


def _common(results: Sequence[dict[str, Any]]) -> str:
    """What all evaluations have in common of data, threat and number of examples."""
    said = []
    for key in ("data", "split", "threat", "examples"):
        values = {str(result.get(key) or "") for result in results}
        if len(values) == 1 and (value := values.pop()):
            said.append(f"{wording.count(int(value))} examples" if key == "examples" else value)
    return " · ".join(said)


def _differences(results: Sequence[dict[str, Any]]) -> list[str]:
    """What keeps the runs from being compared number by number."""
    found = []
    for key in ("threat", "data", "split", "examples"):
        values = list(dict.fromkeys(str(result.get(key)) for result in results))
        if len(values) > 1:
            found.append(f"The runs differ in {key} ({', '.join(values)}): compare with care.")
    protocols = [wording.protocol(result) or "a list of attacks" for result in results]
    if len(set(protocols)) > 1:
        said = ", ".join(dict.fromkeys(protocols))
        found.append(
            f"The runs differ in protocol ({said}): a weaker one lets a model look better."
        )
    return found
