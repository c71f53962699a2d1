"""A part of the training examples, drawn at random: plain, or with the make-up of the whole.

    strata = class:        of each class its share
    strata = difficulty:   of each group of equal size, from the easiest to the hardest, its share

How much is lost with fewer examples depends on what is held: with the number of epochs, a sample of
n of N examples also has n / N of the weight steps; `match = "steps"` trains on it for N / n times
the epochs.

Source: Zhang 2019, sec 5.6 (50,000 of 180,000 examples, 100 epochs of each; uniform); difficulty of
    an example: Liu 2022, sec 4.3.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from holdfast.core.errors import InputError, described
from holdfast.data.images import ImageData
from holdfast.data.splits import stratified
from holdfast.runs.atomic import shown
from holdfast.training.recipe import Recipe, SampleSpec


def sampled(data: ImageData, spec: SampleSpec | None, seed: int) -> ImageData:
    """The sample of these examples; all for None.

    Raises:
        InputError: too large a sample, classes that are not there, no difficulty of these examples.
    """
    if spec is None:
        return data
    if spec.classes:
        data = data.select(_of_classes(data, spec.classes))
    size = len(data) if spec.size is None else spec.size
    if size > len(data):
        problem = f"is above the {len(data)} training examples"
        raise InputError("data.sample.size", size, problem, f"give at most {len(data)}")
    strata = {"none": torch.zeros_like, "class": torch.clone}.get(spec.strata)
    groups = _groups(data, spec) if strata is None else strata(data.labels)
    return data.select(stratified(groups, size, seed=seed))


def matched(recipe: Recipe, whole: int, sample: int) -> Recipe:
    """The recipe with as many epochs of the sample as `match` asks for.

    Guarantee: with "steps", as many weight steps as on the whole, up to half an epoch of the
        sample.

    Raises:
        InputError: steps are to be matched in training of several phases.
    """
    spec, training = recipe.data.sample, recipe.training
    if spec is None or spec.match == "epochs":
        return recipe
    if training.phases:
        remedy = "give each phase its epochs, and match = 'epochs'"
        raise InputError("data.sample.match", spec.match, "is not for phases", remedy)
    steps = [-(-count // training.batch_size) for count in (whole, sample)]
    epochs = max(1, round(training.epochs * steps[0] / steps[1]))
    return replace(recipe, training=replace(training, epochs=epochs))


def read_difficulty(path: str | Path) -> Tensor:
    """A number for each example of a training split, in its order, (N,) float64.

    Raises:
        InputError: no `.npy` file, or one that holds something else.
    """
    file = Path(path).expanduser()
    remedy = "give a .npy file with one number per training example"
    try:
        found = np.load(file, allow_pickle=False)
    except (OSError, ValueError) as cause:
        raise InputError("difficulty", shown(file), "cannot be read", remedy) from cause
    if not isinstance(found, np.ndarray) or found.ndim != 1 or found.dtype.kind not in "fiu":
        raise InputError("difficulty", shown(file), "holds something else", remedy)
    values = torch.from_numpy(found.astype(np.float64))
    if not bool(values.isfinite().all()):
        raise InputError("difficulty", shown(file), "holds NaN or infinity", remedy)
    return values


def _of_classes(data: ImageData, classes: tuple[int, ...]) -> Tensor:
    """Which examples are of these classes, (N,) bool."""
    unknown = [each for each in classes if not 0 <= each < data.classes]
    if unknown:
        remedy = f"give labels from 0 to {data.classes - 1}"
        raise InputError("data.sample.classes", unknown, "are no classes", remedy)
    return torch.isin(data.labels, torch.tensor(classes, device=data.labels.device))


def _groups(data: ImageData, spec: SampleSpec) -> Tensor:
    """The groups of equal size that the examples fall into by difficulty, (N,) from 0."""
    assert spec.difficulty is not None
    values = read_difficulty(spec.difficulty)
    if int(data.index.max()) >= len(values):
        count = described(f"{len(values)} numbers")
        problem = f"do not reach example {int(data.index.max())}"
        raise InputError("difficulty", count, problem, "give one for each training example")
    order = values[data.index.cpu()].argsort(stable=True)
    groups = torch.empty_like(order)
    groups[order] = torch.arange(len(order)) * spec.bins // len(order)
    return groups
