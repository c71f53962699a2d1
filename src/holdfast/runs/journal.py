"""The journal of finished examples: rows appended in small chunks, each written atomically.

A chunk is a safetensors file `<stage>.r<rank>.<token>.<number>.safetensors` whose tensors have one
row per example and among them `index`, the example's stable number. The token is drawn by each
process anew, so that ranks, retries and resumed runs never collide; rows are a set keyed by
example, so their order and duplicates do not matter. Chunks sort by the time they were written.
"""

import logging
import os
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, unquote

from holdfast.core.errors import InputError, described
from holdfast.runs import atomic
from holdfast.runs.atomic import Pathlike, shown

if TYPE_CHECKING:
    from torch import Tensor

Rows = dict[str, "Tensor"]

_SUFFIX = ".safetensors"
_STAGE = 150  # characters of a stage in a file name, which file systems limit to 255
_log = logging.getLogger("holdfast")


class Journal:
    """Rows of finished examples, by stage, in a folder that survives a kill.

    Rows wait in memory until `every` examples of their stage are there or the oldest has waited for
    `seconds` when `append` is called; `flush` and the end of the `with` block, an interrupt
    included, write them all. Not for several threads at once.

    Args:
        folder: usually `Run.journal`; made by the first chunk.
        rank: of this process, for the names of its chunks.
        every: examples of a stage that fill a chunk.
        seconds: how long rows wait at most while `append` is being called.

    Guarantee: a process killed at any moment loses at most the rows that waited; every chunk under
        its final name is whole.
    Cost: one file, flushed to the disk, per chunk.

    Example:
        >>> import torch
        >>> with Journal(getfixture("tmp_path") / "journal") as journal:
        ...     journal.append("pgd", {"index": torch.tensor([7, 3]), "margin": torch.ones(2)})
        >>> journal.read("pgd")["index"]
        tensor([3, 7])
    """

    def __init__(self, folder: Pathlike, *, rank: int = 0, every: int = 256, seconds: float = 5.0):
        if every < 1:
            raise InputError("every", every, "is not positive", "give a whole number from 1")
        self.folder, self.rank, self.every, self.seconds = Path(folder), rank, every, seconds
        self._token = f"{time.time_ns():016x}{secrets.token_hex(4)}"
        self._number = 0
        self._waiting: dict[str, list[Rows]] = {}
        self._since: dict[str, float] = {}

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *error: object) -> None:
        self.flush()

    def append(self, stage: str, rows: Mapping[str, "Tensor"]) -> None:
        """Adds finished examples; copies them, so the caller may change its tensors.

        Args:
            stage: what was computed, any text, such as `apgd-ce` or `milp/3`.
            rows: tensors (n, ...) of one n by column name, among them `index`, int64 (n,). All rows
                of a stage have the same columns.

        Raises:
            InputError: rows do not fit together, or the chunk cannot be written.
        """
        count = _check(stage, rows, self._waiting.get(stage))
        if count:
            copies = {name: rows[name].detach().to("cpu", copy=True) for name in rows}
            self._waiting.setdefault(stage, []).append(copies)
            self._since.setdefault(stage, time.monotonic())
        for each in list(self._waiting):
            waiting = sum(len(part["index"]) for part in self._waiting[each])
            if waiting >= self.every or time.monotonic() - self._since[each] >= self.seconds:
                self.flush(each)

    def flush(self, stage: str | None = None) -> None:
        """Writes the rows that wait, of one stage or of all.

        Raises:
            InputError: a chunk cannot be written; its rows stay and the next flush tries again.
        """
        import torch
        from safetensors.torch import save

        for each in list(self._waiting) if stage is None else [stage]:
            parts = self._waiting.get(each)
            if parts:
                rows = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
                atomic.write_bytes(self._next_file(each), save(rows))
                self._waiting.pop(each)
                self._since.pop(each, None)

    def read(self, stage: str) -> Rows | None:
        """All finished rows of a stage, of all ranks and runs, by ascending index.

        Of an example that is there twice the first written is kept. Leftovers of a kill are
        ignored; so is a damaged chunk, with a log record. This journal's waiting rows are flushed
        first.

        Returns:
            Tensors (n, ...) by column, `index` among them, each index once; None without rows.

        Raises:
            InputError: a chunk cannot be read, or chunks have different columns.
        """
        self.flush(stage)
        parts = [rows for chunk in self._chunks(stage) if (rows := _load(chunk)) is not None]
        return _merge(stage, parts) if parts else None

    def stages(self) -> list[str]:
        """The stages that have chunks, in the order of their first ones."""
        return list(dict.fromkeys(chunk.stage for chunk in self._chunks()))

    def _chunks(self, stage: str | None = None) -> list["_Chunk"]:
        names = os.listdir(self.folder) if self.folder.is_dir() else []
        chunks = [chunk for name in names if (chunk := _chunk(self.folder / name)) is not None]
        return sorted(c for c in chunks if stage is None or c.stage == stage)

    def _next_file(self, stage: str) -> Path:
        self._number += 1
        name = f"{quote(stage, safe='')}.r{self.rank}.{self._token}.{self._number:06d}{_SUFFIX}"
        return self.folder / name


class _Chunk(NamedTuple):
    """A chunk's place in time, then what it is; sorts by the former."""

    token: str
    number: str
    stage: str
    path: Path


def _chunk(path: Path) -> _Chunk | None:
    """What the name says; None for what is not a chunk, temporary files among them."""
    stage, *rest = path.name.removesuffix(_SUFFIX).rsplit(".", 3)
    if not path.name.endswith(_SUFFIX) or len(rest) != 3:
        return None
    return _Chunk(rest[1], rest[2], unquote(stage), path)


def _load(chunk: _Chunk) -> Rows | None:
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        rows: Rows = load(chunk.path.read_bytes())
        return rows
    except OSError as error:
        problem, remedy = f"cannot be read ({error.strerror})", "make the file readable"
        raise InputError("path", shown(chunk.path), problem, remedy) from error
    except SafetensorError as error:
        _log.warning("a damaged chunk of the journal is left out: %s (%s)", chunk.path.name, error)
        return None


def _merge(stage: str, parts: list[Rows]) -> Rows:
    import torch

    for part in parts:
        if _columns(part) != _columns(parts[0]):
            problem = f"chunks have different columns ({_columns(part)} and {_columns(parts[0])})"
            raise InputError("stage", stage, problem, "start a new run")
    rows = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    index, order = rows["index"].sort(stable=True)
    first = torch.ones_like(index, dtype=torch.bool)
    first[1:] = index[1:] != index[:-1]
    rows = {name: column[order] for name, column in rows.items()}
    _compare_duplicates(stage, rows, first)
    return {name: column[first] for name, column in rows.items()}


def _compare_duplicates(stage: str, rows: Rows, first: "Tensor") -> None:
    """Logs the examples whose later rows differ from the first one, floats aside."""
    kept = first.cumsum(0) - 1  # for each row, the place of the one that is kept
    for name, column in rows.items():
        if not column.is_floating_point():
            differs = (column != column[first][kept]).reshape(len(column), column[0].numel()).any(1)
            if differs.any():
                some = sorted(set(rows["index"][differs].tolist()))[:5]
                text = "stage %s: %s differs between two rows of examples %s; the first is kept"
                _log.warning(text, stage, name, some)


def _check(stage: str, rows: Mapping[str, "Tensor"], waiting: list[Rows] | None) -> int:
    """How many rows there are, after it is certain that they can be written and merged."""
    import torch

    if not 0 < len(quote(stage, safe="")) <= _STAGE:
        raise InputError("stage", stage, "is empty or too long", "give the stage a short name")
    for name, column in rows.items():
        if not isinstance(column, torch.Tensor) or column.ndim == 0:
            raise InputError(f"rows[{name!r}]", column, "has no rows", "give a tensor (n, ...)")
    index = rows.get("index")
    if index is None or index.dtype != torch.int64 or index.ndim != 1:
        value = None if index is None else described(_form(index))
        raise InputError("rows['index']", value, "is not int64 (n,)", "give examples' indices")
    for name, column in rows.items():
        if len(column) != len(index):
            problem = f"does not have the {len(index)} rows of index"
            raise InputError(f"rows[{name!r}]", described(_form(column)), problem, "give one each")
    if waiting and _columns(rows) != _columns(waiting[0]):
        problem = f"are not the columns of the stage before ({_columns(waiting[0])})"
        raise InputError("rows", described(_columns(rows)), problem, "give the same columns")
    return len(index)


def _columns(rows: Mapping[str, "Tensor"]) -> str:
    """Names, dtypes and row shapes, as text."""
    parts = (f"{name}: {rows[name].dtype} {tuple(rows[name].shape[1:])}" for name in sorted(rows))
    return ", ".join(parts).replace("torch.", "")


def _form(tensor: "Tensor") -> str:
    return f"a tensor of {tensor.dtype} and shape {tuple(tensor.shape)}".replace("torch.", "")
