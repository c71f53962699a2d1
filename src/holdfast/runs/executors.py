"""Who does which examples: one process, several on this machine (`run_jobs`), or `torchrun`.

All of them tell a process its place by the variables RANK and WORLD_SIZE, so the same function runs
under each: it asks `Shard.current()`, does its rows, writes them to the journal, and rank 0 gathers
(`runs.Ranks`). An example's result does not depend on who did it. Imports no torch.
"""

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pickle import PicklingError
from typing import TYPE_CHECKING, Any

from holdfast.core.errors import InputError, RunConflict
from holdfast.runs.worker import GRACE, Answer, Failure, work

if TYPE_CHECKING:
    from torch import Tensor

_SETTLE = 0.5  # seconds in which processes that one error stopped report together
_agreements = count()  # ranks call `agree` equally often and in the same order


@dataclass(frozen=True)
class Shard:
    """The place of this process among those that share the work.

    Args:
        rank: from 0.
        world: how many there are.

    Raises:
        InputError: not 0 <= rank < world.
    """

    rank: int = 0
    world: int = 1

    def __post_init__(self) -> None:
        if self.world < 1:
            raise InputError("world", self.world, "is not positive", "give a whole number from 1")
        if not 0 <= self.rank < self.world:
            remedy = f"give a whole number from 0 to {self.world - 1}"
            raise InputError("rank", self.rank, f"is not a rank of {self.world}", remedy)

    @classmethod
    def current(cls) -> "Shard":
        """The place that the launcher gave, by RANK and WORLD_SIZE; rank 0 of 1 without them.

        Raises:
            InputError: one of them is missing or no whole number.
        """
        values = {name: os.environ.get(name) for name in ("RANK", "WORLD_SIZE")}
        if not any(values.values()):
            return cls()
        for name, value in values.items():
            if value is None or not value.isdecimal():
                problem, remedy = "is not a whole number", "start the processes with torchrun"
                raise InputError(name, value, problem, remedy)
        return cls(int(values["RANK"] or 0), int(values["WORLD_SIZE"] or 1))

    def rows(self, n: int, block: int = 64) -> "Tensor":
        """Which of n examples are this process's: blocks of fixed size, dealt in turn.

        Args:
            n: how many examples there are.
            block: examples of a block; the last one may be shorter.

        Returns:
            int64 (m,), ascending.

        Guarantee: the shards of one world hold every example exactly once, and their numbers of
            blocks differ by at most one.

        Example:
            >>> Shard(rank=1, world=2).rows(10, block=3).tolist()
            [3, 4, 5, 9]
        """
        import torch

        if block < 1:
            raise InputError("block", block, "is not positive", "give a whole number from 1")
        index = torch.arange(n)
        return index[(index // block) % self.world == self.rank]


def agree(text: str, shard: Shard) -> str:
    """Rank 0's text, on every rank of a `torchrun` job: which run directory it made, for instance.

    Raises:
        InputError: there are several ranks and no launcher whose store they could meet in.
    """
    if shard.world == 1:
        return text
    if "MASTER_ADDR" not in os.environ:
        remedy = "start the processes with torchrun"
        raise InputError("MASTER_ADDR", None, "is not set", remedy)
    from torch.distributed.rendezvous import rendezvous

    store = next(rendezvous("env://"))[0]
    key = f"holdfast/agree/{next(_agreements)}"
    if shard.rank == 0:
        store.set(key, text)
    agreed: bytes = store.get(key)
    store.add(key + "/read", 1)
    while shard.rank == 0 and store.add(key + "/read", 0) < shard.world:
        time.sleep(0.01)  # rank 0 may own the store: it stays until all have read
    return agreed.decode()


def run_jobs(
    target: Callable[..., Any], arguments: Sequence[Any] = (), jobs: int = 2, *, threads: int = 1
) -> list[Any]:
    """Calls `target(*arguments)` in several processes of this machine; each finds its place by
    `Shard.current()`.

    One job is called in this process. When a process fails, or on Ctrl-C, the others are asked to
    stop as by Ctrl-C, so that they save their state; when this process is killed, they stop, too.

    Args:
        target: a function of a module, so that another process can import it.
        arguments: the same for all; must be picklable, as must the results.
        jobs: how many processes.
        threads: of each process, for torch and what it uses.

    Returns:
        What the calls returned, by rank.

    Raises:
        InputError: the first that a process raised, as it was; the target cannot be sent.
        HoldfastError: a process was killed.
        KeyboardInterrupt: this process or one of the others was interrupted.
        Exception: any other error of a process, with its traceback as a note.
    """
    if jobs < 1:
        raise InputError("jobs", jobs, "is not positive", "give a whole number from 1")
    if jobs == 1:
        return [target(*arguments)]
    if Shard.current().world > 1:
        raise InputError("jobs", jobs, "is used under torchrun", "use one of the two")
    workers: list[_Worker] = []
    stop = True
    try:
        for rank in range(jobs):
            workers.append(_start(target, tuple(arguments), Shard(rank, jobs), threads))
        results = _collect(workers)
        stop = False
        return results
    finally:
        _end(workers, stop)


@dataclass(frozen=True, eq=False)
class _Worker:
    rank: int
    process: SpawnProcess
    answers: "Connection[Any, Any]"


def _start(
    target: Callable[..., Any], arguments: tuple[Any, ...], shard: Shard, threads: int
) -> _Worker:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=work, args=(there, target, arguments))
    try:
        with variables(_place(shard) | thread_variables(threads)):
            process.start()
    except (PicklingError, AttributeError, TypeError) as error:
        here.close()
        problem = f"cannot be sent to another process ({error})"
        remedy = "give a function of a module and arguments that can be pickled"
        raise InputError("target", target, problem, remedy) from error
    finally:
        there.close()
    return _Worker(shard.rank, process, here)


def _place(shard: Shard) -> dict[str, str]:
    rank = str(shard.rank)
    return {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": str(shard.world)}


def thread_variables(threads: int) -> dict[str, str]:
    """Variables that give a process so many threads which wait without spinning; they must be there
    before it imports torch.
    """
    count = str(threads)
    return {"OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": count, "MKL_NUM_THREADS": count}


@contextmanager
def variables(values: Mapping[str, str]) -> Iterator[None]:
    """Variables of the environment within the block, for processes that it starts."""
    former = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in former.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _collect(workers: list[_Worker]) -> list[Any]:
    """All results by rank, or the error of the process that failed first or caused others to."""
    waiting = {worker.answers: worker for worker in workers}
    results: dict[int, Any] = {}
    failures: list[BaseException] = []
    while waiting:
        ready = wait(list(waiting), timeout=_SETTLE if failures else None)
        for answers in [each for each in ready if isinstance(each, Connection)]:
            worker = waiting.pop(answers)
            answer = _receive(worker)
            if answer.failure is not None:
                failures.append(answer.failure.rebuilt())
            results[worker.rank] = answer.result
        if failures and not ready:
            break
    if failures:
        raise min(failures, key=_urgency)
    return [results[rank] for rank in sorted(results)]


def _urgency(error: BaseException) -> int:
    """What the user should hear of first; a conflict is often but the echo of another error."""
    return 0 if isinstance(error, InputError) else 2 if isinstance(error, RunConflict) else 1


def _receive(worker: _Worker) -> Answer:
    try:
        answer: Answer = worker.answers.recv()
        return answer
    except (EOFError, OSError):  # it ended before or within its answer
        worker.process.join(GRACE)
        code = worker.process.exitcode or 0
        how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        text = f"process {worker.rank} {how}; finished examples are kept: continue with --resume"
        return Answer(failure=Failure("HoldfastError", (text,), text, ""))


def _end(workers: list[_Worker], stop: bool) -> None:
    """Waits for the processes, after asking them to stop if need be; in the end, kills them."""
    try:
        if stop:
            for worker in workers:
                worker.process.terminate()
        deadline = time.monotonic() + GRACE
        for worker in workers:
            worker.process.join(max(0.0, deadline - time.monotonic()))
    finally:
        for worker in workers:
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
            worker.answers.close()
