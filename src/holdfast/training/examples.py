"""The examples of a training: those trained on, those held out, a second source; and their batches.

A sample of the training examples is drawn after those of validation are held out.
Validation examples are held out of the training split by the recipe's seed, or given, or the
training examples themselves, or (an oracle) the test split.

Source: Rice 2023, sec 2.3.4 (held-out examples); Andriushchenko 2024, sec 2.9 (training examples).
"""

from pathlib import Path
from typing import Any, NamedTuple

from holdfast.core.errors import InputError
from holdfast.data.adapt import as_data
from holdfast.data.augment import Augment
from holdfast.data.images import ImageData
from holdfast.data.load import load_data
from holdfast.data.splits import train_validation
from holdfast.data.streaming import stream_folder
from holdfast.threats.protocol import Threat
from holdfast.training.batches import Batches
from holdfast.training.course import Stretch
from holdfast.training.distributed import World
from holdfast.training.mixing import MixedBatches, load_extra
from holdfast.training.recipe import DataSpec, Phase, Recipe
from holdfast.training.resizing import resized
from holdfast.training.sampling import sampled
from holdfast.training.subsets import spread


class Examples(NamedTuple):
    """What a training learns from.

    Args:
        training: the examples trained on.
        held_out: those that the checkpoint is chosen by, or None.
        extra: a second source of training examples, or None.
        whole: how many training examples there were before a sample was drawn; 0: as many.
    """

    training: ImageData
    held_out: ImageData | None
    extra: ImageData | None = None
    whole: int = 0

    def hashes(self) -> dict[str, str | None]:
        """What a resumed run compares."""
        found = {"training_data": self.training, "validation_data": self.held_out}
        found |= {} if self.extra is None else {"extra_data": self.extra}
        return {key: None if each is None else each.content_hash() for key, each in found.items()}


def gathered(
    recipe: Recipe, data: Any, validation: Any, data_dir: Path | str | None, threat: Threat
) -> Examples:
    """The examples of a training.

    Args:
        data: the training split, or None for what the recipe names.
        validation: what the checkpoint is chosen by, or None for what the recipe says.
        data_dir: where named data sets lie.
        threat: in whose box inputs lie.

    Raises:
        InputError: unknown or damaged data, sizes or sources that do not fit.
    """
    everything, held_out = _both(recipe, data, validation, data_dir, threat)
    training = sampled(everything, recipe.data.sample, recipe.seed)
    if validation is None and recipe.selection.on == "train":
        held_out = spread(training, recipe.selection.examples)
    spec = recipe.data.extra
    extra = None if spec is None else load_extra(spec.name, training, data_dir=data_dir)
    return Examples(training, held_out, extra, len(everything))


def _both(
    recipe: Recipe, data: Any, validation: Any, data_dir: Path | str | None, threat: Threat
) -> tuple[ImageData, ImageData | None]:
    """The training examples, and those that the checkpoint is chosen by."""
    spec = recipe.data
    if data is None:
        whole = split_of(spec, "train", data_dir, spec.limit)
    else:
        whole = as_data(data, limit=spec.limit, box=threat.box, split="train")
    if validation is not None:
        return whole, as_data(validation, box=threat.box, classes=whole.classes)
    if recipe.selection.on == "train":
        return whole, None
    if recipe.selection.on == "test":
        if data is not None:
            remedy = "give them as validation, or choose on 'validation'"
            raise InputError("selection.on", "test", "has no test examples of these data", remedy)
        return whole, split_of(spec, "test", data_dir)
    return _held_out(whole, spec, recipe.seed)


def split_of(
    spec: DataSpec, split: str, data_dir: Path | str | None, limit: int | None = None
) -> ImageData:
    """A split of what a recipe names, in memory or in its files.

    Raises:
        InputError: unknown or damaged data, a split that is not there.
    """
    if spec.stream:
        return stream_folder(spec.name, split, square=spec.square, limit=limit)
    return load_data(spec.name, split, data_dir=data_dir, limit=limit)


def _held_out(whole: ImageData, spec: DataSpec, seed: int) -> tuple[ImageData, ImageData | None]:
    if spec.validation == 0:
        return whole, None
    return train_validation(whole, validation=spec.validation, seed=seed)


def stretches(examples: Examples, recipe: Recipe, world: World) -> list[Stretch]:
    """The batches of each phase; without phases one stretch."""
    spec = recipe.training
    phases = spec.phases or (Phase(epochs=spec.epochs),)
    sources = [
        each.to(world.device) for each in (examples.training, examples.extra) if each is not None
    ]
    return [
        Stretch(phase.epochs, _batches(sources, phase, recipe, world), phase.rates)
        for phase in phases
    ]


def _batches(sources: list[ImageData], phase: Phase, recipe: Recipe, world: World) -> Batches:
    spec = recipe.training
    if phase.resize is not None:
        sources = [resized(each, phase.resize) for each in sources]
    size = phase.batch_size or spec.batch_size
    augment = Augment(steps=recipe.data.augment)
    if recipe.data.extra is None:
        return Batches(
            sources[0],
            size,
            seed=recipe.seed,
            augment=augment,
            world=world,
            channels_last=spec.channels_last,
            crop=phase.crop,
        )
    return MixedBatches(
        sources[0],
        sources[1],
        size,
        fraction=recipe.data.extra.fraction,
        seed=recipe.seed,
        augment=augment,
        world=world,
        channels_last=spec.channels_last,
        crop=phase.crop,
    )
