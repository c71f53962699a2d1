"""The life of one process of `run_jobs`: calls the target, sends back its result or its error.

Errors travel as text and are built anew, since many do not survive pickling. Imports no torch.
"""

import builtins
import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from holdfast.core import errors
from holdfast.core.errors import HoldfastError, InputError, described, shorten
from holdfast.runs.interrupt import graceful_interrupt

GRACE = 20.0  # seconds for a process to save its state when it is asked to stop


@dataclass(frozen=True)
class Failure:
    """An error of another process.

    Args:
        kind: name of its class.
        arguments: from which the class builds it again; plain values.
        text: its message.
        trace: its traceback there.
    """

    kind: str
    arguments: tuple[Any, ...]
    text: str
    trace: str

    @classmethod
    def of(cls, error: BaseException) -> "Failure":
        """The failure that `error` is."""
        arguments: tuple[Any, ...] = error.args
        if isinstance(error, InputError):
            arguments = (error.argument, error.value, error.problem, error.remedy)
        elif isinstance(error, OSError) and error.filename is not None:
            arguments = (error.errno, error.strerror, error.filename)
        trace = "".join(traceback.format_exception(error))
        return cls(type(error).__name__, tuple(map(_plain, arguments)), str(error), trace)

    def rebuilt(self) -> BaseException:
        """The error as it was if it is holdfast's own or Python's, else a RuntimeError with its
        text; with the traceback as a note where it is not meant for the user."""
        kind = getattr(errors, self.kind, None) or getattr(builtins, self.kind, None)
        error: BaseException = RuntimeError(f"{self.kind}: {self.text}")
        if isinstance(kind, type) and issubclass(kind, BaseException) and kind is not SystemExit:
            with suppress(Exception):  # it may want arguments that are no plain values
                error = kind(*self.arguments)
        if not isinstance(error, HoldfastError):
            error.add_note(self.trace)
        return error


@dataclass(frozen=True)
class Answer:
    """What a process sends back: a result or a failure."""

    result: Any = None
    failure: Failure | None = None


def work(
    answers: "Connection[Any, Any]", target: Callable[..., Any], arguments: tuple[Any, ...]
) -> None:
    """Calls the target and sends back its answer."""
    threading.Thread(target=_follow_parent, daemon=True).start()
    try:
        with graceful_interrupt():
            result = target(*arguments)
        answers.send(Answer(result=result))
    except BaseException as error:
        with suppress(OSError):  # nobody is left to tell
            answers.send(Answer(failure=Failure.of(error)))


def _follow_parent() -> None:
    """Stops this process when the one that started it is gone, even killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(GRACE)
        os._exit(130)


def _plain(value: Any) -> Any:
    plain = value is None or type(value) in (bool, int, float, str, bytes)
    return value if plain else described(shorten(value))
