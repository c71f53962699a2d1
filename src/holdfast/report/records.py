"""What a page shows of one run: its files, read once; what is missing is None, what is damaged a
note.

A run of `evaluate` holds a result and examples; a run of `train` metrics, and perhaps an evaluation
inside its result. An evaluation that says `trained_in` (a path relative to its own folder) borrows
the metrics of that run.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from holdfast.core.errors import InputError
from holdfast.runs import atomic
from holdfast.runs import metrics as metrics_file
from holdfast.runs.atomic import Pathlike, shown
from holdfast.runs.directory import Run

if TYPE_CHECKING:
    import numpy

    Columns = dict[str, numpy.ndarray[Any, Any]]

T = TypeVar("T")

_NESTED = ("evaluation", "evaluate")


@dataclass(frozen=True, eq=False)
class Record:
    """One run as a page needs it.

    Args:
        name: how the page calls it.
        folder: the run directory's own name.
        header: verb, model and data of `run.json`.
        evaluation: the result of `benchmark.evaluate`, or None.
        training: what else `result.json` says of a training run.
        metrics: records over time, maybe empty.
        examples: columns of `examples.parquet`, or None.
        gallery: arrays of `gallery.safetensors` by name, or None.
        recipe: as resolved, maybe empty.
        settings: what the run was made with, maybe empty.
        notes: what could not be read, and why.
    """

    name: str
    folder: str
    header: dict[str, Any] = field(default_factory=dict)
    evaluation: dict[str, Any] | None = None
    training: dict[str, Any] = field(default_factory=dict)
    metrics: list[dict[str, Any]] = field(default_factory=list)
    examples: "Columns | None" = None
    gallery: "Columns | None" = None
    recipe: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def environment(self) -> dict[str, Any]:
        """The versions and hardware that the run recorded, maybe empty."""
        for place in (self.evaluation or {}, self.training, self.header, self.settings):
            found = place.get("environment")
            if isinstance(found, Mapping):
                return dict(found)
        return {}

    @property
    def command(self) -> str | None:
        """The command that made the run, where it recorded one."""
        for place in (self.header, self.settings, self.training, self.evaluation or {}):
            found = place.get("command")
            if isinstance(found, str) and found:
                return found
            if isinstance(found, Sequence) and found and not isinstance(found, str):
                return " ".join(map(str, found))
        return None


def read_record(run: Run | Pathlike) -> Record:
    """Reads a run directory.

    Raises:
        InputError: no run directory, a damaged result, or neither a result nor metrics in it.
    """
    run = run if isinstance(run, Run) else Run.open(run)
    notes: list[str] = []
    header = _tolerant(run.describe, notes) or {}
    evaluation, training = _results(run)
    metrics = _tolerant(lambda: metrics_file.read(run.metrics_file), notes) or []
    if evaluation is not None and not metrics and isinstance(evaluation.get("trained_in"), str):
        other = run.path / evaluation["trained_in"] / run.metrics_file.name
        metrics = _tolerant(lambda: metrics_file.read(other), notes) or []
    if evaluation is None and not metrics and not training:
        remedy = "finish it with --resume"
        raise InputError("run", shown(run.path), "holds nothing to report yet", remedy)
    if not run.finished:
        notes.append("The run has not finished: it has no result yet.")
    return Record(
        name=_name(run, header, evaluation),
        folder=run.path.resolve().name,
        header=header,
        evaluation=evaluation,
        training=training,
        metrics=metrics,
        examples=_tolerant(run.read_examples, notes) if _has(run.examples_file) else None,
        gallery=_tolerant(lambda: _gallery(run), notes),
        recipe=(_tolerant(run.read_recipe, notes) or {}) if _has(run.recipe_file) else {},
        settings=_settings(run, evaluation, notes),
        notes=tuple(notes),
    )


def distinct(records: Sequence[Record]) -> list[str]:
    """The records' names; where two are the same, with their folders."""
    names = [record.name for record in records]
    return [
        f"{record.name} ({record.folder})" if names.count(record.name) > 1 else record.name
        for record in records
    ]


def is_evaluation(result: Mapping[str, Any]) -> bool:
    """Whether a table is a two-sided evaluation."""
    return {"clean_accuracy", "robust_accuracy", "examples"} <= result.keys()


def _results(run: Run) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """The evaluation in `result.json`, and what else a training run wrote there."""
    if not run.finished:
        return None, {}
    result = run.read_result()
    if is_evaluation(result):
        return result, {}
    nested = [key for key in _NESTED if isinstance(result.get(key), Mapping)]
    inner = [key for key in nested if is_evaluation(result[key])]
    rest = {key: value for key, value in result.items() if key not in (*inner, "schema")}
    return (dict(result[inner[0]]) if inner else None), rest


def _name(run: Run, header: Mapping[str, Any], evaluation: Mapping[str, Any] | None) -> str:
    told = (evaluation or {}).get("model") or header.get("model")
    return str(told or run.path.resolve().name)


def _settings(run: Run, evaluation: Mapping[str, Any] | None, notes: list[str]) -> dict[str, Any]:
    told = (evaluation or {}).get("settings")
    if isinstance(told, Mapping):
        return dict(told)
    file = run.path / "settings.json"
    return (_tolerant(lambda: atomic.read_table(file), notes) or {}) if _has(file) else {}


def _gallery(run: Run) -> "Columns | None":
    file = run.path / "gallery.safetensors"
    if not _has(file):
        return None
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        return load(file.read_bytes())
    except (SafetensorError, OSError, ValueError) as error:
        problem, remedy = f"cannot be read ({error})", "restore it or evaluate again"
        raise InputError("path", shown(file), problem, remedy) from error


def _has(file: Path) -> bool:
    return file.is_file()


def _tolerant(read: Callable[[], T], notes: list[str]) -> T | None:
    """What `read` returns; None and a note where the file is damaged."""
    try:
        return read()
    except InputError as error:
        notes.append(f"Left out: {error}")
        return None
