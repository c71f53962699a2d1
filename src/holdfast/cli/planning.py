"""`--dry-run`: what would run, and what it costs at most."""

from typing import TYPE_CHECKING, Any

from holdfast.cli import output
from holdfast.cli.progress import duration

if TYPE_CHECKING:
    from holdfast.cli.evaluate import Job


def plan_evaluation(job: "Job", *, json: bool) -> int:
    """Loads model and data, times one block, and shows the most that the job can take."""
    from holdfast.benchmark.auto import check_bounds
    from holdfast.benchmark.evaluate import as_protocol
    from holdfast.benchmark.predict import predict
    from holdfast.cli.evaluate import threads
    from holdfast.data.adapt import as_data
    from holdfast.threats.text import as_threat
    from holdfast.training.sources import placed, resolve

    threat = as_threat(str(job.threat))
    protocol = as_protocol(job.protocol, job.attacks)
    check_bounds(job.bounds)
    data = as_data(
        job.data, limit=job.limit, box=threat.box, split=job.split, data_dir=job.data_dir
    )
    source = resolve(job.model, data, weights=job.weights, normalize=job.normalize, seed=job.seed)
    with threads(job.threads):
        found = predict(
            source.model,
            data,
            threat,
            protocol=protocol,
            bounds=job.bounds,
            radii=job.radii,
            block=job.block,
            device=placed(source, job.device),
        )
    plan = {
        "verb": job.verb,
        "model": job.model,
        "data": data.title,
        "threat": threat.text,
        "protocol": protocol.version or None,
        "bounds": list(job.bounds),
        "radii": list(job.radii),
        **found.to_dict(),
    }
    if json:
        output.emit_json(plan)
        return 0
    rows = [(stage.stage, stage.forwards, stage.backwards) for stage in found.stages]
    title = f"would {job.verb} {job.model} on {len(data)} examples of {data.title}, {threat.text}"
    output.emit_table(title, ("stage", "forwards at most", "backwards at most"), rows)
    if protocol.adaptive:
        output.emit(
            f"the protocol {protocol.name} adapts: most of these steps may see few examples"
        )
    _emit_cost(found.seconds, found.memory, f"blocks of {found.block} on {found.device}")
    return 0


def plan_training(recipe: Any, *, data_dir: str | None, device: str | None, json: bool) -> int:
    """Loads the data, times one batch, and shows the recipe as resolved with what it takes."""
    from holdfast.benchmark.predict import predict
    from holdfast.data.load import load_data
    from holdfast.training.loop import build_for
    from holdfast.training.objectives.protocol import replays_of
    from holdfast.training.recipe import recipe_dict
    from holdfast.training.sources import Source, placed

    data = load_data(recipe.data.name, "train", data_dir=data_dir, limit=recipe.data.limit)
    model = build_for(recipe.model, data, recipe.seed)
    place = placed(Source(model, recipe.model.name), device)
    size = min(recipe.training.batch_size, len(data))
    timed = predict(model, data, block=size, device=place)
    passes, shown = recipe.objective.passes, len(data) * recipe.training.epochs
    shown *= replays_of(recipe.objective)
    if recipe.data.extra is not None:
        shown = int(shown / (1 - recipe.data.extra.fraction))
    forwards, backwards = shown * passes.forwards, shown * passes.backwards
    seconds = forwards * timed.forward_seconds + backwards * timed.backward_seconds
    plan = {
        "recipe": recipe_dict(recipe),
        "examples": len(data),
        "forwards": forwards,
        "backwards": backwards,
        "seconds": seconds,
        "memory": timed.memory,
    }
    if json:
        output.emit_json(plan)
        return 0
    output.emit(_as_toml(plan["recipe"]))
    output.emit(f"at most {forwards:,} forwards and {backwards:,} backwards of examples")
    _emit_cost(seconds, timed.memory, f"batches of {size} on {timed.device}, validation aside")
    return 0


def _emit_cost(seconds: float, memory: int, how: str) -> None:
    output.emit(f"about {duration(seconds)} at most, {memory / 2**20:,.0f} MB of memory ({how})")


def _as_toml(recipe: dict[str, Any]) -> str:
    try:
        import tomli_w
    except Exception:  # absent or broken: either way JSON serves
        import json

        return json.dumps(recipe, indent=2)
    return tomli_w.dumps(recipe)
