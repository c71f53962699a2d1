"""Many verification queries from a list, shared by processes or a Ray cluster, with a journal.

Every answered row is written down at once; a later call on the same folder goes on with what is
left. A counterexample is replayed (`replay.py`) and kept in the form of the competition. Processes
take queries one by one, first come, first served, since some take a thousand times as long as
others; which process answers changes no answer but those that are a matter of time. On Ray each
query is a task, and only the process that asks writes.
"""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
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
from holdfast.core.errors import HoldfastError, InputError, described, shorten
from holdfast.core.recipes import content_hash
from holdfast.core.results import Verdict
from holdfast.runs.atomic import write_text
from holdfast.runs.claims import Claims
from holdfast.runs.executors import Shard, run_jobs
from holdfast.runs.journal import Journal
from holdfast.runs.ray_jobs import run_on_ray

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
    ray: bool = False,
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
        ray: ask the workers of a Ray cluster instead, each with one thread (`run_on_ray`); the
            list, the networks and the properties must be under the same paths there.
        timeout: seconds of a query at most; None takes those of the list.
        falsifier: as in `verify`, and so are `bound`, `splitting` and `seed`; None is its default.
        limit: the first so many queries.
        select: which of them are wanted.
        on_row: called with each answer, those of the journal first; with several jobs a function of
            a module, called in the process that answers; on Ray in this one.

    Guarantee: a query that cannot be asked (a file that is missing, an operator without a rule) is
        `unknown` with its problem, and is asked again by the next call.

    Raises:
        InputError: the list cannot be read; both several jobs and Ray.
        HoldfastError: a process was killed; Ray is not there, or has no answer to a query. What is
            answered is kept.
    """
    if ray and jobs > 1:
        raise InputError("jobs", jobs, "is given beside Ray", "use one of the two")
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
    left = [number for number in numbers if number not in done]
    found = _from_ray(task, instances, left) if ray else _from_processes(task, jobs)
    rows = done | {row.number: row for row in found}
    return InstanceTable(tuple(rows[number] for number in numbers))


def claims(folder: str | Path) -> Claims:
    """Which queries are taken by which process."""
    return Claims(Path(folder) / "claims")


def counterexample_file(folder: str | Path, number: int) -> Path:
    """Where the counterexample of a query is kept."""
    return Path(folder) / "counterexamples" / f"{number:04d}.txt"


def _from_processes(task: _Task, jobs: int) -> list[InstanceRow]:
    """The answers of processes of this machine to what the journal does not hold."""
    taken = claims(task.folder)
    taken.clear()
    try:
        return [row for part in run_jobs(_share, (task,), jobs) for row in part]
    finally:
        taken.clear()


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
            row, text = _answered(task, instances[number], number, load)
            _keep(task, journal, row, text)
            rows.append(row)
    return rows


def _from_ray(
    task: _Task, instances: Sequence[Instance], numbers: Sequence[int]
) -> list[InstanceRow]:
    """The answers of a Ray cluster to these queries, written down here as they come."""
    sent = replace(task, path=task.path.absolute(), numbers=(), on_row=None)
    call = secrets.token_hex(8)
    with Journal(task.folder / "journal", every=1) as journal:
        answers = run_on_ray(
            _answered_there,
            [(sent, instances[number], number, call) for number in numbers],
            on_result=lambda place, answer: _keep(task, journal, *answer),
        )
    return [row for row, _ in answers]


def _answered_there(
    task: _Task, instance: Instance, number: int, call: str
) -> tuple[InstanceRow, str]:
    """The answer of a worker of Ray, which may serve one call after another."""
    return _answered(task, instance, number, _loader(call))


@lru_cache(maxsize=1)
def _loader(call: str) -> Callable[..., Any]:
    """Reads networks and remembers two of them, for one call: files may change until the next."""
    return lru_cache(maxsize=2)(read_onnx)


def _answered(
    task: _Task, instance: Instance, number: int, load: Callable[..., Any]
) -> tuple[InstanceRow, str]:
    """The answer to one query and its counterexample, empty without one."""
    root = task.path.parent
    try:
        found = answer_query(
            instance, root, number=number, timeout=task.timeout, load=load, **task.options
        )
    except HoldfastError as error:
        return InstanceRow(instance, Verdict.UNKNOWN, number, problem=str(error)), ""
    except Exception as error:  # a fault in one query must not cost the answers to the others
        problem = f"fault: {type(error).__name__}: {shorten(described(str(error)))}"
        return InstanceRow(instance, Verdict.UNKNOWN, number, problem=problem), ""
    return found.row, found.counterexample


def _keep(task: _Task, journal: Journal, row: InstanceRow, counterexample: str) -> None:
    """Writes down an answer, its counterexample first, and tells of it."""
    if counterexample:
        write_text(counterexample_file(task.folder, row.number), f"{counterexample}\n")
    if not row.problem:
        journal.append(task.stage, _columns(row))
    if task.on_row is not None:
        task.on_row(row)


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
