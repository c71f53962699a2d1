"""Lists of verification queries, and tables of their answers.

A list is a file of comma-separated rows `network,property,timeout`, as in the competitions, or one
with a header that names `network`, `property`, `timeout_s` and, where it is known, `verdict`. Paths
are relative to the list.

Source: Bak, Liu, Johnson 2021, arXiv 2109.00498 (VNN-COMP 2021: lists, cactus plots).
"""

import csv
import gzip
import zlib
from dataclasses import dataclass
from io import StringIO
from math import inf, isfinite
from pathlib import Path
from typing import Any

from holdfast.core.errors import InputError
from holdfast.core.results import Verdict

HEADER = ("network", "property", "timeout_s", "verdict")


@dataclass(frozen=True)
class Instance:
    """One query of a list.

    Args:
        network: path of the ONNX file as in the list.
        property: path of the VNN-LIB file as in the list.
        timeout: seconds.
        expected: the agreed verdict, or None where it is not known.
    """

    network: str
    property: str
    timeout: float
    expected: Verdict | None = None


@dataclass(frozen=True)
class InstanceRow:
    """The answer to one query.

    Args:
        instance: the query.
        verdict: the answer.
        number: its place in the list, from 0.
        seconds: what it took, without reading the files.
        boxes: how many boxes were bounded.
        method: what decided, as in `VerifyResult`.
        proved: whether rounding is accounted for.
        lower: what is proved of the unsafe constraint, as in `VerifyResult`.
        replayed: what ran the counterexample once more, as in `Replay`; empty without one.
        confirmed: whether that found it unsafe, too; None without a counterexample.
        problem: why the query could not be asked; empty if it was.
    """

    instance: Instance
    verdict: Verdict
    number: int = 0
    seconds: float = 0.0
    boxes: int = 0
    method: str = ""
    proved: bool = False
    lower: float = -inf
    replayed: str = ""
    confirmed: bool | None = None
    problem: str = ""

    @property
    def decided(self) -> bool:
        """Whether the answer is yes or no."""
        return self.verdict in (Verdict.HOLDS, Verdict.VIOLATED)

    @property
    def contradicts(self) -> bool:
        """Whether the answer is decided, and other than the agreed one."""
        agreed = self.instance.expected
        return self.decided and agreed is not None and agreed is not self.verdict

    def to_dict(self) -> dict[str, Any]:
        """The answer as plain data."""
        expected = self.instance.expected
        return {
            "number": self.number,
            "network": self.instance.network,
            "property": self.instance.property,
            "timeout": self.instance.timeout,
            "expected": expected.value if expected else None,
            "verdict": self.verdict.value,
            "proved": self.proved,
            "lower": self.lower,
            "method": self.method,
            "boxes": self.boxes,
            "seconds": self.seconds,
            "replayed": self.replayed,
            "confirmed": self.confirmed,
            "problem": self.problem,
        }


@dataclass(frozen=True)
class InstanceTable:
    """All answers, in the order of the list."""

    rows: tuple[InstanceRow, ...]

    def count(self, verdict: Verdict) -> int:
        """How many answers are of this kind."""
        return sum(row.verdict is verdict for row in self.rows)

    @property
    def contradictions(self) -> tuple[InstanceRow, ...]:
        """The answers that differ from the agreed ones; there should be none."""
        return tuple(row for row in self.rows if row.contradicts)

    def cactus(self) -> list[tuple[int, float]]:
        """How many queries are decided within how many seconds each: points of a cactus plot."""
        times = sorted(row.seconds for row in self.rows if row.decided)
        return list(enumerate(times, start=1))

    def to_dict(self) -> dict[str, Any]:
        """The answers as plain data, with their counts."""
        counts = {verdict.value: self.count(verdict) for verdict in Verdict}
        return {
            "counts": counts,
            "proved": sum(row.proved for row in self.rows if row.decided),
            "unconfirmed": sum(row.confirmed is False for row in self.rows),
            "contradictions": [row.number for row in self.contradictions],
            "seconds": sum(row.seconds for row in self.rows),
            "queries": [row.to_dict() for row in self.rows],
        }


def read_instances(path: str | Path) -> list[Instance]:
    """The queries of a list, which may be compressed (`.gz`).

    Raises:
        InputError: the list cannot be read, or is empty; the message names the line.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
        text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8-sig")
        found = [(i, row) for i, row in enumerate(csv.reader(StringIO(text)), start=1)]
    except (OSError, EOFError, UnicodeDecodeError, zlib.error, csv.Error) as cause:
        problem = f"cannot be read ({type(cause).__name__})"
        raise InputError("instances", str(path), problem, "give a list of queries") from cause
    lines = [(i, row) for i, row in found if any(cell.strip() for cell in row)]
    names: tuple[str, ...] = HEADER
    if lines and "network" in (head := [cell.strip() for cell in lines[0][1]]):
        names = tuple(head)
        lines = lines[1:]
    if not lines:
        raise InputError("instances", str(path), "holds no query", "write network,property,timeout")
    return [_instance(dict(zip(names, row, strict=False)), f"{path.name}:{i}") for i, row in lines]


def _instance(fields: dict[str, str], where: str) -> Instance:
    remedy = f"write {','.join(HEADER)}, the verdict being one of holds, violated or nothing"
    try:
        expected = fields.get("verdict", "").strip()
        found = Instance(
            fields["network"].strip(),
            fields["property"].strip(),
            float(fields["timeout_s"]),
            Verdict(expected) if expected else None,
        )
    except KeyError as cause:
        raise InputError("instances", where, f"has no {cause.args[0]}", remedy) from cause
    except ValueError as cause:
        raise InputError("instances", where, f"is no query ({cause})", remedy) from cause
    if not (isfinite(found.timeout) and found.timeout > 0 and found.network and found.property):
        raise InputError("instances", where, "needs two files and positive seconds", remedy)
    return found
