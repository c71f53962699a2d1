"""Many verification queries from a list, shared by processes, with a journal.

Every answered row is written down at once; a later call on the same folder goes on with what is
left. A counterexample is replayed (`replay.py`) and kept in the form of the competition. Processes
take queries one by one, first come, first served, since some take a thousand times as long as
others; which process answers changes no answer but those that are a matter of time.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from holdfast.benchmark.instances import Instance, InstanceRow, InstanceTable, read_instances
from holdfast.benchmark.replay import Replay, replay
from holdfast.benchmark.verify import Splitting, VerifyResult, verify
from holdfast.benchmark.verify_attack import Falsifier
from holdfast.benchmark.verify_boxes import Bounding
from holdfast.certify.formats.onnx_reader import read_onnx
from holdfast.certify.formats.vnnlib import counterexample_text, read_vnnlib
from holdfast.core.errors import HoldfastError, described, shorten
from holdfast.core.recipes import content_hash
from holdfast.core.results import Verdict
from holdfast.runs.atomic import write_text
from holdfast.runs.claims import Claims
from holdfast.runs.executors import Shard, run_jobs
from holdfast.runs.journal import Journal

_VERDICTS = tuple(Verdict)
_LONGEST = 64  # bytes of a text in the journal
Listener = Callable[[InstanceRow], None]


@dataclass(frozen=True)
class Answer:
    """An answer with its evidence.

    Args:
        row: for the table.
        result: of `verify`; None where the query could not be asked.
        replay: of the counterexample, or None.
    """

    row: InstanceRow
    result: VerifyResult | None = None
    replay: Replay | None = None

    @property
    def counterexample(self) -> str:
        """The counterexample in the form of the competition; empty without one."""
        return "" if self.replay is None else counterexample_text(self.replay.x, self.replay.output)


def answer_query(
    instance: Instance,
    root: str | Path,
    *,
    number: int = 0,
    timeout: float | None = None,
    load: Callable[..., Any] = read_onnx,
    **options: Any,
) -> Answer:
    """Reads the files of a query, decides it, and replays a counterexample.

    Args:
        root: where the paths of the query begin.
        number: of the row.
        timeout: seconds at most; None takes those of the query.
        load: reads a network.
        options: those of `verify`.

    Raises:
        HoldfastError: a file that cannot be read, an operator without a rule.
    """
    seconds = instance.timeout if timeout is None else min(timeout, instance.timeout)
    network = Path(root) / instance.network
    asked = read_vnnlib(Path(root) / instance.property)
    graph = load(network, order_only=asked.compares)
    found = verify(graph, asked, timeout=seconds, **options)
    again = None
    if found.counterexample is not None:
        again = replay(network, graph, asked, found.counterexample)
    row = InstanceRow(
        instance,
        found.verdict,
        number,
        found.seconds,
        found.boxes,
        found.method,
        found.proved,
        found.lower,
        again.executor if again else "",
        again.confirmed if again else None,
    )
    return Answer(row, found, again)


@dataclass(frozen=True)
class _Task:
    """What every process is told."""

    path: Path
    folder: Path
    stage: str
    numbers: tuple[int, ...]
    timeout: float | None
    options: dict[str, Any] = field(default_factory=dict)
    on_row: Listener | None = None


def verify_instances(
    path: str | Path,
    *,
    folder: str | Path,
    jobs: int = 1,
    timeout: float | None = None,
    falsifier: Falsifier | None = None,
    bound: Bounding | None = None,
    splitting: Splitting | None = None,
    seed: int = 0,
    limit: int | None = None,
    select: Callable[[Instance], bool] = lambda instance: True,
    on_row: Listener | None = None,
) -> InstanceTable:
    """The answers to the queries of a list.

    Args:
        path: of the list.
        folder: for the journal and the counterexamples. What it holds of the same list and the same
            settings is not computed again.
        jobs: processes of this machine, each with one thread if there are several.
        timeout: seconds of a query at most; None takes those of the list.
        falsifier: as in `verify`, and so are `bound`, `splitting` and `seed`; None is its default.
        limit: the first so many queries.
        select: which of them are wanted.
        on_row: called with each answer, those of the journal first; with several jobs a function of
            a module, called in the process that answers.

    Guarantee: a query that cannot be asked (a file that is missing, an operator without a rule) is
        `unknown` with its problem, and is asked again by the next call.

    Raises:
        InputError: the list cannot be read.
    """
    instances = read_instances(path)[:limit]
    given = {"falsifier": falsifier, "bound": bound, "splitting": splitting}
    options = {name: each for name, each in given.items() if each is not None} | {"seed": seed}
    stage = f"verify-{content_hash([repr(options), timeout, repr(instances)])}"
    numbers = tuple(i for i, instance in enumerate(instances) if select(instance))
    task = _Task(Path(path), Path(folder), stage, numbers, timeout, options, on_row)
    done = _finished(task, instances)
    for number in numbers:
        if number in done and on_row is not None:
            on_row(done[number])
    claims(folder).clear()
    try:
        parts = run_jobs(_share, (task,), jobs)
    finally:
        claims(folder).clear()
    rows = done | {row.number: row for part in parts for row in part}
    return InstanceTable(tuple(rows[number] for number in numbers))


def claims(folder: str | Path) -> Claims:
    """Which queries are taken by which process."""
    return Claims(Path(folder) / "claims")


def counterexample_file(folder: str | Path, number: int) -> Path:
    """Where the counterexample of a query is kept."""
    return Path(folder) / "counterexamples" / f"{number:04d}.txt"


def _share(task: _Task) -> list[InstanceRow]:
    """The answers of one process to the queries that it takes."""
    instances, shard = read_instances(task.path), Shard.current()
    done, taken = _finished(task, instances), claims(task.folder)
    load = lru_cache(maxsize=2)(read_onnx)
    rows = []
    with Journal(task.folder / "journal", rank=shard.rank, every=1) as journal:
        for number in task.numbers:
            if number in done or not (shard.world == 1 or taken.take(number)):
                continue
            row = _answered(task, instances[number], number, load)
            if not row.problem:
                journal.append(task.stage, _columns(row))
            rows.append(row)
            if task.on_row is not None:
                task.on_row(row)
    return rows


def _answered(
    task: _Task, instance: Instance, number: int, load: Callable[..., Any]
) -> InstanceRow:
    """The answer to one query, its counterexample on the disk."""
    root = task.path.parent
    try:
        found = answer_query(
            instance, root, number=number, timeout=task.timeout, load=load, **task.options
        )
    except HoldfastError as error:
        return InstanceRow(instance, Verdict.UNKNOWN, number, problem=str(error))
    except Exception as error:  # a fault in one query must not cost the answers to the others
        problem = f"fault: {type(error).__name__}: {shorten(described(str(error)))}"
        return InstanceRow(instance, Verdict.UNKNOWN, number, problem=problem)
    if found.counterexample:
        write_text(counterexample_file(task.folder, number), f"{found.counterexample}\n")
    return found.row


def _columns(row: InstanceRow) -> dict[str, torch.Tensor]:
    """The row of the journal."""
    confirmed = -1 if row.confirmed is None else int(row.confirmed)
    return {
        "index": torch.tensor([row.number]),
        "verdict": torch.tensor([_VERDICTS.index(row.verdict)]),
        "seconds": torch.tensor([row.seconds], dtype=torch.float64),
        "boxes": torch.tensor([row.boxes]),
        "method": _encoded(row.method),
        "proved": torch.tensor([row.proved]),
        "lower": torch.tensor([row.lower], dtype=torch.float64),
        "replayed": _encoded(row.replayed),
        "confirmed": torch.tensor([confirmed]),
    }


def _encoded(text: str) -> torch.Tensor:
    """A short text as bytes (1, 64)."""
    return torch.tensor([list(text.encode()[:_LONGEST].ljust(_LONGEST))], dtype=torch.uint8)


def _decoded(numbers: Sequence[int]) -> str:
    return bytes(numbers).decode(errors="replace").rstrip()


def _finished(task: _Task, instances: Sequence[Instance]) -> dict[int, InstanceRow]:
    """The answers that the journal holds, by number."""
    found = Journal(task.folder / "journal").read(task.stage)
    if found is None:
        return {}
    plain = {name: values.tolist() for name, values in found.items()}
    return {
        number: InstanceRow(
            instances[number],
            _VERDICTS[plain["verdict"][i]],
            number,
            plain["seconds"][i],
            plain["boxes"][i],
            _decoded(plain["method"][i]),
            plain["proved"][i],
            plain["lower"][i],
            _decoded(plain["replayed"][i]),
            None if plain["confirmed"][i] < 0 else bool(plain["confirmed"][i]),
        )
        for i, number in enumerate(plain["index"])
        if number in task.numbers
    }
