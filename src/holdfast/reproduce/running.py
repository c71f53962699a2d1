"""`run`: the rows of a reproduction, one after the other, into a run directory.

Finished examples go to the run's journal, networks trained on the spot to its checkpoints, so that
a run that was stopped goes on where it was. At the end there are `result.json`, `figure.svg`,
`table.md` and `report.html`.
"""

import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from holdfast.attacks.protocol import Finished, Tick
from holdfast.core.errors import HoldfastError, InputError, MissingExtra, UnsupportedThreat
from holdfast.core.frozen import FrozenModel, default_block, device_of
from holdfast.core.random import Keys
from holdfast.core.results import AttackResult, Outcome
from holdfast.measures.queries import Queries
from holdfast.reproduce.computations import Bench, ComputedRow, computed
from holdfast.reproduce.page import markdown, page, svg
from holdfast.reproduce.records import NOT_PUBLISHED, Finding, Reproduction, Row, Size
from holdfast.reproduce.subjects import Loaded, Place, Subject
from holdfast.reproduce.trainings import TrainedRow, trained
from holdfast.runs import atomic
from holdfast.runs.directory import Run
from holdfast.runs.environment import environment
from holdfast.runs.journal import Journal, Rows
from holdfast.threats.text import parse

Tell = Callable[[str], None]


def run(
    entry: Reproduction,
    kept: Run,
    *,
    size: str = "scaled",
    data_dir: Path | str | None = None,
    seed: int = 0,
    limit: int | None = None,
    device: torch.device | str | None = None,
    notes: Mapping[str, Any] | None = None,
    tell: Tell = lambda text: None,
) -> Finding:
    """Computes the entry's rows, and writes them beside what was published.

    Args:
        kept: the run directory, whose lock the caller holds; finished examples in it are kept.
        size: `quick`, `scaled` or `published`.
        data_dir: where data and published networks lie.
        seed: of all draws.
        limit: at most so many images of each subject.
        device: where attacks run; None: CUDA where there is one. Training is on the CPU.
        notes: further keys of the result.
        tell: called with a line at the start of each row.

    Guarantee: stopped at any moment and run again, it ends in the same figures.
    Raises:
        InputError: data or networks are missing, an unknown size.
        MissingExtra: a subject needs a package that cannot be imported.
        RunConflict: the run was made with other settings.
    """
    chosen = entry.size(size)
    images = chosen.images if limit is None else min(limit, chosen.images)
    kept.settings({"reproduction": entry.id, "size": size, "seed": seed, "images": images})
    place = Place(store=kept.checkpoints, data_dir=None if data_dir is None else Path(data_dir))
    began = time.process_time()
    finding = _compute(entry, chosen, kept, place, _device(device), seed, images, tell)
    result = _result(entry, finding, images, seed) | {"seconds": time.process_time() - began}
    _publish(entry, finding, kept, result | {"environment": environment()} | dict(notes or {}))
    return finding


def _compute(
    entry: Reproduction,
    size: Size,
    kept: Run,
    place: Place,
    device: torch.device,
    seed: int,
    images: int,
    tell: Tell,
) -> Finding:
    """All rows, those of one subject together."""
    rows = entry.rows(size)
    columns: dict[str, Rows] = {}
    skipped: dict[str, str] = {}
    seconds: dict[str, float] = {}
    loaded: dict[Subject, Loaded] = {}
    with Journal(kept.journal) as journal:
        for number, row in enumerate(rows):
            tell(f"{number + 1} of {len(rows)}: {row.name}")
            began = time.process_time()
            if not isinstance(row, Row):
                bench = Bench(place=place, images=images, seed=seed, device=device)
                columns[row.name] = _made(row, bench)
                seconds[row.name] = time.process_time() - began
                continue
            if row.subject not in loaded:
                loaded = {row.subject: row.subject.load(place, images).to(device)}
            stage = f"{number:03d}-{re.sub('[^a-z0-9]+', '-', row.name.lower())[:60]}"
            fresh = journal.read(stage) is None
            try:
                columns[row.name] = attacked(row, loaded[row.subject], journal, stage, seed)
            except (MissingExtra, UnsupportedThreat) as error:
                skipped[row.name] = str(error)
                continue
            if fresh:
                seconds[row.name] = time.process_time() - began
    outcomes = {name: _queries(each) for name, each in columns.items() if "queries" in each}
    return Finding(
        outcomes=outcomes,
        lines=entry.lines(outcomes, columns),
        columns=columns,
        size=size,
        skipped=skipped,
        seconds=seconds,
    )


def _made(row: TrainedRow | ComputedRow, bench: Bench) -> Rows:
    """What a training or a computation finds."""
    if isinstance(row, ComputedRow):
        return computed(row, bench)
    return trained(
        row,
        bench.place.store,
        images=bench.images,
        seed=bench.seed,
        data_dir=bench.place.data_dir,
        device=bench.device,
    )


def attacked(row: Row, subject: Loaded, journal: Journal, stage: str, seed: int) -> Rows:
    """One row's examples, those already in the journal included.

    Args:
        stage: the row's name in the journal.
        seed: of the run; the row's own is added.

    Guarantee: columns in the order of the subject's examples.
    """
    kept = journal.read(stage)
    done = subject.index[:0] if kept is None else kept["index"]
    left = (~torch.isin(subject.index, done)).nonzero().flatten()
    if len(left):
        x, y, index = subject.x[left], subject.y[left], subject.index[left]
        keys = Keys.of(seed + row.seed, index)
        device = device_of(subject.model)
        frozen = FrozenModel(subject.model, block=min(default_block(device), len(left)))
        targets = wrong_classes(keys, y, _classes(subject)) if row.targeted else None

        def listen(event: Finished | Tick) -> None:
            if isinstance(event, Finished):
                at = event.rows.to(x.device)
                found = _columns(row, subject, event.result, x[at], y[at])
                journal.append(stage, {"index": index[at], **found})

        row.attack.run(frozen, x, y, parse(row.threat), keys=keys, targets=targets, on_event=listen)
    rows = journal.read(stage)
    assert rows is not None
    place = {int(each): at for at, each in enumerate(rows["index"])}
    order = torch.tensor([place[int(each)] for each in subject.index])
    return {name: column[order] for name, column in rows.items()}


def _device(device: torch.device | str | None) -> torch.device:
    """The device, if it is there; None takes CUDA where there is one."""
    try:
        found = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError) as cause:
        remedy = "use 'cpu', or 'auto'"
        raise InputError("device", str(device), "cannot be used here", remedy) from cause
    return found


def wrong_classes(keys: Keys, y: Tensor, classes: int) -> Tensor:
    """A class for each example, uniform over those that are not its label; (B,) int64."""
    drawn = keys.fold("targets").integers(classes - 1, (1,))[:, 0]
    return drawn + (drawn >= y).to(drawn)


def _classes(subject: Loaded) -> int:
    with torch.no_grad():
        return subject.model(subject.x[:1].to(device_of(subject.model))).shape[1]


def _columns(row: Row, subject: Loaded, result: AttackResult, x: Tensor, y: Tensor) -> Rows:
    """What the journal keeps of finished examples."""
    wrong = result.outcome == Outcome.MISCLASSIFIED
    found = Queries.of(result)
    columns = {"correct": found.correct, "broken": found.broken, "queries": found.queries}
    if row.again:
        with torch.no_grad():
            columns["again"] = wrong | (subject.model(result.x_adv).argmax(1) != y.to(wrong.device))
    if row.keep:
        columns |= {"x": x, "x_adv": result.x_adv, "margin": result.margin}
    return columns


def _queries(columns: Rows) -> Queries:
    return Queries(columns["correct"], columns["broken"], columns["queries"])


def _result(entry: Reproduction, finding: Finding, images: int, seed: int) -> dict[str, Any]:
    """The record: settings, rows, comparison, claims."""
    size = finding.size
    published = size.name == "published" and images == size.images
    judged = size.name != "quick"
    compared = entry.compare(finding.lines)
    if not published:
        for line in compared:
            for figure in line["figures"].values():
                figure["within_tolerance"] = None
    return {
        "verb": "reproduce",
        "reproduction": entry.to_dict(),
        "size": {**size.to_dict(), "images": images},
        "published_setting": published,
        "setting": "" if published else f"{NOT_PUBLISHED}: {size.note or 'fewer images'}",
        "seed": seed,
        "comparison": compared,
        "claims": [
            {"claim": each.text, "holds": each.judge(finding.lines) if judged else None}
            for each in entry.claims
        ],
        "rows": [_record(row, finding) for row in entry.rows(size) if row.name in finding.columns],
        "lines": finding.lines,
        "not_run": dict(finding.skipped),
    }


def _record(row: Row | TrainedRow | ComputedRow, finding: Finding) -> dict[str, Any]:
    """One row of the record."""
    seconds = {"cpu_seconds": finding.seconds.get(row.name)}
    if not isinstance(row, Row):
        found = finding.columns[row.name]
        return row.to_dict() | {key: each.tolist() for key, each in found.items()} | seconds
    return {
        "row": row.name,
        "subject": row.subject.name,
        "threat": row.threat,
        "attack": repr(row.attack),
        "targeted": row.targeted,
        **finding.outcomes[row.name].statistics(),
        **seconds,
    }


def _publish(entry: Reproduction, finding: Finding, kept: Run, result: dict[str, Any]) -> None:
    """Figure, table and page; the result last, since its presence says that all is there."""
    try:
        figure = svg(entry.draw(finding, entry))
    except HoldfastError:
        figure = ""
    atomic.write_text(kept.path / "figure.svg", figure)
    atomic.write_text(kept.path / "table.md", markdown(result))
    atomic.write_text(kept.report_file, page(result, figure))
    kept.write_result(result)
