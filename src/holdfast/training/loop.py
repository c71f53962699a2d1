"""`train`: a recipe, or the parts of one, to a trained model. One loop for all objectives.

Validation examples are held out of the training split by the recipe's seed; the checkpoint is
chosen by robust accuracy on them. Everything random is a function of the seed and of the examples'
indices, so a run that is killed and resumed ends in the same weights as one that was not (CPU, one
process, the same number of threads).

Source: Wong 2020, ch. 4; Rice 2023, ch. 2; Liu 2022, sec 3.3.3.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import nn

from holdfast.core.errors import InputError, RunConflict
from holdfast.data.images import ImageData
from holdfast.runs.directory import Run
from holdfast.runs.metrics import Metrics, truncate_after
from holdfast.threats.protocol import Threat
from holdfast.threats.text import parse
from holdfast.training import checkpoints
from holdfast.training.building import build_for
from holdfast.training.distributed import World, batch_norm_note, joined, synchronised
from holdfast.training.events import Event, Listener, Started, Warned
from holdfast.training.examples import Examples, gathered, stretches
from holdfast.training.interrupts import Interrupts
from holdfast.training.precision import check_precision
from holdfast.training.recipe import Recipe, recipe_dict
from holdfast.training.result import TrainingResult
from holdfast.training.resuming import circumstances, restore
from holdfast.training.sampling import matched
from holdfast.training.selection import Validation, Validator
from holdfast.training.trainer import Parts, Trainer

__all__ = ["build_for", "train"]

_UNCOMPARED = ("name", "summary", "evaluation")  # of a recipe: they change nothing of training


def train(
    recipe: Recipe,
    *,
    run: Run | None = None,
    data: Any = None,
    validation: Any = None,
    model: nn.Module | None = None,
    data_dir: Path | str | None = None,
    device: torch.device | str | None = None,
    resume: bool = False,
    on_event: Listener | None = None,
    log_every: int = 50,
    checkpoint_seconds: float = 60.0,
) -> TrainingResult:
    """Trains a model.

    Args:
        recipe: what to do; `load_recipe` reads one.
        run: where metrics and checkpoints go; None keeps nothing. Its lock is the caller's affair.
        data: the training split, as anything that `as_data` takes; None loads what the recipe
            names.
        validation: what the checkpoint is chosen by, likewise; None holds out a part of the
            training split, as the recipe says.
        model: what to train, in place; None builds what the recipe names.
        data_dir: where named data sets lie.
        device: None takes CUDA where there is one.
        resume: go on from the run's checkpoint; from the beginning where there is none yet.
        on_event: called with `Started`, `StepDone`, `EpochDone`, `Warned`.
        log_every: steps between two records of metrics.
        checkpoint_seconds: at most so long between checkpoints; every epoch ends with one.

    Returns:
        the model with the chosen weights, and how it came about. A model of the caller's has its
        modules' modes restored; one that was built is in evaluation mode.

    Guarantee: interrupted or killed at any moment, and resumed, it ends in the same weights (CPU,
        one process, equal threads). The caller's global random state is as before. Attacks leave no
        gradient on weights.
    Cost: per epoch and example the objective's passes; per validation the attack's.
    Raises:
        InputError: a recipe that fits neither data, model nor device; a loss that is not finite; a
            checkpoint that is damaged.
        RunConflict: the run was made with another recipe or other data, or holds a checkpoint
            and `resume` is not set.
        KeyboardInterrupt: after the state was saved.

    Example:
        >>> from holdfast.training import load_recipe
        >>> result = train(load_recipe("digits-standard", {"training.epochs": 1}), device="cpu")
        >>> result.selected_on
        'validation'
    """
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    check_precision(recipe.training.precision, place)
    if resume and run is None:
        raise InputError("resume", True, "has no run to go on with", "give the run")
    with joined(place) as world, _random_state_kept(world), Interrupts() as interrupts:
        threat = parse(recipe.threat)
        examples = gathered(recipe, data, validation, data_dir, threat)
        training = examples.training
        recipe = matched(recipe, examples.whole, len(training))
        given = build_for(recipe.model, training, recipe.seed) if model is None else model
        with _modes_kept(given) if model is not None else nullcontext():
            network = _prepared(given, recipe, world)
            metrics = None if run is None else Metrics(run.metrics_file)
            with metrics or nullcontext():
                parts = Parts(
                    recipe=recipe,
                    network=network,
                    threat=threat,
                    stretches=stretches(examples, recipe, world),
                    validator=_validator(examples.held_out, recipe, threat, world),
                    world=world,
                    chance=1 / training.classes,
                    folder=None if run is None else run.path,
                    metrics=metrics,
                    listener=on_event,
                    log_every=log_every,
                    checkpoint_seconds=checkpoint_seconds,
                )
                trainer = Trainer(parts)
                _start(trainer, run, examples, resume=resume)
                trainer.run(interrupts)
            given.load_state_dict(trainer.keeper.chosen)
        if model is None:
            given.eval()
        ensemble = trainer.keeper.ensemble(given)
        return _result(trainer, given if ensemble is None else ensemble, run)


def _prepared(given: nn.Module, recipe: Recipe, world: World) -> nn.Module:
    """The network that is trained: on its device, in training mode."""
    given.to(world.device)
    network = synchronised(given, recipe.training.batch_norm, world)
    if recipe.training.channels_last:
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network.train()


def _validator(
    held_out: ImageData | None, recipe: Recipe, threat: Threat, world: World
) -> Validator | None:
    if held_out is None:
        return None
    placed = held_out.to(world.device)
    return Validator(placed, recipe.selection, threat, seed=recipe.seed, world=world)


def _start(trainer: Trainer, run: Run | None, examples: Examples, *, resume: bool) -> None:
    """Fixes the settings of the run, goes on from its checkpoint, tells the listener."""
    told: list[Event] = []
    if run is not None:
        _fix(run, trainer, examples)
        told = _continue(run, trainer, resume=resume)
    spec, passes = trainer.spec, trainer.recipe.objective.passes
    shown = trainer.course.shown(trainer.steps)
    started = Started(
        epochs=spec.epochs,
        steps=trainer.steps,
        done=trainer.done,
        examples=len(examples.training),
        validation=0 if examples.held_out is None else len(examples.held_out),
        forwards=shown * passes.forwards,
        backwards=shown * passes.backwards,
    )
    for event in (started, *told):
        trainer.tell(event)


def _fix(run: Run, trainer: Trainer, examples: Examples) -> None:
    if not trainer.parts.world.first:
        return
    recipe = recipe_dict(trainer.recipe)
    run.settings(
        {
            "recipe": {key: each for key, each in recipe.items() if key not in _UNCOMPARED},
            **examples.hashes(),
        }
    )
    if not run.recipe_file.exists():
        run.write_recipe(recipe)


def _continue(run: Run, trainer: Trainer, *, resume: bool) -> list[Event]:
    """Takes up the run's checkpoint; what should be noted about it."""
    file, world = run.checkpoints / checkpoints.LAST, trainer.parts.world
    if file.exists() and not resume:
        raise RunConflict(
            f"{run.path} holds a training already; continue it with --resume, or choose another run"
        )
    if not file.exists():
        if world.first:
            truncate_after(run.metrics_file, "step", -1)
        trainer.keeper.end_epoch(trainer.kept, 0, None)
        trainer.save()  # the initial weights may be the caller's
        return []
    saved = checkpoints.load(file)
    restore(trainer, saved)
    if world.first:
        truncate_after(run.metrics_file, "step", trainer.done)
        truncate_after(run.metrics_file, "epochs_done", trainer.closed)
    return [
        Warned(f"resumed with {key} {value} instead of {saved.facts[key]}: the bits may differ")
        for key, value in circumstances(trainer).items()
        if saved.facts[key] != value
    ]


def _result(trainer: Trainer, model: nn.Module, run: Run | None) -> TrainingResult:
    best, recipe, passes = trainer.selector.best, trainer.recipe, trainer.recipe.objective.passes
    measured = [
        each for each in trainer.history if {"clean_accuracy", "robust_accuracy"} <= each.keys()
    ]
    final = None
    warnings = [*best.warnings, *trainer.watch.warnings]
    if measured:
        last = measured[-1]
        clean, robust = last["clean_accuracy"], last["robust_accuracy"]
        final = {"epoch": last["epoch"], "clean": clean, "robust": robust}
        doubt = trainer.selector.suspicion(
            Validation(best.clean, best.robust), trainer.parts.chance
        )
        warnings += [doubt] if doubt else []
    world, shown = trainer.parts.world, trainer.course.shown(trainer.done)
    return TrainingResult(
        model=model,
        history=tuple(trainer.history),
        best={"epoch": best.epoch, "clean": best.clean, "robust": best.robust} if final else None,
        final=final,
        chosen_epoch=trainer.keeper.epoch,
        selected_on=_selected_on(recipe, chosen=final is not None),
        seconds=trainer.elapsed(),
        steps=trainer.done,
        forwards=shown * passes.forwards,
        backwards=shown * passes.backwards,
        batch_norm=batch_norm_note(trainer.network, recipe.training.batch_norm, world),
        warnings=tuple(warnings),
        checkpoint=None if run is None else run.checkpoints / checkpoints.BEST,
        chosen_step=trainer.keeper.step,
        ended=trainer.watch.ended,
    )


def _selected_on(recipe: Recipe, *, chosen: bool) -> str:
    if not chosen or recipe.selection.choose == "last" or recipe.training.ensemble is not None:
        return "nothing"
    return {"test": "test (oracle)"}.get(recipe.selection.on, recipe.selection.on)


@contextmanager
def _random_state_kept(world: World) -> Iterator[None]:
    """The caller's global random state, restored on exit."""
    devices = [world.device.index or 0] if world.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        yield


@contextmanager
def _modes_kept(model: nn.Module) -> Iterator[None]:
    """Every module in the mode it was found in, on exit."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
