"""`holdfast train`: a recipe to a run directory with checkpoints, curves and a page."""

from typing import Annotated, Any

import typer

from holdfast.cli import options, output
from holdfast.cli.progress import Lines
from holdfast.cli.running import command, kept_run
from holdfast.core.errors import InputError

EXAMPLES = """\b
Examples:
  holdfast train digits-pgd --set training.epochs=2 --run runs/mine
  holdfast train digits-standard --set training.epochs=1 --seed 1 --json
"""


def train(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A recipe's name or file.")],
    overrides: options.Set = None,
    init: Annotated[
        str | None, typer.Option("--init", metavar="FILE", help="Weights to start from.")
    ] = None,
    data_dir: options.DataDir = None,
    limit: options.Limit = None,
    batch_size: Annotated[
        int | None, typer.Option("--batch-size", metavar="B", help="Instead of the recipe's.")
    ] = None,
    run: options.RunDir = None,
    resume: options.Resume = False,
    out: options.Out = None,
    json: options.Json = False,
    dry_run: options.DryRun = False,
    range_test: Annotated[
        bool, typer.Option("--range-test", help="Only find the largest useful learning rate.")
    ] = False,
    seed: options.OwnSeed = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    dtype: options.Dtype = "float32",
    quiet: options.Quiet = False,
) -> int:
    """Train a model by a recipe; the checkpoint is chosen on held-out training data."""
    options.check_common(seed=seed, threads=threads, dtype=dtype)
    flags = {"data.limit": limit, "training.batch_size": batch_size, "seed": seed}
    texts = [*(overrides or ())]
    texts += [f"{key}={value}" for key, value in flags.items() if value is not None]
    from holdfast.training.recipe import load_recipe

    resolved = load_recipe(recipe, texts)
    place = options.device(device)
    if dry_run:
        from holdfast.cli.planning import plan_training

        return plan_training(resolved, data_dir=data_dir, device=place, json=json)
    if range_test:
        return _range_test(resolved, init, data_dir, place, threads, json)
    name, data = resolved.name, resolved.data.name
    with kept_run("train", name, data, run, resume=resume, out=out) as kept:
        result = _train(resolved, kept, init, data_dir, place, threads, resume, quiet)
    record = kept.read_result() if output.talks() else {}
    if json:
        output.emit_json({**record, "run": str(kept.path)})
    else:
        _show(record, name)
        output.emit(f"run: {kept.path}\nnext: holdfast evaluate --model {kept.path}")
    output.warn(result.warnings)
    return 0


def _train(
    recipe: Any,
    run: Any,
    init: str | None,
    data_dir: str | None,
    device: str | None,
    count: int | None,
    resume: bool,
    quiet: bool,
) -> Any:
    import warnings

    from holdfast.cli.evaluate import threads
    from holdfast.facades import train as train_model

    progress = Lines(quiet=quiet)
    with warnings.catch_warnings(), threads(count):
        warnings.simplefilter("ignore")
        try:
            return train_model(
                recipe,
                run=run,
                model=_initial(recipe, init, data_dir),
                data_dir=data_dir,
                device=device,
                resume=resume,
                notes={"command": command()} | ({"initial_weights": init} if init else {}),
                on_event=progress,
            )
        finally:
            progress.close()


def _range_test(
    recipe: Any,
    init: str | None,
    data_dir: str | None,
    device: str | None,
    count: int | None,
    json: bool,
) -> int:
    """Shows the largest learning rate that still lowers the loss, and how the loss went."""
    from dataclasses import asdict

    from holdfast.cli.evaluate import threads
    from holdfast.training.rates import range_test_of

    with threads(count):
        model = _initial(recipe, init, data_dir)
        found = range_test_of(recipe, model=model, data_dir=data_dir, device=device)
    if json:
        output.emit_json(asdict(found))
        return 0
    every = max(1, len(found.rates) // 10)
    rows = [
        (f"{found.rates[i]:.2g}", f"{found.smoothed[i]:.4f}")
        for i in range(0, len(found.rates), every)
    ]
    output.emit_table(f"{recipe.name}: loss by learning rate", ("rate", "loss"), rows)
    if found.suggestion is None:
        output.emit(
            "no rate lowered the loss: the lowest is too large, or nothing is to be learned"
        )
    else:
        output.emit(f"largest rate that lowered the loss: {found.suggestion:.2g}")
    return 0


def _initial(recipe: Any, init: str | None, data_dir: str | None) -> Any:
    """The model with the weights of `--init`, or None for one with new weights."""
    if init is None:
        return None
    from holdfast.data.load import load_data
    from holdfast.models.store import load_weights
    from holdfast.training.loop import build_for

    if not init.endswith(".safetensors"):
        raise InputError("init", init, "is no safetensors file", "give FILE.safetensors")
    sample = load_data(recipe.data.name, "train", data_dir=data_dir, limit=1)
    model = build_for(recipe.model, sample, recipe.seed)
    load_weights(model, init)
    return model


def _show(record: dict[str, Any], name: str) -> None:
    """The validation figures of the chosen and of the last epoch."""
    if not record:
        return
    rows = [
        (label, each["epoch"], output.percent(each["clean"]), output.percent(each["robust"]))
        for label, each in (("best", record.get("best")), ("last", record.get("final")))
        if each
    ]
    chosen = f"epoch {record['chosen_epoch']} kept, chosen on {record['selected_on']}"
    output.emit_table(f"{name}: {chosen}", ("", "epoch", "clean", "robust"), rows)
