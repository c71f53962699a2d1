"""`holdfast reproduce`: published tables and figures, listed, shown and computed again.

`list` and `show` of the index load no torch.
"""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from holdfast.cli import options, output
from holdfast.cli.running import command, kept_run
from holdfast.core.errors import InputError
from holdfast.reproduce.catalogue import REPRODUCTIONS

Id = Annotated[str, typer.Argument(metavar="ID", help="As `holdfast reproduce list` names it.")]
EXAMPLES = """\b
Examples:
  holdfast reproduce list
  holdfast reproduce run square-progress --quick
"""
LIST_EXAMPLES = """\b
Examples:
  holdfast reproduce list
  holdfast reproduce list --json
"""
SHOW_EXAMPLES = """\b
Examples:
  holdfast reproduce show square-seeds
  holdfast reproduce show square-ablation --json
"""
RUN_EXAMPLES = """\b
Examples:
  holdfast reproduce run square-dilated --quick
  holdfast reproduce run square-seeds --quick --seed 1 --json
"""


def reproduce() -> typer.Typer:
    """The group `reproduce`: list, show, run."""
    group = typer.Typer(
        name="reproduce",
        help="List, show and run published tables and figures.",
        epilog=EXAMPLES,
        rich_markup_mode=None,
        no_args_is_help=True,
    )
    group.command("list", epilog=LIST_EXAMPLES)(list_known)
    group.command("show", epilog=SHOW_EXAMPLES)(show)
    group.command("run", epilog=RUN_EXAMPLES)(run)
    return group


def list_known(json: options.Json = False) -> int:
    """List the tables and figures that can be computed again."""
    entries = list(REPRODUCTIONS.values())
    if json:
        fields = ("name", "summary", "source", "cost")
        output.emit_json([{each: getattr(entry, each) for each in fields} for entry in entries])
    else:
        rows = [(entry.name, entry.summary, entry.source) for entry in entries]
        output.emit_table("", ("id", "", "source"), rows)
    return 0


def show(name: Id, json: options.Json = False) -> int:
    """Show what was published and claimed, and the sizes at which it runs."""
    record = REPRODUCTIONS[name].load().to_dict()
    if json:
        output.emit_json(record)
        return 0
    output.emit(f"{record['title']}\n{record['thesis']}, {record['source']}")
    output.emit(f"published: {record['published_setting']}\nneeds: {', '.join(record['needs'])}")
    sizes = [
        (each["size"], f"{each['minutes']:g}", each["note"] or "the published setting")
        for each in record["sizes"]
    ]
    output.emit_table("sizes", ("size", "CPU minutes", ""), sizes)
    from holdfast.reproduce.page import SPREAD, cell, words

    figures = []
    for line, known in record["published"].items():
        given = {"figures": {each: {"published": value} for each, value in known.items()}}
        figures += [
            (line, words(each), cell(given, each, "published"))
            for each, value in known.items()
            if value is not None and not each.endswith(SPREAD)
        ]
    if figures:
        output.emit_table("published figures", ("line", "", ""), figures)
    for claim in record["claims"]:
        output.emit(f"claimed: {claim}")
    if record["remarks"]:
        output.emit(record["remarks"])
    return 0


def run(
    name: Id,
    run: options.RunDir = None,
    quick: Annotated[bool, typer.Option("--quick", help="A trial in seconds.")] = False,
    published: Annotated[
        bool, typer.Option("--published", help="The published sizes, where they can run.")
    ] = False,
    data_dir: options.DataDir = None,
    limit: options.Limit = None,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    threads: options.Threads = None,
    resume: options.Resume = False,
    out: options.Out = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> int:
    """Compute a table or figure again, beside what was published; on a laptop unless --published.

    Figure, table and page are in the run directory.
    """
    entry = REPRODUCTIONS[name]
    options.check_common(seed=seed, threads=threads)
    if quick and published:
        raise InputError("quick", True, "contradicts --published", "give one of them")
    if limit is not None and limit < 1:
        raise InputError("limit", limit, "is below 1", "give a whole number from 1")
    size = "quick" if quick else "published" if published else "scaled"
    with kept_run("reproduce", name, size, run, resume=resume, out=out) as kept:
        choices = {"size": size, "data_dir": data_dir, "seed": seed, "limit": limit}
        choices |= {"device": options.device(device)}
        _compute(entry.load(), kept, choices, threads, quiet)
    record = kept.read_result() if output.talks() else {}
    if json:
        output.emit_json({**record, "run": str(kept.path)})
    else:
        _show(record)
        output.emit(f"run: {kept.path}\npage: {kept.report_file}")
    return 0


def _compute(
    entry: Any, kept: Any, choices: dict[str, Any], count: int | None, quiet: bool
) -> None:
    import warnings

    from holdfast.cli.evaluate import threads
    from holdfast.reproduce.running import run as compute

    tell = (lambda text: None) if quiet else output.note
    with warnings.catch_warnings(), threads(count):
        warnings.simplefilter("ignore")
        compute(entry, kept, notes={"command": command()}, tell=tell, **choices)


def _show(record: dict[str, Any]) -> None:
    """The comparison, the setting and the claims."""
    if not record:
        return
    from holdfast.reproduce.page import measures, ran, setting, verdict, words

    entry = record["reproduction"]
    names = measures(record)
    rows = [[line["line"], *(_cell(line, each) for each in names)] for line in ran(record)]
    title = f"{entry['title']} ({entry['source']}): ours / published"
    output.emit_table(title, ["", *map(words, names)], rows)
    output.emit(setting(record))
    for claim in record["claims"]:
        output.emit(verdict(claim))
    for name, why in record["not_run"].items():
        output.emit(f"not run: {name} ({why})")


def _cell(line: Mapping[str, Any], measure: str) -> str:
    from holdfast.reproduce.page import cell

    ours, theirs = (cell(line, measure, kind) for kind in ("ours", "published"))
    known = line["figures"].get(measure, {}).get("published") is not None
    return f"{ours} / {theirs}" if known else ours
