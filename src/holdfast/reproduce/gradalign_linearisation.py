"""How far the loss is from linear, over the length of the perturbation.

At corners of the ball with a part of the coordinates left out the error of the linear model grows
with the length, and is much larger along the gradient than in a random direction.

Source: Andriushchenko 2024, sec 2.4 and 2.10.1, Fig 2.10.
"""

from collections.abc import Mapping, Sequence
from functools import partial

from torch import Tensor

from holdfast.core.random import Keys
from holdfast.measures.linearization import LinearizationError
from holdfast.reproduce.computations import Bench, ComputedRow, columns_of
from holdfast.reproduce.figures import bars
from holdfast.reproduce.gradalign_methods import PGD10, STANDARD, method_row, sizes
from holdfast.reproduce.orderings import all_above, rising
from holdfast.reproduce.records import Claim, Reproduction, Size
from holdfast.reproduce.trainings import TrainedRow
from holdfast.threats.text import parse

NETWORKS = (STANDARD, PGD10)
DIRECTIONS = ("fgsm", "random")
ZEROED = (0.0, 0.25, 0.5, 0.75, 0.95)


def named(network: str, direction: str, zeroed: float) -> str:
    """The line of a network, a direction and a share of coordinates that stay."""
    return f"{network}, {direction}, {zeroed:.0%} zero"


def rows(size: Size) -> Sequence[TrainedRow | ComputedRow]:
    """Two trainings, and the errors of each network."""
    found: list[TrainedRow | ComputedRow] = []
    for network in NETWORKS:
        training = method_row(size, network, 8)
        found.append(training)
        found += [
            ComputedRow(
                name=named(network, direction, zeroed),
                computes="the mean linearisation error, and the mean l2 length",
                compute=partial(_error, training, direction, zeroed),
            )
            for direction in DIRECTIONS
            for zeroed in ZEROED
        ]
    return found


def _error(row: TrainedRow, direction: str, zeroed: float, bench: Bench) -> Mapping[str, Tensor]:
    measure = LinearizationError(direction=direction, zeroed=zeroed)  # type: ignore[arg-type]
    errors, lengths = [], []
    for seed, network in bench.networks(row):
        recipe = row.build(seed, bench.place.store)
        data = bench.data(recipe.data.name)
        keys = Keys.of(seed, data.index).to(bench.device)
        sums = measure.update(network, data.inputs(), data.labels, parse(recipe.threat), keys=keys)
        errors.append(measure.compute(sums).value)
        lengths.append(sums.mean("size").value)
    return columns_of(error=errors, length=lengths)


def _grows(network: str) -> Claim:
    names = [named(network, "fgsm", each) for each in reversed(ZEROED)]
    return rising(f"the error grows with the length ({network})", names, "error")


REPRODUCTION = Reproduction(
    id="gradalign-linearisation",
    title="The error of the linear model over the length of the perturbation",
    thesis="Andriushchenko 2024",
    source="Fig 2.10 (sec 2.10.1)",
    needs=("CIFAR-10", "a GPU"),
    setting="PreActResNet-18, standard and PGD-10, CIFAR-10, linf 8/255, 512 test images",
    sizes=sizes(quick=0.1, scaled=8, published=30_000, seeds=1),
    rows=rows,
    published={},
    claims=(
        *map(_grows, NETWORKS),
        all_above(
            "the error is larger along the gradient than in a random direction",
            [(named(n, "fgsm", 0.0), named(n, "random", 0.0)) for n in NETWORKS],
            "error",
        ),
    ),
    draw=bars,
    measures=("error", "length", "clean_accuracy", "robust_accuracy"),
    tolerance={},
    remarks="Published as a figure, without numbers.",
)
