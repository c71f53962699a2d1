"""Rows of a reproduction that train a network and measure it.

A `TrainedRow` names a recipe and what it changes of it; `trained` trains it once for every seed, in
a run directory of its own, and measures what the row asks for. A finished seed is kept, one that
was stopped goes on from its checkpoint.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from holdfast.attacks.text import parse as parse_attack
from holdfast.core.frozen import FrozenModel, default_block, device_of
from holdfast.core.random import Keys
from holdfast.data.images import ImageData
from holdfast.measures.accuracy import Accuracy
from holdfast.reproduce.page import SPREAD
from holdfast.runs.directory import Run
from holdfast.threats.text import parse as parse_threat
from holdfast.training import checkpoints
from holdfast.training.examples import split_of
from holdfast.training.loop import train
from holdfast.training.recipe import Recipe, load_recipe
from holdfast.training.result import TrainingResult

FIGURE, HISTORY = "figure.", "history."


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One accuracy of a trained network.

    Args:
        measure: what the figure is called in the table.
        attack: its name; `none` measures clean accuracy.
        threat: its text; None is the recipe's.
        split: of the recipe's data: `test`, or `train`.
        weights: those of the checkpoint that was `chosen`, or of the `last` epoch.
    """

    measure: str
    attack: str = "none"
    threat: str | None = None
    split: Literal["test", "train"] = "test"
    weights: Literal["chosen", "last"] = "chosen"


CLEAN = Measured(measure="clean_accuracy")
ROBUST = Measured(measure="robust_accuracy", attack="pgd-50-10")


@dataclass(frozen=True, kw_only=True)
class TrainedRow:
    """One training, for one seed or several, and what is measured of it.

    Args:
        name: unlike that of any other row.
        recipe: its name.
        changes: of its keys, dotted.
        measured: of every trained network.
        seeds: how many trainings, with the run's seed and those after it.
        after: the name of an earlier row whose chosen weights of the same seed are tuned; empty to
            train from the beginning.
    """

    name: str
    recipe: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    measured: tuple[Measured, ...] = (CLEAN, ROBUST)
    seeds: int = 1
    after: str = ""

    def build(self, seed: int, store: Path) -> Recipe:
        """The recipe of one seed.

        Args:
            store: where the rows before this one are kept.
        """
        changes = dict(self.changes) | {"seed": seed}
        if self.after:
            before = folder(store, self.after, seed)
            changes["model.weights"] = str(before / "checkpoints" / checkpoints.BEST)
        return load_recipe(self.recipe, changes)

    def to_dict(self) -> dict[str, Any]:
        """The row as plain data."""
        return {
            "row": self.name,
            "recipe": self.recipe,
            "changes": {key: str(value) for key, value in self.changes.items()},
            "seeds": self.seeds,
            "after": self.after,
        }


def folder(store: Path, name: str, seed: int) -> Path:
    """Where one training of a row is kept."""
    return store / f"{re.sub('[^a-z0-9]+', '-', name.lower()).strip('-')[:60]}-{seed}"


def trained(
    row: TrainedRow,
    store: Path,
    *,
    images: int,
    seed: int,
    data_dir: Path | None = None,
    device: torch.device | None = None,
) -> dict[str, Tensor]:
    """Trains and measures the row's networks, those that are finished apart.

    Args:
        store: the folder of the rows' runs.
        images: at most so many examples of each split are measured, the first ones.

    Returns:
        `figure.<measure>` (seeds,) and `history.<figure>` (seeds, epochs), where all seeds have
        them.
    """
    found = [
        _one(row, folder(store, row.name, each), images, each, store, data_dir, device)
        for each in range(seed, seed + row.seeds)
    ]
    columns = {
        FIGURE + key: torch.tensor([each["figures"][key] for each in found])
        for key in found[0]["figures"]
    }
    epochs = min(len(each["history"]) for each in found)
    for key in _shared([epoch for each in found for epoch in each["history"]]):
        values = [[epoch[key] for epoch in each["history"][:epochs]] for each in found]
        columns[HISTORY + key] = torch.tensor(values)
    return columns


def line_of(columns: Mapping[str, Tensor]) -> dict[str, float | None]:
    """Means over seeds, and standard deviations where there are several."""
    line: dict[str, float | None] = {}
    for name, values in columns.items():
        if name.startswith(FIGURE):
            measure = name.removeprefix(FIGURE)
            line[measure] = float(values.mean())
            if len(values) > 1:
                line[measure + SPREAD] = float(values.std())
    return line


def _one(
    row: TrainedRow,
    path: Path,
    images: int,
    seed: int,
    store: Path,
    data_dir: Path | None,
    device: torch.device | None,
) -> dict[str, Any]:
    """The figures and the history of one training."""
    kept = Run.open(path) if path.is_dir() else Run.create("train", row.recipe, row.name, path=path)
    if kept.finished:
        return kept.read_result()
    recipe = row.build(seed, store)
    resume = (kept.checkpoints / checkpoints.LAST).exists()
    result = train(recipe, run=kept, data_dir=data_dir, device=device or "cpu", resume=resume)
    wanted = any(each.weights == "last" for each in row.measured)
    last = _last(result.model, kept) if wanted else {}
    data: dict[str, ImageData] = {}
    figures: dict[str, float] = {}
    for each in row.measured:
        if each.split not in data:
            split = split_of(recipe.data, each.split, data_dir)
            data[each.split] = split.first(min(images, len(split))).loaded()
        weights = {"chosen": _state(result.model), "last": last}[each.weights]
        result.model.load_state_dict(weights)
        figures[each.measure] = _accuracy(each, recipe, result.model, data[each.split])
    record = {"figures": figures | _of_history(result), "history": list(result.history)}
    kept.write_result(record | {"verb": "train", "warnings": list(result.warnings)})
    return kept.read_result()


def _accuracy(what: Measured, recipe: Recipe, model: nn.Module, data: ImageData) -> float:
    threat = parse_threat(what.threat or recipe.threat)
    attack = None if what.attack == "none" else parse_attack(what.attack)
    keys = Keys.of(recipe.seed, data.index).fold("reproduce")
    device = device_of(model)
    frozen = FrozenModel(model, block=min(default_block(device), len(data)))
    placed = data.to(device)
    measure = Accuracy(attack=attack)
    sums = measure.update(frozen, placed.inputs(), placed.labels, threat, keys=keys.to(device))
    return float(measure.compute(sums).value)


def _of_history(result: TrainingResult) -> dict[str, float]:
    """Best, final and their difference on the validation examples; the passes of the training."""
    found: dict[str, float] = {"forwards": float(result.forwards)}
    best, final = result.best, result.final
    if best and final and best["robust"] is not None:
        found["best_validation_accuracy"] = best["robust"]
        found["final_validation_accuracy"] = final["robust"]
        found["gap"] = best["robust"] - final["robust"]
    return found


def _last(model: nn.Module, kept: Run) -> dict[str, Tensor]:
    """The weights after the last epoch."""
    saved = checkpoints.load(kept.checkpoints / checkpoints.LAST).tensors
    own = _state(model)
    last = saved.get("average") or saved["model"]
    return {key: last[key].to(value.device) for key, value in own.items()}


def _state(model: nn.Module) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in model.state_dict().items()}


def _shared(epochs: Sequence[Mapping[str, Any]]) -> list[str]:
    """The numbers that every epoch has."""
    if not epochs:
        return []
    names = [key for key, value in epochs[0].items() if isinstance(value, (int, float))]
    return [key for key in names if all(isinstance(e.get(key), (int, float)) for e in epochs)]
