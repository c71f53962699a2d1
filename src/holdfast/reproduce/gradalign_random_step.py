"""How long the perturbation of a random start and one signed step is: Lemma 1 against sampling.

A random start makes the step shorter: at 1.25 eps the perturbation has 0.888 of FGSM's length.

Source: Andriushchenko 2024, sec 2.4 and 2.8.1, Lemma 1, Fig 2.2.
Departures: lengths are in units of eps sqrt(d), which Fig 2.2 has with eps = 8/255 and d = 3072.
"""

import math
from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from holdfast.core.random import Keys
from holdfast.reproduce.computations import Bench, ComputedRow, columns_of
from holdfast.reproduce.figures import sweep
from holdfast.reproduce.orderings import figure, rising
from holdfast.reproduce.records import Claim, Lines, Reproduction, Size
from holdfast.toys.random_step import RandomStep

STEPS = (0.0, 0.25, 0.5, 1.0, 1.25, 1.5, 2.0)
FEATURES = 3072


def named(step: float) -> str:
    """The line of a step size, in units of the radius."""
    return f"step {step:g} eps"


def rows(size: Size) -> Sequence[ComputedRow]:
    """One for each step size."""
    return [
        ComputedRow(
            name=named(step),
            computes=f"Lemma 1 and {size.images} draws",
            compute=partial(_lengths, step),
        )
        for step in STEPS
    ]


def _lengths(step: float, bench: Bench) -> Mapping[str, Tensor]:
    """Sampled mean length, and the bound, per eps sqrt(d)."""
    toy, keys = RandomStep(step_size=step), Keys.of(bench.seed, range(bench.images))
    unit = math.sqrt(FEATURES)
    mean = float(toy.sizes(torch.ones(FEATURES), keys).mean())
    return columns_of(mean_size=mean / unit, bound=toy.size_bound(FEATURES) / unit)


def _bounded(lines: Lines) -> bool:
    """The bound is above the mean, up to sampling errors."""
    pairs = [
        (figure(lines, named(s), "mean_size"), figure(lines, named(s), "bound")) for s in STEPS
    ]
    return all(mean <= bound + 1e-3 for mean, bound in pairs)


REPRODUCTION = Reproduction(
    id="gradalign-random-step",
    title="A random start is a shorter step",
    thesis="Andriushchenko 2024",
    source="Lemma 1, Fig 2.2 (sec 2.4, 2.8.1)",
    needs=("nothing",),
    setting="a linear loss in 3,072 dimensions, 1,000 samples",
    sizes=(
        Size(name="quick", images=50, minutes=0.02, note="50 samples"),
        Size(name="scaled", images=500, minutes=0.05, note="500 samples"),
        Size(name="published", images=1000, minutes=0.1),
    ),
    rows=rows,
    published={
        named(1.25): {"mean_size": 0.888, "bound": 0.888},
        named(2.0): {"mean_size": 1.0, "bound": 1.0},
        named(0.0): {"bound": 0.577},
    },
    claims=(
        rising("the length rises with the step", [named(each) for each in STEPS], "mean_size"),
        Claim(text="Lemma 1 bounds the mean length", holds=_bounded),
    ),
    draw=sweep({"one step": {step: named(step) for step in STEPS}}, "step / radius"),
    measures=("mean_size", "bound"),
    tolerance={"mean_size": (1e-3, 0.0), "bound": (1e-3, 0.0)},
    remarks="The lemma needs signs of the gradient that do not depend on the start.",
)
