"""What the template shows of a run, in the order of the page: sentences, tables, outcomes.

Everything here is plain text and numbers; the template escapes it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.certify.catalogue import BOUNDS
from holdfast.report import outcomes, tables, wording
from holdfast.report.curves import learning_curves
from holdfast.report.drawing import Drawing
from holdfast.report.flags import Trust, trust
from holdfast.report.flow import Flow, outcome_flow
from holdfast.report.gallery import Gallery, gallery
from holdfast.report.grids import Grid, grid
from holdfast.report.radius import radius_of
from holdfast.report.records import Record
from holdfast.report.sanity import sanity_curve
from holdfast.report.sizes import size_histogram
from holdfast.report.tables import Column, Kind, Table

MOST_ROWS, MOST_OF_SEVERAL, MOST_IN_CSV = 500, 100, 20_000

_KINDS: dict[str, Kind] = {
    "confidence": "share",
    "margin": "number",
    "size": "number",
    "bound": "number",
    "forwards": "count",
    "backwards": "count",
    "seconds": "seconds",
}
_LONG = ("history", "warnings", "environment", "command", "recipe")


@dataclass(frozen=True)
class Range:
    """The answer as a strip from 0 to 100 %: shares, and their words."""

    certified: float | None
    attacked: float | None
    clean: float
    alt: str


@dataclass(frozen=True)
class Part:
    """One run on a page; what it does not have is None or empty."""

    name: str
    anchor: str
    where: str
    claim: str
    strip: Range | None
    tiles: tuple[tuple[str, str, str], ...]
    warnings: tuple[str, ...]
    trust: Trust | None
    upper: str
    lower: str
    proofs: tuple[tuple[str, str, str], ...]
    outcomes: Drawing | None
    flow: Flow | None
    margins: Drawing | None
    sizes: Drawing | None
    sanity: Drawing | None
    gallery: Gallery | None
    curves: tuple[Drawing, ...]
    attacks: Grid | None
    classes: Grid | None
    stages: Grid | None
    cost: str
    examples: Grid | None
    examples_note: str
    training: tuple[tuple[str, str], ...]
    settings: tuple[tuple[str, str], ...]
    environment: tuple[tuple[str, str], ...]
    recipe: tuple[tuple[str, str], ...]
    command: str | None


def part(record: Record, name: str, anchor: str, rows: int = MOST_ROWS) -> Part:
    """What the page shows of a record, under a name.

    Args:
        anchor: prefix of its identifiers.
        rows: how many examples are listed.
    """
    result = record.evaluation
    named = {**result, "model": name} if result is not None else None
    heard = [*((result or {}).get("warnings") or ()), *(record.training.get("warnings") or ())]
    classes = _class_names(result)
    examples = record.examples
    return Part(
        name=name,
        anchor=anchor,
        where=_where(record),
        claim=wording.claim(named) if named else _training_claim(record),
        strip=_range(named) if named else None,
        tiles=_tiles(named) if named else _training_tiles(record),
        warnings=tuple(map(str, [*dict.fromkeys(map(str, heard)), *record.notes])),
        trust=trust(named) if named else None,
        upper=wording.upper_side(named) if named else "",
        lower=wording.lower_side(named) if named else "",
        proofs=_proofs(named) if named else (),
        outcomes=outcomes.outcome_bar(named, f"{anchor}-outcomes") if named else None,
        flow=outcome_flow(named, f"{anchor}-flow") if named else None,
        margins=outcomes.margin_histogram(examples, f"{anchor}-margins") if examples else None,
        sizes=_sizes(record, f"{anchor}-sizes"),
        sanity=sanity_curve(named, f"{anchor}-sanity") if named else None,
        gallery=gallery(record.gallery, classes),
        curves=tuple(learning_curves(record.metrics, f"{anchor}-learning")),
        attacks=_grid(tables.attacks(named), f"{anchor}-attacks") if named else None,
        classes=_grid(tables.per_class(named), f"{anchor}-classes") if named else None,
        stages=_grid(tables.stages(named), f"{anchor}-stages") if named else None,
        cost=_cost(named) if named else "",
        examples=_examples(examples, classes, f"{anchor}-examples", rows) if examples else None,
        examples_note=_examples_note(examples, rows) if examples else "",
        training=_flat(record.training),
        settings=_flat(record.settings),
        environment=_flat(record.environment),
        recipe=_flat(record.recipe),
        command=record.command,
    )


def _grid(table: Table, name: str) -> Grid | None:
    """The table of one model, without the column that names it; None where it is empty."""
    if not table.rows:
        return None
    without = Table(table.columns[1:], tuple(row[1:] for row in table.rows))
    return grid(without, name)


def _sizes(record: Record, name: str) -> Drawing | None:
    if not record.examples:
        return None
    return size_histogram(record.examples, radius_of(record.evaluation or {}), name)


def _where(record: Record) -> str:
    result = record.evaluation or {}
    data = " ".join(str(result[key]) for key in ("data", "split") if result.get(key))
    said = [data or str(record.header.get("data") or ""), str(result.get("threat") or "")]
    if result:
        said.append(f"{wording.count(result['examples'])} examples")
    return " · ".join(text for text in (*said, record.folder) if text)


def _range(result: Mapping[str, Any]) -> Range:
    attacked = result["robust_accuracy"] if result.get("attacks") else None
    proved = result.get("certified_accuracy")
    return Range(proved, attacked, result["clean_accuracy"], wording.claim(result))


def _tiles(result: Mapping[str, Any]) -> tuple[tuple[str, str, str], ...]:
    """Name, number and interval of the three accuracies."""
    sides = (("clean", "clean"), ("robust", "not broken"), ("certified", "certified"))
    tiles = []
    for key, label in sides:
        value, interval = result.get(f"{key}_accuracy"), result.get(f"{key}_interval")
        below = "not run" if value is None else f"95%: {wording.span(interval)}"
        tiles.append((label, wording.percent(value), below))
    return tuple(tiles)


def _training_claim(record: Record) -> str:
    best = record.training.get("best")
    if not isinstance(best, Mapping):
        return "Trained, and not evaluated."
    robust, clean = (wording.percent(best.get(key)) for key in ("robust", "clean"))
    where = f"on held-out examples at epoch {best.get('epoch')}, the best"
    on = record.training.get("selected_on") or "unknown"
    return (
        f"Trained, not evaluated: {robust} robust, {clean} clean {where}; weights chosen on: {on}"
    )


def _training_tiles(record: Record) -> tuple[tuple[str, str, str], ...]:
    best = record.training.get("best")
    if not isinstance(best, Mapping):
        return ()
    below = f"epoch {best.get('epoch')}"
    keys = (("clean", "clean, held out"), ("robust", "robust, held out"))
    return tuple((label, wording.percent(best.get(key)), below) for key, label in keys)


def _proofs(result: Mapping[str, Any]) -> tuple[tuple[str, str, str], ...]:
    """Name, guarantee and source of the methods that certified."""
    named = [str(name) for name in result.get("certified_by") or ()]
    known = [BOUNDS[name] for name in named if name in BOUNDS]
    return tuple((entry.name, entry.guarantee, entry.source) for entry in known)


def _cost(result: Mapping[str, Any]) -> str:
    forwards, backwards = result.get("forwards"), result.get("backwards")
    said = (
        f"{wording.duration(result.get('seconds'))}, {wording.count(forwards)} forward and "
        f"{wording.count(backwards)} backward passes of one example"
    )
    if result["examples"] and forwards is not None:
        said += f", {wording.decimal(forwards / result['examples'])} forward per example"
    if result.get("padding"):
        said += f"; {wording.count(result['padding'])} rows computed beyond, to fill blocks"
    return said + "."


def _class_names(result: Mapping[str, Any] | None) -> list[str]:
    return [str(row["class"]) for row in (result or {}).get("per_class") or ()]


def _examples(columns: Mapping[str, Any], classes: Sequence[str], name: str, rows: int) -> Grid:
    """The first rows as the page shows them, over the data of all."""
    heads = tuple(Column(key, _KINDS.get(key, "text")) for key in columns)
    whole = list(zip(*(columns[key].tolist() for key in columns), strict=True))
    shown = [
        tuple(_named(column.name, value, classes) for column, value in zip(heads, row, strict=True))
        for row in whole[:rows]
    ]
    csv = Table(heads, tuple(whole[:MOST_IN_CSV])).csv()
    return grid(Table(heads, tuple(shown)), name, csv)


def _named(column: str, value: Any, classes: Sequence[str]) -> Any:
    """A class's number as its name; a NaN as absent."""
    if column in ("label", "prediction") and isinstance(value, int) and 0 <= value < len(classes):
        return classes[value]
    return None if isinstance(value, float) and value != value else value


def _examples_note(columns: Mapping[str, Any], rows: int) -> str:
    count = len(next(iter(columns.values()), ()))
    said = f"{wording.count(count)} examples."
    if count > rows:
        said += f" The first {rows} are shown;"
        held = "all" if count <= MOST_IN_CSV else f"the first {wording.count(MOST_IN_CSV)}"
        said += f" the CSV holds {held}, examples.parquet of the run every one."
    return said


def _flat(values: Mapping[str, Any], prefix: str = "") -> tuple[tuple[str, str], ...]:
    """Nested tables as dotted keys and texts, without what the page shows elsewhere."""
    rows: list[tuple[str, str]] = []
    for key, value in values.items():
        if not prefix and key in _LONG:
            continue
        if isinstance(value, Mapping):
            rows += _flat(value, f"{prefix}{key}.")
        elif isinstance(value, (list, tuple)):
            rows.append((f"{prefix}{key}", ", ".join(map(str, value)) or wording.ABSENT))
        else:
            rows.append((f"{prefix}{key}", wording.ABSENT if value is None else str(value)))
    return tuple(rows)
