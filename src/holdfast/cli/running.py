"""What every verb that computes does around its work: the run directory, interrupts, `--out`.

Imports no torch.
"""

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from holdfast.cli.output import talks
from holdfast.core.errors import InputError
from holdfast.runs import atomic
from holdfast.runs.atomic import shown
from holdfast.runs.directory import Run
from holdfast.runs.opening import run_directory

ARGUMENTS: ContextVar[tuple[str, ...]] = ContextVar("arguments", default=())


class Interrupted(Exception):
    """The work was stopped and its state saved; `str` is the command that continues it."""


def command() -> str:
    """The command line as it was given, ready to paste.

    Example:
        >>> token = ARGUMENTS.set(("train", "my recipe.toml"))
        >>> command()
        "holdfast train 'my recipe.toml'"
        >>> ARGUMENTS.reset(token)
    """
    return shlex.join(["holdfast", *ARGUMENTS.get()])


@contextmanager
def kept_run(
    verb: str, model: str, data: str, path: str | None, *, resume: bool, out: str | None
) -> Iterator[Run]:
    """The run directory of this command, locked; at the end `out` is a copy of its result.

    Raises:
        Interrupted: the block was; the state is in the run.
        InputError: the directory or `out` cannot be used.
        RunConflict: the directory is in use or not empty.
    """
    check_out(out)
    with run_directory(verb, model, data, path, resume=resume, numbered=True) as run:
        assert run is not None
        try:
            yield run
        except KeyboardInterrupt:
            raise Interrupted(_continuing(run)) from None
        if out is not None and talks():
            atomic.write_bytes(out, run.result_file.read_bytes())


def check_out(out: str | None) -> None:
    """Refuses, before anything is computed, a file that could not be written afterwards."""
    if out is None:
        return
    path = Path(out)
    if path.is_dir():
        raise InputError("out", shown(path), "is a folder", "name a file")
    parent = next(each for each in path.absolute().parents if each.exists())
    if not parent.is_dir():
        raise InputError("out", shown(path), f"lies below {parent.name}, a file", "name another")


def write_text(out: str | None, text: str) -> None:
    """The text in the file, or on stdout where none is named."""
    if out is None:
        sys.stdout.write(text)
    elif talks():
        check_out(out)
        atomic.write_text(out, text)


def _continuing(run: Run) -> str:
    """The command that continues this one."""
    given = list(ARGUMENTS.get())
    if not any(each.partition("=")[0] in ("--run", "--run-dir") for each in given):
        given += ["--run", str(run.path)]
    if "--resume" not in given:
        given.append("--resume")
    return shlex.join(["holdfast", *given])
