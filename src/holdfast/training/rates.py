"""The learning rate of a recipe, by a range test on its own data, network and objective.

Source: Smith 2017, arXiv:1506.01186; Wong 2020, sec 4.2.2 (one rate per method, the largest at
    which training does not diverge).
"""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from holdfast.threats.text import parse
from holdfast.training.building import build_for
from holdfast.training.distributed import World
from holdfast.training.examples import gathered, stretches
from holdfast.training.range_test import RangeTest, RangeTestResult
from holdfast.training.recipe import Recipe


def range_test_of(
    recipe: Recipe,
    test: RangeTest | None = None,
    *,
    data: Any = None,
    model: nn.Module | None = None,
    data_dir: Path | str | None = None,
    device: torch.device | str | None = None,
) -> RangeTestResult:
    """What learning rates a recipe bears: `suggestion` is the peak to give its schedule.

    Args:
        recipe: what would be trained; its schedules and monitors are of no effect.
        test: the range and its steps; None is the default one with the recipe's optimiser.
        data: the training split, as anything that `as_data` takes; None loads what the recipe
            names.
        model: to begin with; left as found. None builds what the recipe names.
        data_dir: where named data sets lie.
        device: None takes CUDA where there is one.

    Cost: at most the test's steps of training, by one process.
    Raises:
        InputError: a recipe that does not fit the data; a loss that is not finite at first.

    Example:
        >>> from holdfast.training import load_recipe
        >>> found = range_test_of(load_recipe("digits-standard"), RangeTest(steps=20), device="cpu")
        >>> len(found.rates) <= 20
        True
    """
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    threat, alone = parse(recipe.threat), World(0, 1, place)
    examples = gathered(recipe, data, None, data_dir, threat)
    network = build_for(recipe.model, examples.training, recipe.seed) if model is None else model
    batches = stretches(examples, recipe, alone)[0].batches
    chosen = RangeTest(optimizer=recipe.training.optimizer) if test is None else test
    return chosen.run(network.to(place), recipe.objective, batches, threat)
