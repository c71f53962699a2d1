"""The run directory: what a verb computed, in files that are whole at any moment and read by public
functions.

| file | what | written by |
|---|---|---|
| `run.json` | verb, model, data | `Run.create` |
| `recipe.toml` (or `.json`) | the recipe as resolved | `write_recipe` |
| `settings.json` | what a resumed run must have in common | `settings` |
| `metrics.jsonl` | metrics over time | `runs.Metrics` |
| `journal/` | finished examples in chunks | `runs.Journal` |
| `checkpoints/` | weights | training |
| `examples.parquet` | one row per example | `write_examples` |
| `result.json` | the answer; its presence says that the run has finished | `write_result` |
| `report.html` | the page | the report |

Imports no torch.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast.core.errors import InputError, RunConflict
from holdfast.runs import atomic, examples, recipe_files, settings
from holdfast.runs.atomic import Pathlike, shown, unwritable

if TYPE_CHECKING:
    import numpy

RUN_SCHEMA = "holdfast-run/1"
RESULT_SCHEMA = "holdfast-result/1"

_MARKS = ("run.json", "settings.json", "result.json", "recipe.toml", "recipe.json")
_SUFFIX = re.compile(r"\.(safetensors|onnx|vnnlib|toml|json|parquet|py)$", re.IGNORECASE)
_UNSAFE = re.compile(r"[^A-Za-z0-9._]+")


@dataclass(frozen=True)
class Run:
    """A run directory. Made by `Run.create`, found again by `Run.open`.

    Args:
        path: the folder.

    Example:
        >>> run = Run.create("evaluate", "cnn", "digits", root=getfixture("tmp_path"))
        >>> run.path.name
        'evaluate-cnn-digits-1'
        >>> run.write_result({"robust_accuracy": 0.5})
        >>> Run.open(run.path).read_result()["robust_accuracy"]
        0.5
    """

    path: Path

    @classmethod
    def create(
        cls,
        verb: str,
        model: str,
        data: str,
        *,
        root: Pathlike = "runs",
        path: Pathlike | None = None,
    ) -> "Run":
        """A new run directory, `root/<verb>-<model>-<data>-<n>` with the smallest free n.

        Args:
            verb: such as `evaluate`.
            model: the model's name; of a path, the last part; what file systems dislike becomes
                `-`.
            data: the name of the data, likewise.
            root: the folder of runs, created if absent.
            path: the directory itself instead; it must be absent or empty.

        Guarantee: two processes that create at once get two directories.

        Raises:
            RunConflict: `path` holds something.
            InputError: the directory cannot be made.
        """
        try:
            if path is None:
                folder = _numbered(Path(root), "-".join(map(_safe, (verb, model, data))))
            else:
                folder = _empty(Path(path))
        except OSError as error:
            raise unwritable(root if path is None else path, error) from error
        header = {"schema": RUN_SCHEMA, "verb": verb, "model": model, "data": data}
        atomic.write_json(folder / "run.json", header)
        return cls(folder)

    @classmethod
    def open(cls, path: Pathlike) -> "Run":
        """The run directory at `path`.

        Raises:
            InputError: it is absent, or no run directory.
        """
        folder = Path(path)
        if not folder.is_dir():
            problem = "is not a folder" if folder.exists() else "does not exist"
            raise InputError("run", shown(folder), problem, "give a run directory")
        if not any((folder / mark).is_file() for mark in _MARKS):
            remedy = "give one that a command of holdfast has written, such as runs/evaluate-..."
            raise InputError("run", shown(folder), "is not a run directory", remedy)
        return cls(folder)

    def __fspath__(self) -> str:
        return os.fspath(self.path)

    @property
    def recipe_file(self) -> Path:
        """`recipe.toml`, or `recipe.json` where the run was made without tomli-w."""
        return recipe_files.find(self.path)

    @property
    def metrics_file(self) -> Path:
        """`metrics.jsonl`, see `runs.Metrics`."""
        return self.path / "metrics.jsonl"

    @property
    def checkpoints(self) -> Path:
        """The folder of weights; made by the first atomic write into it."""
        return self.path / "checkpoints"

    @property
    def journal(self) -> Path:
        """The folder of finished examples, see `runs.Journal`."""
        return self.path / "journal"

    @property
    def ranks(self) -> Path:
        """The folder through which processes wait for each other, see `runs.Ranks`."""
        return self.path / "ranks"

    @property
    def result_file(self) -> Path:
        """`result.json`."""
        return self.path / "result.json"

    @property
    def examples_file(self) -> Path:
        """`examples.parquet`."""
        return self.path / "examples.parquet"

    @property
    def report_file(self) -> Path:
        """`report.html`."""
        return self.path / "report.html"

    @property
    def finished(self) -> bool:
        """Whether the run has a result."""
        return self.result_file.is_file()

    def describe(self) -> dict[str, Any]:
        """Verb, model and data that the run was created for, `{}` for a folder without them."""
        file = self.path / "run.json"
        return atomic.read_table(file) if file.is_file() else {}

    def write_recipe(self, recipe: Mapping[str, Any]) -> None:
        """Writes the resolved recipe as TOML, or as JSON where tomli-w is absent; None is left
        out, since TOML has no null.

        Raises:
            InputError: the file cannot be written, or a value has no such form.
        """
        recipe_files.write(self.path, recipe)

    def read_recipe(self) -> dict[str, Any]:
        """The resolved recipe.

        Raises:
            InputError: there is none, or it is damaged.
        """
        return recipe_files.read(self._present(self.recipe_file, "has no recipe"))

    def write_result(self, result: Mapping[str, Any]) -> None:
        """Writes `result.json`, plain data with `schema` in front; see `atomic.write_json`."""
        rest = {key: value for key, value in result.items() if key != "schema"}
        atomic.write_json(self.result_file, {"schema": RESULT_SCHEMA, **rest})

    def read_result(self) -> dict[str, Any]:
        """The result, `schema` included.

        Raises:
            InputError: the run has not finished, the file is damaged or of another version.
        """
        file = self._present(self.result_file, "has no result yet")
        result = atomic.read_table(file)
        if result.get("schema") != RESULT_SCHEMA:
            problem = f"has the schema {result.get('schema')!r} instead of {RESULT_SCHEMA!r}"
            remedy = "read it with the version of holdfast that wrote it"
            raise InputError("path", shown(file), problem, remedy)
        return result

    def write_examples(self, columns: Mapping[str, Any]) -> None:
        """Writes `examples.parquet`, one row per example.

        Args:
            columns: lists, numpy arrays or tensors of one length, by name; None in a list is null.

        Raises:
            InputError: lengths differ, a column has mixed types, the file cannot be written.
        """
        examples.write(self.examples_file, columns)

    def read_examples(self) -> "dict[str, numpy.ndarray[Any, Any]]":
        """The columns of `examples.parquet` as numpy arrays; texts and lists as objects, nulls
        among numbers as NaN.

        Raises:
            InputError: there is none, or it is damaged.
        """
        return examples.read(self._present(self.examples_file, "has no examples yet"))

    def settings(self, header: Mapping[str, Any]) -> None:
        """Fixes what the run was made with; a resumed run must come with the same.

        The first call writes `settings.json`, later ones compare with it.

        Args:
            header: plain data, such as hashes of weights, data and recipe, seed, block, threads.

        Raises:
            RunConflict: a setting differs; names the first one, by its path in the header, and both
                values.
            InputError: the file is damaged or cannot be written.
        """
        settings.fix(self.path / "settings.json", header)

    def _present(self, file: Path, problem: str) -> Path:
        if file.is_file():
            return file
        raise InputError("run", shown(self.path), problem, "finish the run with --resume")


def _numbered(root: Path, name: str) -> Path:
    """Makes `root/<name>-<n>`; `mkdir` decides who of several gets a number."""
    root.mkdir(parents=True, exist_ok=True)
    for number in count(1):
        folder = root / f"{name}-{number}"
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        return folder
    raise AssertionError("unreachable")


def _empty(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise RunConflict(
            f"{shown(folder)} is not empty; continue that run with --resume, or choose another path"
        )
    return folder


def _safe(name: str) -> str:
    """A name without what file systems and shells dislike; of a path the last part.

    Example:
        >>> _safe("nets/my model (v2).safetensors"), _safe("my.package:build")
        ('my-model-v2', 'my.package-build')
    """
    last = re.split(r"[/\\]", str(name).rstrip("/\\"))[-1]
    return _UNSAFE.sub("-", _SUFFIX.sub("", last))[:60].strip("-.") or "unnamed"
