"""The verb `certify`: what can be proved under a threat, and with --radius how far."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from holdfast.cli import options, output
from holdfast.cli.evaluate import Job, completed, model_name, perform, shared, threads
from holdfast.cli.progress import Lines
from holdfast.cli.running import command, kept_run
from holdfast.core.errors import InputError
from holdfast.runs.directory import Run

EXAMPLES = """\b
Examples:
  holdfast certify --model runs/mine --threat linf:0.01 --limit 100
  holdfast certify --model digits_conv --data digits --threat linf:0.1 --radius --limit 20
"""
_PRECISION = 1e-4


def certify(
    model: options.Model,
    data: options.Data = None,
    threat: options.Threat = None,
    method: Annotated[
        str | None,
        typer.Option(
            "--method",
            metavar="NAME",
            help="A bound, or auto: bounds by cost, and an attack (the default; with --radius "
            "crown).",
        ),
    ] = None,
    radius: Annotated[
        bool,
        typer.Option(
            "--radius", help="The largest certified radius of each example, up to the threat's."
        ),
    ] = False,
    search: Annotated[
        str | None,
        typer.Option("--search", metavar="NAME", help="How --radius looks; see searches list."),
    ] = None,
    precision: Annotated[
        float | None,
        typer.Option("--precision", metavar="P", help="Of --radius, in input units; 0.0001."),
    ] = None,
    radii: options.Radii = None,
    weights: options.Weights = None,
    normalize: options.Normalize = None,
    data_dir: options.DataDir = None,
    split: options.Split = "test",
    limit: options.Limit = None,
    run: options.RunDir = None,
    resume: options.Resume = False,
    out: options.Out = None,
    json: options.Json = False,
    dry_run: options.DryRun = False,
    jobs: options.Jobs = 1,
    block: options.Block = None,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    threads: options.Threads = None,
    dtype: options.Dtype = "float32",
    quiet: options.Quiet = False,
) -> int:
    """Prove what can be proved of a model's accuracy under a threat."""
    options.check_common(seed=seed, threads=threads, dtype=dtype)
    chosen = method or ("crown" if radius else "auto")
    job = Job(
        verb="radius" if radius else "certify",
        model=model,
        data=data,
        threat=threat,
        attacks="",
        bounds=(chosen,),
        radii=options.numbers(radii, "radii"),
        limit=limit,
        split=split,
        data_dir=data_dir,
        weights=weights,
        normalize=options.statistics(normalize),
        seed=seed,
        block=block,
        device=options.device(device),
        threads=threads,
        quiet=quiet,
    )
    if not radius:
        for name, value in (("search", search), ("precision", precision)):
            if value is not None:
                raise InputError(name, value, "is for radii", "add --radius, or leave it out")
        return perform(job, run=run, resume=resume, out=out, json=json, dry_run=dry_run, jobs=jobs)
    if dry_run:
        problem, remedy = "does not know how long searches take", "time a few with --limit"
        raise InputError("dry_run", True, problem, remedy)
    wanted = Sought(job, search, _PRECISION if precision is None else precision)
    return _radii(wanted, run=run, resume=resume, out=out, json=json, jobs=jobs)


@dataclass(frozen=True)
class Sought:
    """A search over the radius: what is asked, and how it looks; plain data, sent to processes."""

    job: Job
    search: str | None
    precision: float


def _radii(
    wanted: Sought, *, run: str | None, resume: bool, out: str | None, json: bool, jobs: int
) -> int:
    """Runs the search and shows what it found."""
    wanted = replace(wanted, job=replace(completed(wanted.job), command=command()))
    job = wanted.job
    with kept_run(
        "radius", model_name(job.model), str(job.data), run, resume=resume, out=out
    ) as kept:
        shared(seek, (wanted, str(kept.path)), jobs, job.threads)
        if not output.talks():
            return 0
        result = kept.read_result()
    if json:
        output.emit_json({**result, "run": str(kept.path)})
    else:
        _show(result)
        output.emit(f"run: {kept.path}")
    output.warn(result["warnings"])
    return 0


def seek(wanted: Sought, folder: str) -> None:
    """One process's share of the search."""
    from holdfast.benchmark.certified_radii import BLOCK
    from holdfast.facades import certified_radii

    job, progress = wanted.job, Lines(quiet=wanted.job.quiet)
    with threads(job.threads):
        try:
            certified_radii(
                job.model,
                job.data,
                threat=str(job.threat),
                method=job.bounds[0],
                search=wanted.search,
                precision=wanted.precision,
                radii=job.radii,
                block=BLOCK if job.block is None else job.block,
                limit=job.limit,
                split=job.split,
                data_dir=job.data_dir,
                weights=job.weights,
                normalize=job.normalize,
                seed=job.seed,
                device=job.device,
                run=Run(Path(folder)),
                notes={"command": job.command},
                on_event=progress,
            )
        finally:
            progress.close()


def _show(result: Mapping[str, Any]) -> None:
    """The figures on stdout."""
    proof = "" if result["sound"] else ", not proofs: rounding or the solver is not accounted for"
    title = f"{result['model']} on {result['data']} ({result['examples']} examples), "
    title += f"{result['threat']}, {result['method']}{proof}"
    names = ("mean", "median", "largest")
    rows = [(f"{name} certified radius", f"{result[f'{name}_radius']:.4g}") for name in names]
    rows.append(("clean accuracy", output.percent(result["clean_accuracy"])))
    rows.append(("bounds per example", f"{result['evaluations']:.1f}"))
    output.emit_table(title, ("", ""), rows)
    curve = [
        (f"{row['radius']:.4g}", output.percent(row["certified_accuracy"]))
        for row in result["curve"]
    ]
    output.emit_table("", ("radius", "certified"), curve)
