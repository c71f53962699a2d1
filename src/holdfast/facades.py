"""The verbs of the library in one call each, on whatever the user has at hand.

A model may be an `nn.Module` or a callable, a registered name, `package.module:factory`, a run
directory or a `.safetensors` file; data a pair of tensors, a Dataset, a DataLoader, a name or a
path; a threat an object or its text. Rooms take objects only; here names become objects.
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from holdfast.attacks.attack import Attack
from holdfast.attacks.text import as_attacks
from holdfast.benchmark.catalogue import PROTOCOLS
from holdfast.benchmark.certified_radii import BLOCK, CertifiedRadii, RadiiProgress, radius_search
from holdfast.benchmark.certified_radii import certified_radii as search_radii
from holdfast.benchmark.evaluate import Attacks, Progress, as_protocol
from holdfast.benchmark.evaluate import evaluate as evaluate_both_sides
from holdfast.benchmark.gallery import write_gallery
from holdfast.benchmark.protocol import Protocol, check_steps
from holdfast.benchmark.result import Evaluation
from holdfast.core.errors import CaptureError, InputError
from holdfast.core.frozen import FrozenModel, Model, default_block
from holdfast.core.random import Keys
from holdfast.core.results import AttackResult
from holdfast.data.adapt import as_data
from holdfast.data.images import ImageData
from holdfast.models.registry import Statistics
from holdfast.models.store import load_model
from holdfast.runs.directory import Run
from holdfast.runs.environment import environment
from holdfast.runs.executors import Shard
from holdfast.runs.opening import run_directory
from holdfast.threats.protocol import Threat
from holdfast.threats.text import as_threat
from holdfast.training.sources import Source, checkpoint_of, placed, resolve

if TYPE_CHECKING:
    from holdfast.training.recipe import Recipe
    from holdfast.training.result import TrainingResult

Pathlike = str | os.PathLike[str]
Device = torch.device | str | None

__all__ = ["attack", "certified_radii", "certify", "evaluate", "load", "train"]


def evaluate(
    model: Model | Pathlike,
    data: Any,
    threat: str | Threat,
    *,
    protocol: str | Protocol | None = None,
    attacks: Attacks | None = None,
    bounds: Sequence[str] = ("interval",),
    radii: Sequence[float] = (),
    limit: int | None = None,
    split: str = "test",
    data_dir: Pathlike | None = None,
    weights: Pathlike | None = None,
    normalize: Statistics | str | None = None,
    seed: int = 0,
    batch_size: int = 256,
    block: int | None = None,
    device: Device = None,
    run: Run | Pathlike | None = None,
    resume: bool = False,
    notes: Mapping[str, Any] | None = None,
    on_event: Callable[[Progress], None] | None = None,
) -> Evaluation:
    """How robust is the model: proved <= true <= attacked, with the evidence for every example.

    Args:
        model: inputs (B, *E) in input units to logits (B, K); see the head of this file.
        data: the examples, likewise.
        threat: what may happen to an input: an object, or a text such as `linf:8/255`.
        protocol: in which order attacks are run: `fast` (the default), `standard` (AutoAttack), ...
            or an object, such as a list with an attack of one's own (`benchmark.Listed`).
        attacks: a list of one's own instead, by name or as objects; an empty text runs none.
        bounds: certificates by name; an empty list runs none.
        radii: further radii at which accuracy is wanted, in input units.
        limit: the first so many examples.
        split: of data given by name or path.
        data_dir: where named data sets lie.
        weights: a safetensors file to load into the model first.
        normalize: mean and standard deviation that the model expects its inputs to be normalised
            with; radii stay in input units.
        seed: of all random draws, and of the weights of a model that was only named.
        batch_size: rows in flight; changes no result.
        block: rows of every call of the model.
        device: None means where a given module lies; for a named one CUDA if there is any.
        run: None writes nothing; a path makes that run directory (examples, gallery, result,
            report); a `Run` is one whose lock the caller holds.
        resume: continue the run at that path.
        notes: further keys of the result.
        on_event: called with `benchmark.evaluate.Progress`.

    Guarantee: as `benchmark.evaluate.evaluate`.
    Raises:
        InputError: a bad argument; the message names it, its value and the remedy.
        RunConflict: the run directory is in use, not empty, or made with other settings.

    Example:
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(6, 3))
        >>> x, y = torch.rand(20, 1, 2, 3), torch.arange(20) % 3
        >>> found = evaluate(model, (x, y), "linf:0.05", attacks="fgsm")
        >>> found.certified_accuracy <= found.robust_accuracy <= found.clean_accuracy
        True
    """
    threat = as_threat(threat)
    chosen = as_protocol(protocol, attacks)
    examples = _data(data, threat, limit, split, data_dir)
    check_steps(chosen, examples, threat)
    source = resolve(model, examples, weights=weights, normalize=normalize, seed=seed)
    place = placed(source, device)
    names = {"model": source.name, "data": examples.title}
    with run_directory("evaluate", source.name, examples.name, run, resume=resume) as kept:
        found = evaluate_both_sides(
            source.model,
            examples,
            threat,
            protocol=chosen,
            bounds=tuple(bounds),
            radii=tuple(radii),
            seed=seed,
            batch_size=batch_size,
            block=block,
            device=place,
            run=kept,
            names=names,
            on_event=on_event,
        )
        if bounds and attacks == "" and found.certified_accuracy is None:
            raise CaptureError(next(iter(found.result["warnings"]), "nothing could be certified"))
        if kept is not None:
            found.result["environment"] = environment()
            found.result.update(_origin(source, kept))
        found.result["warnings"] += source.warnings
        found.result.update(notes or {})
        if kept is not None and Shard.current().rank == 0:
            _publish(found, kept, source.model, examples)
    return found


def certify(
    model: Model | Pathlike,
    data: Any,
    y: Tensor | None = None,
    threat: str | Threat | None = None,
    *,
    method: str = "auto",
    **options: Any,
) -> Evaluation:
    """How much of the model's accuracy can be proved; runs no attacks but those of `auto`.

    Args:
        data: as for `evaluate`; or the inputs (B, *E) alone, with their labels as `y`.
        method: a bound of `holdfast.certify.BOUNDS`; or `auto`, bounds in the order of their cost
            with a short attack before the dear ones, which decides in both directions.
        options: the others of `evaluate`.

    Raises:
        CaptureError: the model holds an operation that has no bound.
        InputError: as `evaluate`.

    Example:
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(6, 3))
        >>> x, y = torch.rand(20, 1, 2, 3), torch.arange(20) % 3
        >>> certify(model, x, y, "linf:0.001").certified_accuracy <= 1
        True
    """
    if threat is None:
        raise InputError("threat", None, "is missing", "give one such as 'linf:8/255'")
    pair = data if y is None else (data, y)
    return evaluate(model, pair, threat, attacks="", bounds=(method,), **options)


def certified_radii(
    model: Model | Pathlike,
    data: Any,
    y: Tensor | None = None,
    threat: str | Threat | None = None,
    *,
    method: str = "crown",
    search: str | None = None,
    precision: float = 1e-4,
    radii: Sequence[float] = (),
    block: int = BLOCK,
    limit: int | None = None,
    split: str = "test",
    data_dir: Pathlike | None = None,
    weights: Pathlike | None = None,
    normalize: Statistics | str | None = None,
    seed: int = 0,
    device: Device = None,
    run: Run | Pathlike | None = None,
    resume: bool = False,
    notes: Mapping[str, Any] | None = None,
    on_event: Callable[[RadiiProgress], None] | None = None,
) -> CertifiedRadii:
    """How far from each input the proofs reach.

    Args:
        data, y: as for `certify`; the others as for `evaluate`.
        threat: a norm ball; its radius is the largest that is asked for, and may be `inf`.
        method: the bound; `search` of `certify.SEARCHES`, by default the fastest.
        precision: of each radius, in input units; the sound end is returned.
        radii: at which the result gives the certified accuracy.

    Guarantee, Raises: as `benchmark.certified_radii`.
    Example:
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(6, 3))
        >>> x = torch.rand(4, 1, 2, 3)
        >>> found = certified_radii(model, x, model(x).argmax(1), "linf:0.1")
        >>> bool((found.radius > 0).all()), found.sound
        (True, True)
    """
    if threat is None:
        raise InputError("threat", None, "is missing", "give one such as 'linf:0.3'")
    asked, chosen = as_threat(threat), radius_search(method, search, precision=precision)
    examples = _data(data if y is None else (data, y), asked, limit, split, data_dir)
    source = resolve(model, examples, weights=weights, normalize=normalize, seed=seed)
    place = placed(source, device)
    with run_directory("radius", source.name, examples.name, run, resume=resume) as kept:
        found = search_radii(
            source.model,
            examples,
            asked,
            chosen,
            block=block,
            seed=seed,
            device=place,
            run=kept,
            on_event=on_event,
        )
        if kept is not None and Shard.current().rank == 0:
            names = {"model": source.name, "data": examples.title, "method": method}
            more = {"warnings": source.warnings, "environment": environment(), **(notes or {})}
            found.write(kept, {**names, **_origin(source, kept), **more}, radii)
            _report(kept)
    return found


def attack(
    model: Model | Pathlike,
    x: Any,
    y: Any,
    threat: str | Threat,
    attack: str | Attack = "pgd-50-10",
    *,
    weights: Pathlike | None = None,
    normalize: Statistics | str | None = None,
    seed: int = 0,
    block: int | None = None,
    device: Device = None,
) -> AttackResult:
    """Searches the threat around each input for one that the model gets wrong.

    Args:
        x: (B, *E) inputs, y: (B,) labels; tensors or arrays.
        attack: one, by name or as an object.

    Returns:
        per example: the best iterate, whether it fools the model, its margin, size and cost.

    Guarantee: an example's draws depend on the seed and its own bytes only.
    Raises:
        InputError: as `evaluate`.

    Example:
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(6, 3))
        >>> x, y = torch.rand(4, 1, 2, 3), torch.arange(4) % 3
        >>> result = attack(model, x, y, "linf:0.1", "pgd-5-1")
        >>> bool(((result.x_adv - x).abs() <= 0.1 + 1e-6).all())
        True
    """
    threat = as_threat(threat)
    chosen = list(as_attacks(attack).values())
    if len(chosen) != 1:
        raise InputError("attack", attack, f"names {len(chosen)} attacks", "give one")
    examples = _data((x, y), threat, None, "all", None)
    source = resolve(model, examples, weights=weights, normalize=normalize, seed=seed)
    place = placed(source, device)
    rows = examples.inputs().to(place)
    frozen = FrozenModel(source.model, block=block or default_block(place), device=place)
    keys = Keys.by_content(seed, rows)
    return chosen[0].run(frozen, rows, examples.labels.to(place), threat, keys=keys)


def train(
    recipe: "str | os.PathLike[str] | Recipe",
    *,
    overrides: Mapping[str, Any] | Iterable[str] = (),
    run: Run | Pathlike | None = None,
    data: Any = None,
    validation: Any = None,
    model: nn.Module | None = None,
    data_dir: Path | str | None = None,
    device: Device = None,
    resume: bool = False,
    notes: Mapping[str, Any] | None = None,
    on_event: Callable[[Any], None] | None = None,
) -> "TrainingResult":
    """Trains a model by a recipe; the checkpoint is chosen on held-out training data.

    Args:
        recipe: a name, a TOML file, or a `Recipe`.
        overrides: `{"training.epochs": 15}`, or texts `training.epochs=15`.
        run: None keeps nothing; a path makes that run directory; a `Run` is one whose lock the
            caller holds.
        data: the training split; None loads what the recipe names.
        validation: what the checkpoint is chosen by; None holds out what the recipe says.
        model: what to train, in place; None builds what the recipe names.
        resume: continue the run at that path.
        notes: further keys of the result.
        on_event: called with the events of `holdfast.training`.

    Raises:
        InputError: an unknown recipe, a key or value that does not fit.
        RunConflict: as `evaluate`.

    Example:
        >>> result = train("digits-standard", overrides={"training.epochs": 1}, device="cpu")
        >>> result.chosen_epoch
        1
    """
    from holdfast.training.loop import train as train_model
    from holdfast.training.recipe import Recipe, load_recipe

    if not isinstance(recipe, Recipe):
        recipe = load_recipe(recipe, overrides)
    if recipe.evaluation.protocol is not None:
        PROTOCOLS[recipe.evaluation.protocol]
    with run_directory("train", recipe.name, recipe.data.name, run, resume=resume) as kept:
        result = train_model(
            recipe,
            run=kept,
            data=data,
            validation=validation,
            model=model,
            data_dir=data_dir,
            device=device,
            resume=resume,
            on_event=on_event,
        )
        if kept is not None and Shard.current().rank == 0:
            record = result.record() | {"recipe": recipe.name, "environment": environment()}
            kept.write_result(record | dict(notes or {}))
            _report(kept)
    return result


def load(source: Pathlike, *, factory: str | None = None) -> nn.Module:
    """The model of a run directory, or of a `.safetensors` file, on the CPU in evaluation mode.

    Args:
        factory: `package.module:factory`, where the checkpoint was made with one that is trusted.

    Raises:
        InputError: nothing there, no checkpoint in the run, a damaged or foreign file.

    Example:
        >>> from holdfast.models import build_model, save_model
        >>> path = getfixture("tmp_path") / "net.safetensors"
        >>> hash = save_model(path, build_model("mlp"))
        >>> type(load(path)).__name__
        'Sequential'
    """
    path = Path(source)
    file = checkpoint_of(path) if path.is_dir() else path
    return load_model(file, factory=factory)[0]


def _data(
    data: Any, threat: Threat, limit: int | None, split: str, data_dir: Pathlike | None
) -> ImageData:
    folder = None if data_dir is None else os.fspath(data_dir)
    return as_data(data, limit=limit, box=threat.box, split=split, data_dir=folder)


def _origin(source: Source, run: Run) -> dict[str, Any]:
    if source.run is None:
        return {}
    return {"trained_in": os.path.relpath(source.run.resolve(), run.path.resolve())}


def _publish(found: Evaluation, run: Run, model: Model, data: ImageData) -> None:
    write_gallery(run, model, data, found.ledger)
    found.write(run)
    _report(run)


def _report(run: Run) -> None:
    from holdfast.report.page import write_report

    write_report(run)
