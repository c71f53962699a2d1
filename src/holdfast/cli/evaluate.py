"""The verbs that examine a model: `evaluate`, `certify`, `attack`. One job, three presets.

The work of a process is `work`; `--jobs N` starts it N times, `torchrun` starts the whole command N
times, and rank 0 writes and shows the result.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from holdfast.cli import options, output
from holdfast.cli.progress import Lines
from holdfast.cli.running import check_out, command, kept_run
from holdfast.core.errors import InputError
from holdfast.runs.directory import Run
from holdfast.runs.examples import check_kind

EVALUATE_EXAMPLES = """\b
Examples:
  holdfast evaluate --model runs/mine --protocol fast --radii 0.05,0.1 --run runs/first --limit 100
  holdfast evaluate --model digits_conv --data digits --threat l2:0.5 --attacks pgd-10-1 --limit 50

Without --protocol and --attacks: what the recipe of the model's training run names, else fast.
"""
ATTACK_EXAMPLES = """\b
Examples:
  holdfast attack --model runs/mine --attacks pgd-10-2 --save-examples adversarial.npz --limit 50
  holdfast attack --model digits_conv --data digits --threat linf:0.1 --attacks fgsm --limit 50
"""


@dataclass(frozen=True)
class Job:
    """What one evaluation is asked to do; plain data, sent to other processes.

    Args: as the options of the command; `threat` and `data` None mean those of the model's training
        run, and so do `protocol` and `attacks` where both are.
    """

    verb: str
    model: str
    data: str | None
    threat: str | None
    attacks: str | None
    bounds: tuple[str, ...]
    radii: tuple[float, ...] = ()
    protocol: str | None = None
    limit: int | None = None
    split: str = "test"
    data_dir: str | None = None
    weights: str | None = None
    normalize: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    seed: int = 0
    batch_size: int = 256
    block: int | None = None
    device: str | None = None
    threads: int | None = None
    save_examples: str | None = None
    quiet: bool = False
    command: str = ""


def evaluate(
    model: options.Model,
    data: options.Data = None,
    threat: options.Threat = None,
    protocol: options.Protocol = None,
    attacks: Annotated[
        str | None,
        typer.Option("--attacks", metavar="NAME,NAME", help="Instead of a protocol, in order."),
    ] = None,
    bounds: Annotated[
        str, typer.Option("--bounds", metavar="NAME,NAME", help="Certificates, in order.")
    ] = "interval",
    radii: options.Radii = None,
    weights: options.Weights = None,
    normalize: options.Normalize = None,
    data_dir: options.DataDir = None,
    split: options.Split = "test",
    limit: options.Limit = None,
    save_examples: options.SaveExamples = None,
    run: options.RunDir = None,
    resume: options.Resume = False,
    out: options.Out = None,
    json: options.Json = False,
    dry_run: options.DryRun = False,
    jobs: options.Jobs = 1,
    batch_size: options.BatchSize = 256,
    block: options.Block = None,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    threads: options.Threads = None,
    dtype: options.Dtype = "float32",
    quiet: options.Quiet = False,
) -> int:
    """Evaluate a model from both sides: proved <= true <= attacked."""
    options.check_common(seed=seed, threads=threads, dtype=dtype)
    _check_protocol(protocol, attacks)
    job = Job(
        verb="evaluate",
        model=model,
        data=data,
        threat=threat,
        attacks=attacks,
        bounds=tuple(part.strip() for part in bounds.split(",") if part.strip()),
        radii=options.numbers(radii, "radii"),
        protocol=protocol,
        limit=limit,
        split=split,
        data_dir=data_dir,
        weights=weights,
        normalize=options.statistics(normalize),
        seed=seed,
        batch_size=batch_size,
        block=block,
        device=options.device(device),
        threads=threads,
        save_examples=save_examples,
        quiet=quiet,
    )
    return perform(job, run=run, resume=resume, out=out, json=json, dry_run=dry_run, jobs=jobs)


def attack(
    model: options.Model,
    data: options.Data = None,
    threat: options.Threat = None,
    attacks: Annotated[
        str, typer.Option("--attacks", "--attack", metavar="NAME,NAME", help="In order.")
    ] = "pgd-50-10",
    weights: options.Weights = None,
    normalize: options.Normalize = None,
    data_dir: options.DataDir = None,
    split: options.Split = "test",
    limit: options.Limit = None,
    save_examples: options.SaveExamples = None,
    run: options.RunDir = None,
    resume: options.Resume = False,
    out: options.Out = None,
    json: options.Json = False,
    dry_run: options.DryRun = False,
    jobs: options.Jobs = 1,
    batch_size: options.BatchSize = 256,
    block: options.Block = None,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    threads: options.Threads = None,
    dtype: options.Dtype = "float32",
    quiet: options.Quiet = False,
) -> int:
    """Make adversarial examples for other tools: adversarial.npz in the run directory."""
    options.check_common(seed=seed, threads=threads, dtype=dtype)
    if not attacks.strip(", "):
        raise InputError("attacks", attacks, "names no attack", "give one such as pgd-50-10")
    job = Job(
        verb="attack",
        model=model,
        data=data,
        threat=threat,
        attacks=attacks,
        bounds=(),
        limit=limit,
        split=split,
        data_dir=data_dir,
        weights=weights,
        normalize=options.statistics(normalize),
        seed=seed,
        batch_size=batch_size,
        block=block,
        device=options.device(device),
        threads=threads,
        save_examples=save_examples,
        quiet=quiet,
    )
    return perform(job, run=run, resume=resume, out=out, json=json, dry_run=dry_run, jobs=jobs)


def perform(
    job: Job,
    *,
    run: str | None,
    resume: bool,
    out: str | None,
    json: bool,
    dry_run: bool,
    jobs: int,
) -> int:
    """Runs the job, or says what it would cost, and shows the answer."""
    job = replace(completed(job), command=command())
    if job.save_examples is not None:
        check_kind(Path(job.save_examples), "save_examples")
        check_out(job.save_examples)
    if dry_run:
        from holdfast.cli.planning import plan_evaluation

        return plan_evaluation(job, json=json)
    name = model_name(job.model)
    with kept_run(job.verb, name, str(job.data), run, resume=resume, out=out) as kept:
        result = shared(work, (job, str(kept.path)), jobs, job.threads)
        result = kept.read_result() if output.talks() else result
    if json:
        output.emit_json({**result, "run": str(kept.path)})
    else:
        output.evaluation(result)
        output.emit(f"run: {kept.path}")
    output.warn(result["warnings"])
    return 0


def work(job: Job, folder: str) -> dict[str, Any]:
    """One process's share of the job; the whole result on rank 0."""
    import warnings

    from holdfast.facades import evaluate as evaluate_model
    from holdfast.runs.executors import Shard

    progress = Lines(quiet=job.quiet)
    run = Run(Path(folder))
    with warnings.catch_warnings(), threads(job.threads):
        warnings.simplefilter("ignore")
        try:
            found = evaluate_model(
                job.model,
                job.data,
                str(job.threat),
                protocol=job.protocol,
                attacks=job.attacks,
                bounds=job.bounds,
                radii=job.radii,
                limit=job.limit,
                split=job.split,
                data_dir=job.data_dir,
                weights=job.weights,
                normalize=job.normalize,
                seed=job.seed,
                batch_size=job.batch_size,
                block=job.block,
                device=job.device,
                run=run,
                notes={"command": job.command},
                on_event=progress,
            )
        finally:
            progress.close()
    if Shard.current().rank == 0:
        _save_examples(job, found, run)
    return found.result


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """So many threads of torch within the block."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def model_name(text: str) -> str:
    """What a model is called in the name of a run."""
    if Path(text).is_dir():
        return str(Run.open(text).describe().get("model") or Path(text).resolve().name)
    return text


def shared(
    work: Callable[..., Any], arguments: tuple[Any, ...], jobs: int, threads: int | None
) -> Any:
    """What `work` returns on rank 0, computed by one process or several."""
    if jobs < 1:
        raise InputError("jobs", jobs, "is not positive", "give a whole number from 1")
    if jobs == 1:
        return work(*arguments)
    import torch

    from holdfast.runs.executors import run_jobs

    return run_jobs(work, arguments, jobs, threads=threads or torch.get_num_threads())[0]


def completed(job: Job) -> Job:
    """The job with what it leaves open taken from the model's training run."""
    recipe: dict[str, Any] = {}
    if Path(job.model).is_dir():
        run = Run.open(job.model)
        recipe = run.read_recipe() if run.recipe_file.is_file() else {}
    spec = recipe.get("evaluation", {})
    data = job.data or recipe.get("data", {}).get("name")
    threat = job.threat or recipe.get("threat")
    for argument, value, remedy in (
        ("data", data, "give --data NAME, such as digits, or --data PATH"),
        ("threat", threat, "give --threat TEXT, such as linf:8/255"),
    ):
        if value is None:
            raise InputError(argument, None, "is missing", remedy)
    protocol, attacks = job.protocol, job.attacks
    if protocol is None and attacks is None:
        protocol = spec.get("protocol")
        attacks = ",".join(spec.get("attacks", ())) or None if protocol is None else None
    radii = job.radii or (tuple(spec.get("radii", ())) if job.verb == "evaluate" else ())
    return replace(job, data=data, threat=threat, protocol=protocol, attacks=attacks, radii=radii)


def _check_protocol(protocol: str | None, attacks: str | None) -> None:
    """Refuses an unknown protocol, and one beside a list of attacks."""
    from holdfast.benchmark.catalogue import PROTOCOLS

    if protocol is None:
        return
    if attacks is not None:
        remedy = "give a protocol, or attacks of your own"
        raise InputError("protocol", protocol, "is given beside --attacks", remedy)
    PROTOCOLS[protocol]


def _save_examples(job: Job, found: Any, run: Run) -> None:
    """`adversarial.npz` of the verb attack, and the file of `--save-examples`."""
    from holdfast.core.results import Outcome
    from holdfast.runs.examples import write_adversarial

    targets = [run.path / "adversarial.npz"] if job.verb == "attack" else []
    targets += [Path(job.save_examples)] if job.save_examples else []
    ledger = found.ledger
    for target in targets:
        write_adversarial(
            target,
            index=ledger.index,
            y=ledger.labels,
            outcome=[str(Outcome(code)) for code in ledger.outcome.tolist()],
            size=ledger.size,
            margin=ledger.margin,
            x_adv=ledger.x_adv,
        )
