"""What tuning does to a network, epoch by epoch: accuracies of all checkpoints that a run kept.

On the data that the network was pretrained on, the curve shows what is forgotten; on those it is
tuned for, what is learned. Epoch 0 is before tuning.

Source: the analysis of tuned robust networks after every epoch, on training examples of the first
    task and test examples of the second: Hendrycks, Lee and Mazeika 2019, arXiv:1901.09960
    (pretraining for robustness), in the form of one curve per set and attack.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from holdfast.attacks.attack import Attack
from holdfast.attacks.text import as_attacks
from holdfast.core.errors import InputError
from holdfast.core.frozen import FrozenModel, default_block
from holdfast.core.random import Keys
from holdfast.data.adapt import as_data
from holdfast.measures.accuracy import Accuracy
from holdfast.models.store import load_model, load_weights
from holdfast.runs.atomic import shown
from holdfast.runs.directory import Run
from holdfast.threats.protocol import Threat
from holdfast.threats.text import as_threat

_FILE = re.compile(r"epoch-(\d+)\.safetensors")


@dataclass(frozen=True)
class Point:
    """One checkpoint on one set of examples.

    Args:
        epoch: after which it was kept; 0 is the beginning.
        clean: accuracy without an attack.
        robust: accuracy under the attack, or None where there is none.
    """

    epoch: int
    clean: float
    robust: float | None


def tuning_curve(
    run: Run | str | os.PathLike[str],
    data: Any,
    threat: str | Threat | None = None,
    attack: str | Attack | None = None,
    *,
    model: nn.Module | None = None,
    limit: int | None = None,
    split: str = "test",
    data_dir: str | os.PathLike[str] | None = None,
    seed: int = 0,
    device: torch.device | str | None = None,
) -> tuple[Point, ...]:
    """The accuracies of every checkpoint that a run kept (`training.keep_every`), in order.

    Args:
        run: a training run.
        data: examples, as anything that `as_data` takes.
        threat: of the attack; None: the one that the run was trained for.
        attack: by name or as an object; None measures clean accuracy only.
        model: of the run's architecture, for a model that the checkpoints do not describe.
        limit: the first so many examples.
        split: of data given by name.
        data_dir: where named data sets lie.
        seed: of the attack's random numbers, which are the same for all checkpoints.
        device: None means the CPU.

    Cost: per checkpoint one forward and the attack's passes per example.
    Raises:
        InputError: no run, none kept, weights that do not fit, several attacks.

    Example:
        >>> from holdfast.training import load_recipe, train
        >>> run = Run.create("train", "net", "digits", path=getfixture("tmp_path") / "run")
        >>> changes = {"training.epochs": 2, "training.keep_every": 1}
        >>> result = train(load_recipe("digits-standard", changes), run=run, device="cpu")
        >>> curve = tuning_curve(run, "digits", limit=50)
        >>> [point.epoch for point in curve], curve[0].clean < curve[2].clean
        ([0, 1, 2], True)
    """
    opened = run if isinstance(run, Run) else Run.open(run)
    files = kept_epochs(opened)
    searched = _one(attack)
    chosen = None
    if searched is not None:
        chosen = as_threat(threat or str(opened.read_recipe()["threat"]))
    folder = None if data_dir is None else os.fspath(data_dir)
    box = None if chosen is None else chosen.box
    examples = as_data(data, limit=limit, box=box, split=split, data_dir=folder)
    place = torch.device(device or "cpu")
    x, y = examples.inputs().to(place), examples.labels.to(place)
    keys = Keys.of(seed, examples.index).fold("tuning").to(place)

    def share(frozen: FrozenModel, measure: Accuracy) -> float:
        return measure.compute(measure.update(frozen, x, y, chosen, keys=keys)).value

    points = []
    for epoch, file in files.items():
        network = _loaded(file, model).to(place)
        frozen = FrozenModel(network, block=default_block(place), device=place)
        robust = None if searched is None else share(frozen, Accuracy(attack=searched))
        points.append(Point(epoch, share(frozen, Accuracy()), robust))
    return tuple(points)


def kept_epochs(run: Run) -> dict[int, Path]:
    """The files of the weights that a run kept for good, by epoch, in order.

    Raises:
        InputError: there are none.
    """
    names = ((_FILE.fullmatch(path.name), path) for path in run.checkpoints.glob("epoch-*"))
    found = {int(match[1]): path for match, path in names if match}
    if not found:
        remedy = "train with training.keep_every = 1"
        raise InputError("run", shown(run.path), "kept no weights of its epochs", remedy)
    return dict(sorted(found.items()))


def _one(attack: str | Attack | None) -> Attack | None:
    if attack is None:
        return None
    found = list(as_attacks(attack).values())
    if len(found) != 1:
        raise InputError("attack", attack, f"names {len(found)} attacks", "give one")
    return found[0]


def _loaded(file: Path, model: nn.Module | None) -> nn.Module:
    if model is None:
        return load_model(file)[0]
    load_weights(model, file)
    return model
