"""`holdfast report` and `holdfast quickstart`: pages from run directories."""

from typing import Annotated, Any

import typer

from holdfast.cli import options, output
from holdfast.cli.progress import Lines
from holdfast.cli.running import Interrupted, check_out, command
from holdfast.core.errors import InputError
from holdfast.runs.atomic import shown

REPORT_EXAMPLES = """\b
Examples:
  holdfast report runs/first
  holdfast report runs/first runs/second --out both.html
"""
QUICKSTART_EXAMPLES = """\b
Examples:
  holdfast quickstart
  holdfast quickstart --out runs/tour --limit 100 --quiet
"""


def report(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Run directories.")],
    out: Annotated[
        str | None, typer.Option("--out", metavar="FILE", help="By default in the run.")
    ] = None,
    title: Annotated[str | None, typer.Option("--title", help="Of the page.")] = None,
    json: options.Json = False,
) -> int:
    """Write the page of a run, or of several side by side."""
    from holdfast.report.page import write_report
    from holdfast.runs.directory import Run

    check_out(out)
    opened = [Run.open(each) for each in runs]
    page = write_report(opened, out, title=title)
    _emit_page(str(page), json=json)
    return 0


def quickstart(
    out: Annotated[str, typer.Option("--out", metavar="DIR", help="The folder of the runs.")] = (
        "runs/quickstart"
    ),
    limit: options.Limit = None,
    seed: options.Seed = 0,
    threads: options.Threads = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> int:
    """Train three small models on digits, evaluate them from both sides, write a page."""
    import warnings
    from pathlib import Path

    from holdfast.cli.evaluate import threads as so_many
    from holdfast.report.quickstart import quickstart as tour

    options.check_common(seed=seed, threads=threads)
    if Path(out).exists() and not Path(out).is_dir():
        raise InputError("out", shown(out), "is a file", "name a folder")
    progress = Lines(quiet=quiet)
    with warnings.catch_warnings(), so_many(threads):
        warnings.simplefilter("ignore")
        try:
            found: Any = tour(out, seed=seed, limit=limit, on_event=progress)
        except KeyboardInterrupt:
            raise Interrupted(command()) from None
        finally:
            progress.close()
    if json:
        runs = [str(path) for path in found.runs]
        output.emit_json({"report": str(found.report), "runs": runs})
    else:
        output.emit(str(found.table))
        output.emit(f"report: {found.report}")
    return 0


def _emit_page(page: str, *, json: bool) -> None:
    if json:
        output.emit_json({"report": page})
    else:
        output.emit(f"report: {page}")
