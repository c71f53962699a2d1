"""A list of independent calls on a Ray cluster, each a task: who is free takes the next.

The cluster is that of RAY_ADDRESS, else one that runs on this machine; where there is none, Ray is
started here for as long as the calls take. Its nodes need the same holdfast, and files under the
same paths. Which calls are made where, and again, is left to Ray. Needs the extra `ray`; imports no
torch.
"""

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pickle import PicklingError
from types import ModuleType
from typing import Any

from holdfast.core.errors import HoldfastError, InputError, described, shorten
from holdfast.core.optional import optional
from holdfast.runs.executors import Shard, thread_variables, variables
from holdfast.runs.worker import Answer, Failure

_RETRIES = 2  # of a call whose worker was killed
_PATIENCE = 10.0  # seconds for a cluster to answer
_USAGE = "RAY_USAGE_STATS_ENABLED"
Listener = Callable[[int, Any], None]


def run_on_ray(
    target: Callable[..., Any],
    calls: Sequence[tuple[Any, ...]],
    *,
    threads: int = 1,
    on_result: Listener | None = None,
) -> list[Any]:
    """Calls `target(*arguments)` on a Ray cluster for each of the arguments in `calls`.

    When a call fails, or on Ctrl-C, the others are dropped. A Ray that this process is already
    connected to is used and left running; it reports no more of how it is used than it is told to.

    Args:
        target: a function of a module that the workers can import. It may be called again for the
            same arguments, so it writes nothing down: that is for `on_result`.
        calls: arguments of each call; must be picklable, as must the results.
        threads: of each worker, for torch and what it uses; so many CPUs Ray reserves for a call.
        on_result: called in this process with the place of a call in the list and its result, as
            they come. What it prints goes to stderr, as does what Ray would print on stdout.

    Returns:
        What the calls returned, in the order of the list.

    Guarantee: a call whose worker was killed is made again, twice at most; one that finds no end
        even so costs no other its result. Each result is told once.

    Raises:
        MissingExtra: Ray is not installed.
        InputError: the first that a call raised, as it was; a call cannot be sent; nothing
            answers at RAY_ADDRESS; this is a process of `torchrun`.
        HoldfastError: Ray cannot be reached or started; at the end, calls that Ray could not make.
        KeyboardInterrupt: this process was interrupted.
        Exception: any other error of a call, with its traceback as a note.
    """
    if Shard.current().world > 1:
        raise InputError("ray", True, "is used under torchrun", "use one of the two")
    ray = optional("ray", extra="ray")
    if not calls:
        return []
    with _connected(ray):
        task = ray.remote(answered).options(
            num_cpus=threads,
            max_retries=_RETRIES,
            runtime_env={"env_vars": thread_variables(threads)},
        )
        waiting: dict[Any, int] = {}
        try:
            for place, arguments in enumerate(calls):
                waiting[_sent(task, target, arguments)] = place
            return _collect(ray, waiting, on_result)
        finally:
            for each in waiting:
                ray.cancel(each, force=True)


def answered(target: Callable[..., Any], arguments: tuple[Any, ...]) -> Answer:
    """The result of a call or its error, which would not survive pickling; run by the worker."""
    try:
        return Answer(result=target(*arguments))
    except Exception as error:
        return Answer(failure=Failure.of(error))


def _sent(task: Any, target: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """Ray's handle of a call that is on its way."""
    try:
        return task.remote(target, arguments)
    except (PicklingError, AttributeError, TypeError) as error:
        problem = f"cannot be sent to a worker ({' '.join(str(error).split())[:120]})"
        remedy = "give a function of a module and arguments that can be pickled"
        raise InputError("target", target, problem, remedy) from error


@contextmanager
def _connected(ray: ModuleType) -> Iterator[None]:
    """Within a Ray: that of the caller, or one that is left or ended with the block."""
    if ray.is_initialized():
        yield
        return
    _check_address(os.environ.get("RAY_ADDRESS", ""))
    with redirect_stdout(sys.stderr):  # Ray prints there when it loses a worker
        _connect(ray)
        try:
            yield
        finally:
            ray.shutdown()


def _check_address(address: str) -> None:
    """Refuses a cluster HOST:PORT where nothing answers, for which Ray would wait for minutes."""
    host, _, port = address.rpartition(":")
    if "://" in address or not host or not port.isdecimal():
        return
    try:
        socket.create_connection((host, int(port)), _PATIENCE).close()
    except (OSError, OverflowError) as error:
        problem, remedy = f"is not reached ({error})", "start that cluster, or unset the variable"
        raise InputError("RAY_ADDRESS", address, problem, remedy) from error


def _connect(ray: ModuleType) -> None:
    former = signal.getsignal(signal.SIGTERM)
    try:
        with variables({_USAGE: os.environ.get(_USAGE, "0")}):
            ray.init(include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    except Exception as error:
        remedy = "check RAY_ADDRESS, or do without Ray"
        raise HoldfastError(f"Ray is not there ({_told(error)}); {remedy}") from error
    finally:
        if former is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, former)  # Ray puts its own in the place of it


def _collect(ray: ModuleType, waiting: dict[Any, int], on_result: Listener | None) -> list[Any]:
    """All results, in the order of the calls; takes what is answered out of `waiting`."""
    results: dict[int, Any] = {}
    lost: dict[int, Exception] = {}
    while waiting:
        for each in ray.wait(list(waiting), num_returns=1)[0]:
            place = waiting.pop(each)
            try:
                answer: Answer = ray.get(each)
            except ray.exceptions.RayError as error:
                lost[place] = error
                continue
            if answer.failure is not None:
                raise answer.failure.rebuilt()
            results[place] = answer.result
            if on_result is not None:
                on_result(place, answer.result)
    if lost:
        first = min(lost)
        text = f"Ray has no answer to {len(lost)} of {len(lost) + len(results)} calls"
        text += f", first of all number {first} ({_told(lost[first])})"
        raise HoldfastError(f"{text}; what is finished is kept: continue with --resume")
    return [results[place] for place in sorted(results)]


def _told(error: Exception) -> str:
    """An error of Ray, whose texts are long, as a short line."""
    cause = getattr(error, "cause", None) or error
    return f"{type(cause).__name__}: {shorten(described(str(cause)))}"
