"""`holdfast compare` and `holdfast gate`: judgements on finished runs. Imports no torch."""

from typing import Annotated

import typer

from holdfast.cli import options, output
from holdfast.cli.running import check_out
from holdfast.core.errors import InputError
from holdfast.core.numbers import number

COMPARE_EXAMPLES = """\b
Examples:
  holdfast compare runs/first runs/second
  holdfast compare runs/first runs/second --json
"""
GATE_EXAMPLES = """\b
Examples:
  holdfast gate runs/second --max-drop 0.5 --against runs/first
  holdfast gate runs/first --min-clean 0.2 --no-severe-flags --junit gate.xml --markdown gate.md

Exit code 1 if a criterion fails.
"""


def compare(
    first: Annotated[str, typer.Argument(metavar="RUN", help="The first run.")],
    second: Annotated[str, typer.Argument(metavar="RUN", help="The second run.")],
    out: options.Out = None,
    json: options.Json = False,
) -> int:
    """Compare two runs on the same examples by a paired test (McNemar, exact)."""
    from holdfast.benchmark.compare import compare as compare_runs
    from holdfast.runs import atomic
    from holdfast.runs.directory import Run

    check_out(out)
    found = compare_runs(Run.open(first), Run.open(second))
    if out is not None:
        atomic.write_json(out, found.to_dict())
    if json:
        output.emit_json(found.to_dict())
    else:
        rows = [
            (
                row.measure,
                output.percent(row.first),
                output.percent(row.second),
                f"{row.difference:+.2%}",
                row.only_first,
                row.only_second,
                f"{row.p_value:.3g}",
            )
            for row in found.rows
        ]
        columns = ("accuracy", "first", "second", "difference", "only first", "only second", "p")
        title = f"{found.names[0]} -> {found.names[1]}, {found.examples} examples"
        output.emit_table(title, columns, rows)
    output.warn(found.warnings)
    return 0


def gate(
    run: Annotated[str, typer.Argument(metavar="RUN", help="The run to judge.")],
    min_clean: Annotated[
        str | None, typer.Option("--min-clean", metavar="X", help="Least clean accuracy.")
    ] = None,
    min_robust: Annotated[
        str | None, typer.Option("--min-robust", metavar="X", help="Least robust accuracy.")
    ] = None,
    min_certified: Annotated[
        str | None, typer.Option("--min-certified", metavar="X", help="Least certified accuracy.")
    ] = None,
    max_drop: Annotated[
        str | None, typer.Option("--max-drop", metavar="X", help="Largest loss against --against.")
    ] = None,
    against: Annotated[
        str | None, typer.Option("--against", metavar="RUN", help="An older run.")
    ] = None,
    protocol: Annotated[
        str | None,
        typer.Option("--protocol", metavar="NAME", help="That was to be followed: standard."),
    ] = None,
    no_severe_flags: Annotated[
        bool, typer.Option("--no-severe-flags", help="Fail where a severe flag was raised.")
    ] = False,
    junit: Annotated[
        str | None, typer.Option("--junit", metavar="FILE", help="Write JUnit XML there.")
    ] = None,
    markdown: Annotated[
        str | None, typer.Option("--markdown", metavar="FILE", help="Write a Markdown table.")
    ] = None,
    json: options.Json = False,
) -> int:
    """Fail, with exit code 1, where a run does not reach what is asked for."""
    from holdfast.benchmark.gate import gate as judge
    from holdfast.runs import atomic
    from holdfast.runs.directory import Run

    for file in (junit, markdown):
        check_out(file)
    found = judge(
        Run.open(run),
        min_clean=_fraction("min_clean", min_clean),
        min_robust=_fraction("min_robust", min_robust),
        min_certified=_fraction("min_certified", min_certified),
        max_drop=_fraction("max_drop", max_drop),
        against=None if against is None else Run.open(against),
        protocol=protocol,
        no_severe_flags=no_severe_flags,
    )
    if junit is not None:
        atomic.write_text(junit, found.junit())
    if markdown is not None:
        atomic.write_text(markdown, found.markdown())
    if json:
        output.emit_json(found.to_dict())
    else:
        for each in found.criteria:
            output.emit(f"{'passed' if each.passed else 'FAILED'}  {each}")
    return 0 if found.passed else 1


def _fraction(argument: str, text: str | None) -> float | None:
    if text is not None and text.strip().endswith("%"):
        remedy = "give a fraction, such as 0.45"
        raise InputError(argument, text, "is a percentage", remedy)
    return None if text is None else number(text, argument)
