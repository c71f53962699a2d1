"""Many verification queries from a list, with a journal: the benchmark of a competition.

A list is a file of comma-separated rows `network,property,timeout`, as in the competitions, or one
with a header that names `network`, `property`, `timeout_s` and, where it is known, `verdict`. Paths
are relative to the list. Every decided row is written down at once; a second call goes on after the
last one. Counterexamples are kept in the form of the competition.

Source: Bak, Liu, Johnson 2021, arXiv 2109.00498 (VNN-COMP 2021: lists, cactus plots).
"""

import csv
import gzip
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from io import StringIO
from pathlib import Path

import torch

from holdfast.benchmark.verify import Bounding, Splitting, VerifyResult, verify
from holdfast.benchmark.verify_attack import BoxDescent, Falsifier
from holdfast.certify.interval import Interval
from holdfast.certify.onnx_reader import read_onnx
from holdfast.certify.vnnlib import counterexample_text, read_vnnlib
from holdfast.core.errors import HoldfastError, InputError
from holdfast.core.recipes import content_hash
from holdfast.core.results import Verdict
from holdfast.runs.atomic import write_text
from holdfast.runs.journal import Journal

_HEADER = ("network", "property", "timeout_s", "verdict")
_WORDS = tuple(Verdict)
_METHODS = ("", "attack", "search", "bound")
_INTERVAL, _SPLITTING, _DESCENT = Interval(), Splitting(), BoxDescent()


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
        seconds: what it took, without reading the files.
        boxes: how many boxes were bounded.
        method: what decided, as in `VerifyResult`.
        proved: whether rounding is accounted for.
        problem: why the query could not be asked; empty if it was.
    """

    instance: Instance
    verdict: Verdict
    seconds: float = 0.0
    boxes: int = 0
    method: str = ""
    proved: bool = False
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

    def columns(self) -> dict[str, list[object]]:
        """The answers as plain columns, for a table."""
        agreed = [row.instance.expected for row in self.rows]
        return {
            "network": [row.instance.network for row in self.rows],
            "property": [row.instance.property for row in self.rows],
            "expected": [each.value if each else "" for each in agreed],
            "verdict": [row.verdict.value for row in self.rows],
            "proved": [row.proved for row in self.rows],
            "method": [row.method for row in self.rows],
            "boxes": [row.boxes for row in self.rows],
            "seconds": [row.seconds for row in self.rows],
            "problem": [row.problem for row in self.rows],
        }


def read_instances(path: str | Path) -> list[Instance]:
    """The queries of a list, which may be compressed (`.gz`).

    Raises:
        InputError: the list cannot be read; the message names the line.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
        text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
    except (OSError, EOFError, UnicodeDecodeError) as cause:
        problem = f"cannot be read ({type(cause).__name__})"
        raise InputError("instances", str(path), problem, "give a list of queries") from cause
    lines = [(i, row) for i, row in enumerate(csv.reader(StringIO(text)), start=1) if row]
    names: tuple[str, ...] = _HEADER
    if lines and "network" in lines[0][1]:
        names = tuple(lines.pop(0)[1])
    return [_instance(dict(zip(names, row, strict=False)), f"{path.name}:{i}") for i, row in lines]


def _instance(fields: dict[str, str], where: str) -> Instance:
    try:
        expected = fields.get("verdict", "").strip()
        return Instance(
            fields["network"].strip(),
            fields["property"].strip(),
            float(fields["timeout_s"]),
            Verdict(expected) if expected else None,
        )
    except (KeyError, ValueError) as cause:
        remedy = f"write {','.join(_HEADER)}, the verdict being one of holds, violated or nothing"
        raise InputError("instances", where, f"is no query ({cause})", remedy) from cause


def verify_instances(
    path: str | Path,
    *,
    folder: str | Path,
    timeout: float | None = None,
    falsifier: Falsifier = _DESCENT,
    bound: Bounding = _INTERVAL,
    splitting: Splitting = _SPLITTING,
    seed: int = 0,
    select: Callable[[Instance], bool] = lambda instance: True,
    on_row: Callable[[InstanceRow], None] = lambda row: None,
) -> InstanceTable:
    """The answers to the queries of a list.

    Args:
        path: of the list.
        folder: for the journal and the counterexamples. What it holds of the same list and the same
            settings is not computed again.
        timeout: seconds of a query at most; None takes those of the list.
        falsifier: as in `verify`, and so are `bound`, `splitting` and `seed`.
        select: which queries are wanted.
        on_row: called with each answer, also with those of the journal.

    Guarantee: a query that cannot be asked (a file that is missing, an operator without a rule) is
        `unknown` with its problem, and is asked again by the next call.

    Raises:
        InputError: the list cannot be read.
    """
    instances = read_instances(path)
    settings = [repr(each) for each in (falsifier, bound, splitting, seed, timeout, instances)]
    stage = f"verify-{content_hash(settings)}"
    root = Path(path).parent
    load = lru_cache(maxsize=2)(read_onnx)

    def answer(number: int, instance: Instance) -> InstanceRow:
        seconds = instance.timeout if timeout is None else min(timeout, instance.timeout)
        try:
            graph, asked = load(root / instance.network), read_vnnlib(root / instance.property)
            result = verify(
                graph,
                asked,
                timeout=seconds,
                falsifier=falsifier,
                bound=bound,
                splitting=splitting,
                seed=seed,
            )
        except HoldfastError as error:
            return InstanceRow(instance, Verdict.UNKNOWN, problem=str(error))
        _keep(Path(folder), number, result)
        return _row(instance, result)

    rows = []
    with Journal(Path(folder) / "journal", every=1) as journal:
        done = _finished(journal, stage, instances)
        for number, instance in enumerate(instances):
            if not select(instance):
                continue
            row = done[number] if number in done else answer(number, instance)
            if number not in done and not row.problem:
                journal.append(stage, _columns(number, row))
            rows.append(row)
            on_row(row)
    return InstanceTable(tuple(rows))


def _row(instance: Instance, result: VerifyResult) -> InstanceRow:
    return InstanceRow(
        instance, result.verdict, result.seconds, result.boxes, result.method, result.proved
    )


def _keep(folder: Path, number: int, result: VerifyResult) -> None:
    """Writes the counterexample, if there is one."""
    if result.counterexample is not None and result.output is not None:
        text = counterexample_text(result.counterexample, result.output)
        write_text(folder / "counterexamples" / f"{number:04d}.txt", f"{text}\n")


def _columns(number: int, row: InstanceRow) -> dict[str, torch.Tensor]:
    """The row of the journal."""
    return {
        "index": torch.tensor([number]),
        "verdict": torch.tensor([_WORDS.index(row.verdict)]),
        "seconds": torch.tensor([row.seconds], dtype=torch.float64),
        "boxes": torch.tensor([row.boxes]),
        "method": torch.tensor([_METHODS.index(row.method)]),
        "proved": torch.tensor([row.proved]),
    }


def _finished(
    journal: Journal, stage: str, instances: Sequence[Instance]
) -> dict[int, InstanceRow]:
    """The answers that the journal holds, by number."""
    found = journal.read(stage) or {"index": torch.zeros(0, dtype=torch.int64)}
    plain = {name: values.tolist() for name, values in found.items()}
    return {
        number: InstanceRow(
            instances[number],
            _WORDS[plain["verdict"][i]],
            plain["seconds"][i],
            plain["boxes"][i],
            _METHODS[plain["method"][i]],
            plain["proved"][i],
        )
        for i, number in enumerate(plain["index"])
    }
