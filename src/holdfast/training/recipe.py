"""Recipes: everything that a training run is made of, as one tree of checked records.

`load_recipe` reads a TOML file, applies overrides and builds the tree; `recipe_dict` gives it back
as resolved, from which `build(Recipe, ...)` makes an equal one. Parts are named by the catalogues
of their rooms. Loads torch only through the parts that a recipe names.
"""

import os
from dataclasses import field
from typing import Annotated, Any, Literal

from holdfast.attacks.text import parse as parse_attack
from holdfast.core.errors import InputError
from holdfast.core.recipes import (
    Count,
    Fraction,
    From,
    NonNegative,
    Positive,
    Range,
    build,
    hyperparameters,
    to_dict,
)
from holdfast.data.catalogue import AUGMENTATIONS
from holdfast.schedules.catalogue import SCHEDULES
from holdfast.schedules.constant import Constant
from holdfast.schedules.linear import Cyclic
from holdfast.schedules.protocol import Schedule
from holdfast.threats.text import parse as parse_threat
from holdfast.training.catalogue import OPTIMIZERS
from holdfast.training.library import Overrides, find_recipe, overridden, read_recipe
from holdfast.training.monitors.catalogue import MONITORS
from holdfast.training.monitors.protocol import Monitor
from holdfast.training.objectives.catalogue import OBJECTIVES
from holdfast.training.objectives.protocol import Objective

Statistic = tuple[float, ...]
Seed = Annotated[int, Range(ge=0, lt=2**63)]


@hyperparameters
class ModelSpec:
    """The network.

    Args:
        name: a registered name, or `package.module:factory`.
        options: of its constructor; `input_shape` and `classes` come from the data where the
            constructor takes them and they are not given.
        normalize: mean and standard deviation per channel, or the name of known statistics.
        weights: to start from: a training run, or a `.safetensors` file; None draws them by the
            seed. Batch norm's statistics come with them.
        head: `keep` also takes the last linear layer over; `new` draws it by the seed, for another
            number of classes.
    """

    name: str = "digits_conv"
    options: dict[str, Any] = field(default_factory=dict, hash=False)
    normalize: str | tuple[Statistic, Statistic] | None = None
    weights: str | None = None
    head: Literal["keep", "new"] = "keep"

    def __post_init__(self) -> None:
        if self.head == "new" and self.weights is None:
            remedy = "give model.weights, or leave model.head out"
            raise InputError("head", self.head, "has no weights to stand beside", remedy)


@hyperparameters
class ExtraSpec:
    """A second source of training examples, such as pseudo-labelled ones.

    Args:
        name: of a data set, or a path; its training split, with its labels.
        fraction: of every batch; an epoch is one pass over the first source.

    Source: Wong 2020, sec 4.4.3; Carmon et al. 2019, arXiv:1905.13736.
    """

    name: str
    fraction: Annotated[float, Range(gt=0, lt=1)] = 0.5


@hyperparameters
class SampleSpec:
    """A random part of the training examples, by the recipe's seed.

    Args:
        size: how many; None: all that `classes` leaves.
        strata: what keeps its make-up: `none`, a plain sample; `class`; `difficulty`, in `bins`
            groups from the easiest to the hardest.
        classes: labels that the sample is drawn from, which stay as they are; none: from all.
        difficulty: a `.npy` file with a number per example of the training split, in its order.
        bins: groups of equal size by difficulty.
        match: what is held against training on all of them: `epochs`, so that a smaller sample
            makes fewer weight steps; `steps`, so that it makes more epochs.

    Source: Zhang 2019, sec 5.6.
    """

    size: Count | None = None
    strata: Literal["none", "class", "difficulty"] = "none"
    classes: tuple[int, ...] = ()
    difficulty: str | None = None
    bins: Count = 10
    match: Literal["epochs", "steps"] = "epochs"

    def __post_init__(self) -> None:
        if self.size is None and not self.classes:
            raise InputError("size", None, "makes no sample", "give a size, or classes")
        if (self.strata == "difficulty") != (self.difficulty is not None):
            problem = "does not fit strata = " + repr(self.strata)
            remedy = "give strata = 'difficulty' with a file"
            raise InputError("difficulty", self.difficulty, problem, remedy)


@hyperparameters
class DataSpec:
    """The examples.

    Args:
        name: of a data set, or a path.
        validation: held out of the training split for the choice of the checkpoint: how many
            (a whole number, 0 for none) or which fraction (below 1).
        augment: applied in this order.
        limit: the first so many examples of the training split only.
        extra: a second source, or None.
        sample: a random part of the training examples that are not held out, or None for all.
        stream: leave the images in their files and decode those of a batch when it is due; `name`
            is then the path of a folder of images. For data larger than memory.
        square: side of the centre square that streamed images of different sizes are brought to,
            in pixels; None: they are of one size.
    """

    name: str = "digits"
    validation: int | float = 0.1
    augment: tuple[Annotated[Any, From(AUGMENTATIONS)], ...] = ()
    limit: Count | None = None
    extra: ExtraSpec | None = None
    sample: SampleSpec | None = None
    stream: bool = False
    square: Count | None = None

    def __post_init__(self) -> None:
        if self.square is not None and not self.stream:
            remedy = "set data.stream = true, or prepare the images"
            raise InputError("square", self.square, "is for streamed images", remedy)
        if self.validation < 0 or (self.validation % 1 and self.validation >= 1):
            remedy = "give a whole number, or a fraction below 1"
            raise InputError("validation", self.validation, "is neither", remedy)


@hyperparameters
class Phase:
    """A part of training with images and batches of its own size.

    Args:
        epochs: of the phase.
        batch_size: examples of a weight step; None: as in all of training.
        resize: shorter side in pixels to which the images are brought; None leaves them.
        crop: side of the square that is trained on, cut at random and resized; None: the whole.
            Not for methods that keep an image per example, such as ATAS.
        rates: (epoch of the phase, learning rate) in straight lines; none: training's schedule.

    Source: Wong 2020, sec 4.2.3 (three phases on ImageNet).
    """

    epochs: Count
    batch_size: Count | None = None
    resize: Count | None = None
    crop: Count | None = None
    rates: tuple[tuple[float, float], ...] = ()


@hyperparameters
class TrainingSpec:
    """The loop.

    Args:
        epochs: passes over the training examples.
        batch_size: examples of a weight step, over all processes.
        optimizer: what makes the weight step.
        schedule: the learning rate over training; set before step i of T at (i + 1) / T.
        radius_schedule: factor of the threat's radius over training, at the same fractions.
        precision: of the forward passes; weights stay in float32.
        clip: largest norm of the gradient, or None.
        clip_value: largest size of its entries, or None.
        average: decay of the average of the weights, which is then validated and kept; or None.
        channels_last: memory layout of images; faster for wide convolutions.
        batch_norm: under several processes `local`: each normalises its own part of the batch and
            the statistics of the first are kept; `sync`: all together (CUDA).
        monitors: what is looked at on the way and may end training, each kind once.
        keep_every: epochs between weights that are kept for good, as
            `checkpoints/epoch-NNN.safetensors`, with those at the beginning as `epoch-000`; None
            keeps none.
        ensemble: fractions of training after which weights are taken; the result is the ensemble of
            them. `periods`: where the periods of the schedules end; None: no ensemble.
        phases: training in parts with sizes of their own; their epochs add up to `epochs`.
    """

    epochs: Count = 10
    batch_size: Count = 128
    optimizer: Annotated[Any, From(OPTIMIZERS)] = "adam"
    schedule: Annotated[Schedule, From(SCHEDULES)] = Cyclic(peak=5e-3, at=0.4)
    radius_schedule: Annotated[Schedule, From(SCHEDULES)] = Constant(value=1.0)
    precision: Literal["float32", "bf16", "fp16"] = "float32"
    clip: Positive | None = None
    clip_value: Positive | None = None
    average: Annotated[float, Range(ge=0, lt=1)] | None = None
    channels_last: bool = False
    batch_norm: Literal["local", "sync"] = "local"
    monitors: tuple[Annotated[Monitor, From(MONITORS)], ...] = ()
    keep_every: Count | None = None
    ensemble: Literal["periods"] | tuple[float, ...] | None = None
    phases: tuple[Phase, ...] = ()

    def __post_init__(self) -> None:
        total = sum(phase.epochs for phase in self.phases)
        if self.phases and total != self.epochs:
            problem, remedy = f"is not the {total} of its phases", f"give epochs = {total}"
            raise InputError("epochs", self.epochs, problem, remedy)


@hyperparameters
class SelectionSpec:
    """The choice of the checkpoint.

    Args:
        attack: the name of what searches the validation examples for errors, or `none`, which
            chooses by clean accuracy.
        on: `validation`, held-out training examples; `train`, training examples without
            augmentation, where nothing is held out; `test` is an oracle. Recorded as such.
        every: epochs between validations; the end of training is always validated.
        every_steps: steps between validations, instead of epochs.
        examples: how many are used, the first ones.
        patience: stop after so many validations without improvement; None never stops.
        choose: `best`, or `last`, which only records the best.
        collapse: a fall of robust accuracy, from one validation to the next, that is recorded as
            catastrophic overfitting unless clean accuracy falls as far.
    """

    attack: str = "pgd-10-1"
    on: Literal["validation", "train", "test"] = "validation"
    every: Count = 1
    every_steps: Count | None = None
    examples: Count = 1000
    patience: Count | None = None
    choose: Literal["best", "last"] = "best"
    collapse: Fraction = 0.2


@hyperparameters
class EvaluationSpec:
    """How the trained model is meant to be evaluated; training does not look at it.

    Args:
        attacks: their names; None means `pgd-50-10`, or none where a protocol is named.
        protocol: by name, instead of attacks: `fast`, `standard`, ...
        radii: other radii of the threat to report, beside its own.
        limit: test examples, the first ones; None for all.
    """

    attacks: tuple[str, ...] | None = None
    protocol: str | None = None
    radii: tuple[NonNegative, ...] = ()
    limit: Count | None = None

    def __post_init__(self) -> None:
        if self.protocol is not None and self.attacks:
            remedy = "name one of the two: attacks = [] leaves the protocol"
            raise InputError("protocol", self.protocol, "is given beside attacks", remedy)
        if self.attacks is None:
            named = ("pgd-50-10",) if self.protocol is None else ()
            object.__setattr__(self, "attacks", named)


@hyperparameters
class Recipe:
    """One training run.

    Args:
        threat: its text form, such as `linf:8/255`.
        name: of the recipe.
        summary: one line.
        seed: of weights, order, augmentation, attacks, split; all randomness comes from it.

    Example:
        >>> Recipe(threat="linf:0.1", objective="standard").training.epochs
        10
    """

    threat: str
    objective: Annotated[Objective, From(OBJECTIVES)]
    name: str = "unnamed"
    summary: str = ""
    seed: Seed = 0
    model: ModelSpec = ModelSpec()
    data: DataSpec = DataSpec()
    training: TrainingSpec = TrainingSpec()
    selection: SelectionSpec = SelectionSpec()
    evaluation: EvaluationSpec = EvaluationSpec()

    def __post_init__(self) -> None:
        parse_threat(self.threat)
        if self.selection.attack != "none":
            parse_attack(self.selection.attack)
        for name in self.evaluation.attacks or ():
            parse_attack(name)


def load_recipe(name_or_path: str | os.PathLike[str], overrides: Overrides = ()) -> Recipe:
    """The recipe of that name, or in that file.

    Args:
        overrides: dotted keys and values, as a mapping or as texts `training.epochs=15`.

    Raises:
        InputError: an unknown name (with the nearest known one), a file that is not TOML (with the
            line), an unknown key, a wrong value.

    Example:
        >>> load_recipe("digits-pgd", {"training.epochs": 2}).training.epochs
        2
    """
    path = find_recipe(name_or_path)
    values = {"name": path.stem} | read_recipe(path)
    return build(Recipe, overridden(values, overrides))


def recipe_dict(recipe: Recipe) -> dict[str, Any]:
    """The recipe as resolved: plain tables, with every default written out."""
    return to_dict(recipe)
