"""The accuracies of a pretrained network on the data for which it is not yet tuned.

Source: Zhang 2019, sec 5.3 (the rows `None`).
"""

from collections.abc import Mapping

from torch import Tensor

from holdfast.attacks.text import parse as parse_attack
from holdfast.core.frozen import FrozenModel, default_block
from holdfast.core.random import Keys
from holdfast.measures.accuracy import Accuracy
from holdfast.reproduce.computations import Bench, ComputedRow, columns_of
from holdfast.reproduce.records import Size
from holdfast.reproduce.regularisation_methods import measured
from holdfast.reproduce.trainings import TrainedRow
from holdfast.threats.text import parse


def untuned(size: Size, name: str, row: TrainedRow) -> ComputedRow:
    """The four accuracies of a row's networks on the smaller data set."""

    def compute(bench: Bench) -> Mapping[str, Tensor]:
        figures: dict[str, list[float]] = {each.measure: [] for each in measured(size)}
        for seed, network in bench.networks(row):
            recipe = row.build(seed, bench.place.store)
            target = {"published": "cifar10"}.get(size.name, recipe.data.name)
            frozen = FrozenModel(network, block=default_block(bench.device), device=bench.device)
            for each in measured(size):
                data = bench.data(target, each.split)
                attack = None if each.attack == "none" else parse_attack(each.attack)
                keys = Keys.of(seed, data.index).fold("reproduce").to(bench.device)
                measure = Accuracy(attack=attack)
                sums = measure.update(
                    frozen, data.inputs(), data.labels, parse(recipe.threat), keys=keys
                )
                figures[each.measure].append(measure.compute(sums).value)
        return columns_of(**figures)

    return ComputedRow(name=name, computes=f"accuracies of {row.name}", compute=compute)
