"""The entry of the command: `main(argv)` runs one verb and returns its exit code.

0 done; 1 a gate failed; 2 usage or input, one line on stderr; 3 an answer that is not known, or a
fault of the library; 130 interrupted, with the state saved and the command that continues it. No
traceback but with `--debug`. Loads no torch by itself.
"""

import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated

import typer
from typer.main import get_command

import holdfast
from holdfast.cli import (
    catalogues,
    certify,
    cite,
    doctor,
    evaluate,
    judge,
    report,
    reproduce,
    train,
    verify,
)
from holdfast.cli.output import emit, note
from holdfast.cli.running import ARGUMENTS, Interrupted
from holdfast.core.errors import HoldfastError
from holdfast.runs.interrupt import graceful_interrupt

USAGE_ERROR: type[Exception] = typer.BadParameter.__bases__[0]
EPILOG = """\b
Examples:
  holdfast doctor
  holdfast attacks list

With every command: --debug shows tracebacks, --no-color leaves colours out. Results go to stdout,
progress and warnings to stderr. Exit codes: 0 done, 1 gate failed, 2 bad input, 3 unknown,
130 interrupted.
"""
GLOBAL_FLAGS = ("--debug", "--no-color")


def _version(asked: bool) -> None:
    if asked:
        emit(f"holdfast {holdfast.__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Adversarial robustness of neural networks: attack, evaluate, train, certify, report."""


def build() -> typer.Typer:
    """The command with all its verbs and nouns."""
    app = typer.Typer(
        name="holdfast",
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
        epilog=EPILOG,
    )
    app.callback()(_root)
    verbs = (
        (report.quickstart, report.QUICKSTART_EXAMPLES),
        (train.train, train.EXAMPLES),
        (evaluate.evaluate, evaluate.EVALUATE_EXAMPLES),
        (evaluate.attack, evaluate.ATTACK_EXAMPLES),
        (certify.certify, certify.EXAMPLES),
        (verify.verify, verify.EXAMPLES),
        (report.report, report.REPORT_EXAMPLES),
        (judge.compare, judge.COMPARE_EXAMPLES),
        (judge.gate, judge.GATE_EXAMPLES),
        (doctor.doctor, doctor.EXAMPLES),
        (cite.cite, cite.EXAMPLES),
    )
    for verb, examples in verbs:
        app.command(verb.__name__, epilog=examples)(verb)
    app.add_typer(catalogues.recipes())
    app.add_typer(catalogues.models())
    app.add_typer(reproduce.reproduce())
    for plural in catalogues.NOUNS:
        if plural != "models":
            app.add_typer(catalogues.noun(plural))
    return app


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
        argv: the arguments; by default those of the process.

    Returns:
        the exit code.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch is imported
    given = list(sys.argv[1:] if argv is None else argv)
    debug, plain = ("--debug" in given), ("--no-color" in given)
    rest = [each for each in given if each not in GLOBAL_FLAGS]
    token = ARGUMENTS.set(tuple(rest))
    try:
        with _surroundings(plain), graceful_interrupt():
            return _run(rest, debug=debug)
    except KeyboardInterrupt:
        return _interrupted(None)
    finally:
        ARGUMENTS.reset(token)


def _run(arguments: list[str], *, debug: bool) -> int:
    """Runs one verb; every error becomes a line and a code."""
    try:
        code = get_command(build()).main(arguments, prog_name="holdfast", standalone_mode=False)
        if code == 130:  # how typer tells of KeyboardInterrupt
            return _interrupted(None)
        return code if isinstance(code, int) else 0
    except (typer.Abort, KeyboardInterrupt):
        return _interrupted(None)
    except Interrupted as stop:
        return _interrupted(str(stop))
    except Exception as error:
        if debug:
            traceback.print_exc()
        return _explain(error)


def _explain(error: Exception) -> int:
    """The line for an error, and its exit code."""
    if isinstance(error, USAGE_ERROR):
        context = getattr(error, "ctx", None)
        path = context.command_path if context is not None else "holdfast"
        text = " ".join(getattr(error, "format_message", error.__str__)().split()).rstrip(".")
        hint = "" if text.endswith("?") else f"; see {path} --help"
        note(f"error: {text}{hint}" if text else f"error: nothing was asked for{hint}")
        return 2
    if isinstance(error, HoldfastError):
        note(f"error: {' '.join(str(error).split())}")
        return error.exit_code
    kind = type(error).__name__
    text = " ".join(str(error).split())[:300]
    if isinstance(error, OSError):
        name = f"{error.filename!r}: " if error.filename else ""
        note(f"error: {name}{error.strerror or text}; check the path and the space on its disk")
        return 2
    note(f"error: {kind}: {text}; this is a fault: run again with --debug for the traceback")
    return 3


def _interrupted(command: str | None) -> int:
    """Says how to go on.

    An interrupt that came while a text was being executed, as named tuples and dataclasses do when
    a module is imported, has marked the interpreter to die of SIGINT at its end, whatever its exit
    code; to execute another text takes the mark away.
    """
    exec("")
    note("interrupted" + ("" if command is None else f"; continue with: {command}"))
    return 130


@contextmanager
def _surroundings(plain: bool) -> Iterator[None]:
    """The current folder can be imported from, and colours are off where asked; both restored."""
    path, colour = list(sys.path), os.environ.get("NO_COLOR")
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    if plain:
        os.environ["NO_COLOR"] = "1"
    try:
        yield
    finally:
        sys.path[:] = path
        if plain:
            os.environ.pop("NO_COLOR", None)
            if colour is not None:
                os.environ["NO_COLOR"] = colour
