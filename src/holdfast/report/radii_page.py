"""The page of a run that searched certified radii: the answer, their profile, every example.

Reads the result and the table of examples of the run alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.report import wording
from holdfast.report.certified_radii import Profile, radius_profile
from holdfast.report.drawing import Drawing
from holdfast.report.filling import fill_run
from holdfast.report.grids import Grid, grid
from holdfast.report.tables import Column, Table
from holdfast.runs.atomic import Pathlike
from holdfast.runs.directory import Run

MOST = 500  # examples in the table of the page; all are in its CSV


@dataclass(frozen=True)
class Page:
    """Everything that the template shows.

    Args:
        title: the model.
        where: the data, the threat and how many examples.
        claim: the answer in one sentence.
        tiles: name, number, and what is below it.
        warnings: what puts the answer in doubt.
        profile: the radii in ascending order, or None without examples.
        curve: certified accuracy over the radius.
        examples: one row per example.
        facts: how the radii were searched.
        command: that made the run.
        environment: versions and hardware.
    """

    title: str
    where: str
    claim: str
    tiles: tuple[tuple[str, str, str], ...]
    warnings: tuple[str, ...]
    profile: Drawing | None
    curve: Grid
    examples: Grid
    facts: tuple[tuple[str, str], ...]
    command: str
    environment: tuple[tuple[str, str], ...]


def write_radii(run: Run | Pathlike, path: Pathlike | None = None) -> Path:
    """Writes the page of a run of `certify --radius`; see `filling.fill_run`."""
    return fill_run(run, path, "radii.html", _page)


def _page(run: Run) -> Page:
    return page_of(run.read_result(), run.read_examples())


def page_of(result: Mapping[str, Any], examples: Mapping[str, Any]) -> Page:
    """What the page shows of a result and its examples."""
    columns = {name: values.tolist() for name, values in examples.items()}
    profile = Profile(columns["radius"], columns["correct"])
    environment = result.get("environment") or {}
    count = wording.count(result["examples"])
    return Page(
        title=str(result["model"]),
        where=f"{result['data']}, {count} examples, {result['threat']}",
        claim=claim(result),
        tiles=_tiles(result),
        warnings=tuple(map(str, result.get("warnings") or ())),
        profile=radius_profile({str(result["method"]): profile}),
        curve=grid(_curve(result), "curve"),
        examples=_examples(columns),
        facts=(
            ("bound", str(result["method"])),
            ("search", str(result["search"])),
            ("bounds per example", wording.decimal(result["evaluations"])),
        ),
        command=str(result.get("command") or ""),
        environment=tuple((str(key), str(value)) for key, value in environment.items()),
    )


def claim(result: Mapping[str, Any]) -> str:
    """The answer in one sentence.

    Example:
        >>> claim({"examples": 10, "median_radius": 0.125, "threat": "linf:0.3", "sound": True})
        'Half of the 10 examples are proved robust at least up to a radius of 0.125.'
    """
    found = "are proved robust" if result["sound"] else "are robust, if rounding did no harm,"
    middle = wording.decimal(result["median_radius"])
    count = wording.count(result["examples"])
    return f"Half of the {count} examples {found} at least up to a radius of {middle}."


def _tiles(result: Mapping[str, Any]) -> tuple[tuple[str, str, str], ...]:
    return (
        ("Mean radius", wording.decimal(result["mean_radius"]), "misclassified ones count as 0"),
        ("Median", wording.decimal(result["median_radius"]), "half of the examples reach it"),
        ("Largest", wording.decimal(result["largest_radius"]), _asked(result)),
        ("Clean accuracy", wording.percent(result["clean_accuracy"]), "without any perturbation"),
    )


def _asked(result: Mapping[str, Any]) -> str:
    if result["reach"] is None:
        return "as far as the box goes"
    return f"no more than {wording.decimal(result['reach'])} was asked"


def _curve(result: Mapping[str, Any]) -> Table:
    rows = tuple((row["radius"], row["certified_accuracy"]) for row in result["curve"])
    return Table((Column("radius", "number"), Column("certified accuracy", "share")), rows)


def _examples(columns: Mapping[str, Any]) -> Grid:
    """One row per example, the smallest radii first."""
    heads = (
        Column("example"),
        Column("label"),
        Column("classified correctly"),
        Column("certified radius", "number"),
        Column("not certified at", "number"),
        Column("bounds", "count"),
    )
    names = ("index", "y", "correct", "radius", "ceiling", "evaluations")
    rows = sorted(zip(*(columns[name] for name in names), strict=True), key=lambda row: row[3])
    shown = tuple(
        (str(index), str(label), "yes" if right else "no", radius, _finite(ceiling), count)
        for index, label, right, radius, ceiling, count in rows
    )
    return grid(Table(heads, shown[:MOST]), "examples", Table(heads, shown).csv())


def _finite(value: float) -> float | None:
    return value if value < float("inf") else None
