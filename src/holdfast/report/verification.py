"""The page of a run of `holdfast verify`: one query, or a list of them with its cactus plot.

Reads the result of the run alone; names that it holds are shown, never interpreted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.report import wording
from holdfast.report.cactus import cactus
from holdfast.report.drawing import Drawing
from holdfast.report.filling import fill_run
from holdfast.report.grids import Grid, grid
from holdfast.report.tables import Column, Table
from holdfast.runs.atomic import Pathlike
from holdfast.runs.directory import Run

_WORDS = {
    "holds": "The property holds",
    "violated": "The property is violated",
    "timeout": "Not decided: the time ran out",
    "unknown": "Not decided",
}
_MOST = 2000  # queries in the table of the page; all are in its CSV


@dataclass(frozen=True)
class Page:
    """Everything that the template shows.

    Args:
        title: the network and property, or the list.
        where: how many queries.
        claim: the answer in one sentence.
        tiles: name, number, and what is below it.
        warnings: what puts the answer in doubt.
        cactus: the plot, or None.
        families: one row per folder of networks, or None for one query.
        queries: one row per query.
        facts: of one query.
        command: that made the run.
        environment: versions and hardware.
    """

    title: str
    where: str
    claim: str
    tiles: tuple[tuple[str, str, str], ...]
    warnings: tuple[str, ...]
    cactus: Drawing | None
    families: Grid | None
    queries: Grid | None
    facts: tuple[tuple[str, str], ...]
    command: str
    environment: tuple[tuple[str, str], ...]


def write_verification(run: Run | Pathlike, path: Pathlike | None = None) -> Path:
    """Writes the page of a run of `verify`; see `filling.fill_run`."""
    return fill_run(run, path, "verification.html", lambda opened: page_of(opened.read_result()))


def page_of(result: Mapping[str, Any]) -> Page:
    """What the page shows of a result."""
    listed = "queries" in result
    rows = list(result["queries"]) if listed else [result]
    environment = result.get("environment") or {}
    return Page(
        title=Path(str(result["instances"])).name if listed else _title(result),
        where=f"{wording.count(len(rows))} queries" if listed else "one query",
        claim=claim(rows),
        tiles=_tiles(rows) if listed else (),
        warnings=tuple(_warnings(rows)),
        cactus=cactus(rows) if listed else None,
        families=grid(families(rows), "families") if listed else None,
        queries=_queries(rows) if listed else None,
        facts=() if listed else tuple(_facts(result)),
        command=str(result.get("command") or ""),
        environment=tuple((str(key), str(value)) for key, value in environment.items()),
    )


def claim(rows: Sequence[Mapping[str, Any]]) -> str:
    """The answer in one sentence.

    Example:
        >>> claim([{"verdict": "holds", "proved": True}, {"verdict": "timeout", "proved": False}])
        'Of 2 queries 1 holds and 0 are violated, 1 of these answers proved; 1 is open.'
    """
    if len(rows) == 1 and "expected" in rows[0]:
        verdict = rows[0]["verdict"]
        proof = "" if verdict not in ("holds", "violated") else _proof(rows[0])
        return f"{_WORDS[verdict]}{proof}."
    holds, violated = (sum(row["verdict"] == word for row in rows) for word in _DECIDED)
    left = len(rows) - holds - violated
    proved = sum(bool(row["proved"]) for row in rows if row["verdict"] in _DECIDED)
    return (
        f"Of {len(rows)} queries {holds} hold{'s' * (holds == 1)} and {violated} "
        f"{'is' if violated == 1 else 'are'} violated, {proved} of these answers proved; "
        f"{left} {'is' if left == 1 else 'are'} open."
    )


_DECIDED = ("holds", "violated")


def families(rows: Sequence[Mapping[str, Any]]) -> Table:
    """One row per folder of networks: how many queries of each verdict, and their time."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(str(Path(str(row["network"])).parent), []).append(row)
    words = ("holds", "violated", "timeout", "unknown")
    columns = (
        Column("networks in"),
        Column("queries", "count"),
        *(Column(word, "count") for word in words),
        Column("median time", "seconds"),
        Column("longest", "seconds"),
    )
    found = []
    for name, group in groups.items():
        counts = [sum(row["verdict"] == word for row in group) for word in words]
        times = sorted(float(row["seconds"]) for row in group)
        middle = times[(len(times) - 1) // 2]
        found.append((name, len(group), *counts, middle, times[-1]))
    return Table(columns, tuple(found))


def _title(result: Mapping[str, Any]) -> str:
    return f"{Path(str(result['network'])).name}, {Path(str(result['property'])).name}"


def _proof(row: Mapping[str, Any]) -> str:
    return ", proved with rounding accounted for" if row["proved"] else ", rounding not accounted"


def _tiles(rows: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, str, str], ...]:
    decided = [row for row in rows if row["verdict"] in _DECIDED]
    seconds = sum(float(row["seconds"]) for row in rows)
    tiles = [
        (word, wording.count(sum(row["verdict"] == word for row in rows)), below)
        for word, below in (("holds", "for all inputs"), ("violated", "an input is kept"))
    ]
    open_ones = len(rows) - len(decided)
    tiles.append(("open", wording.count(open_ones), "timeout or unknown"))
    tiles.append(("time", wording.duration(seconds), "sum over all queries"))
    return tuple(tiles)


def _warnings(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What puts an answer in doubt, or left a query unasked."""
    found = []
    for row in rows:
        where = f"{row['network']} {row['property']}"
        decided = row["verdict"] in _DECIDED
        if row.get("expected") and decided and row["expected"] != row["verdict"]:
            found.append(f"{where}: {row['verdict']}, against the agreed {row['expected']}")
        if decided and not row["proved"]:
            found.append(f"{where}: {row['verdict']}, but rounding is not accounted for: no proof")
        if row.get("confirmed") is False:
            found.append(f"{where}: the counterexample is not confirmed by {row['replayed']}")
        if row.get("problem"):
            found.append(f"{where}: {row['problem']}")
    return found


def _queries(rows: Sequence[Mapping[str, Any]]) -> Grid:
    keys = ("network", "property", "expected", "verdict", "method", "replayed", "boxes", "seconds")
    columns = (*map(Column, keys[:6]), Column("boxes", "count"), Column("seconds", "number"))
    body = tuple(tuple(row.get(key) for key in keys) for row in rows)
    return grid(Table(columns, body[:_MOST]), "queries", Table(columns, body).csv())


def _facts(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What is known of one query, in words."""
    facts = [
        ("network", str(row["network"])),
        ("property", str(row["property"])),
        ("decided by", str(row["method"] or wording.ABSENT)),
        ("boxes bounded", wording.count(row["boxes"])),
        ("time", wording.duration(row["seconds"])),
    ]
    if (again := row.get("replay")) is not None:
        said = "confirmed" if again["confirmed"] else f"not confirmed, by {again['excess']:.3g}"
        facts.append(("replayed by", f"{again['by']}: {said}"))
        facts.append(("counterexample", str(row["counterexample_file"])))
    return facts
