"""Metrics over time as JSON lines: appended to, one line per record, never rewritten but to resume.

A process killed while it writes leaves at most one torn last line, which readers skip and the next
writer removes. Imports no torch.
"""

import json
import os
from pathlib import Path
from typing import Any

from holdfast.core.errors import InputError
from holdfast.runs import atomic
from holdfast.runs.atomic import Pathlike, shown, unwritable


def read(path: Pathlike) -> list[dict[str, Any]]:
    """The records of a file, oldest first; none where there is no file.

    A last line that a kill tore is left out.

    Raises:
        InputError: the file cannot be read, or another line is not a record; names the line.
    """
    path = Path(path)
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    except OSError as error:
        problem = f"cannot be read ({error.strerror})"
        raise InputError("path", shown(path), problem, "choose a readable file") from error
    records = []
    for number, line in enumerate(lines, start=1):
        record = _record(line)
        if record is not None:
            records.append(record)
        elif line.strip() and number < len(lines):
            problem = f"line {number} is not a JSON record"
            raise InputError("path", shown(path), problem, "restore the file or remove the line")
    return records


def truncate_after(path: Pathlike, key: str, value: float) -> int:
    """Drops, atomically, what was recorded beyond a point, so that a resumed run repeats none.

    A record without the key goes with the record before it.

    Args:
        key: such as `step` or `epoch`.
        value: the last one to keep.

    Returns:
        How many records were dropped.
    """
    records, kept, keep = read(path), [], True
    for record in records:
        if isinstance(record.get(key), (int, float)):
            keep = record[key] <= value
        if keep:
            kept.append(record)
    if len(kept) < len(records):
        atomic.write_text(path, "".join(_line(record) for record in kept))
    return len(records) - len(kept)


class Metrics:
    """Appends records to a file of JSON lines; a context manager, opened at the first record.

    Args:
        path: the file, usually `Run.metrics_file`.

    Guarantee: a record is with the system when `write` returns, and survives a kill of the process;
        one that does not fit on the disk is taken back whole.

    Example:
        >>> path = getfixture("tmp_path") / "metrics.jsonl"
        >>> with Metrics(path) as metrics:
        ...     metrics.write(epoch=1, robust_accuracy=0.5)
        >>> read(path)
        [{'epoch': 1, 'robust_accuracy': 0.5}]
    """

    read = staticmethod(read)
    truncate_after = staticmethod(truncate_after)

    def __init__(self, path: Pathlike):
        self.path = Path(path)
        self._handle: int | None = None

    def __enter__(self) -> "Metrics":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def write(self, **values: Any) -> None:
        """Appends one record; NaN and infinities become null, 0-dimensional tensors numbers.

        Raises:
            InputError: the file cannot be written (disk full, no permission).
            TypeError: a value has no JSON form.
        """
        line = _line(values).encode()
        try:
            if self._handle is None:
                self._handle = _open(self.path)
            _append(self._handle, line)
        except OSError as error:
            raise unwritable(self.path, error) from error

    def close(self) -> None:
        """Closes the file; the next `write` opens it again."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def _line(record: dict[str, Any]) -> str:
    return json.dumps(atomic.plain(record), allow_nan=False, ensure_ascii=False) + "\n"


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _open(path: Path) -> int:
    """Opens for appending, after a torn last line is removed or a complete one is ended."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        tail = path.read_bytes().rpartition(b"\n")[2] if path.is_file() else b""
        if _record(tail) is not None:
            os.write(handle, b"\n")
        elif tail:
            os.ftruncate(handle, os.fstat(handle).st_size - len(tail))
    except BaseException:
        os.close(handle)
        raise
    return handle


def _append(handle: int, line: bytes) -> None:
    """Writes the whole line, or leaves the file as it was."""
    size = os.fstat(handle).st_size
    rest = line
    try:
        while rest:
            rest = rest[os.write(handle, rest) :]
    except BaseException:
        if rest != line:
            os.ftruncate(handle, size)
        raise
