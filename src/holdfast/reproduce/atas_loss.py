"""The robust training loss over epochs: how well each training finds its own perturbations.

Source: Liu 2022, sec 5.2, Fig 5.6.
Departures: the loss under PGD-10 of a fixed set of training images, of the weights that were kept,
not of the batches on the way.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from holdfast.attacks.text import parse as parse_attack
from holdfast.core.frozen import FrozenModel, default_block
from holdfast.core.random import Keys
from holdfast.losses.cross_entropy import cross_entropy
from holdfast.models.store import load_model
from holdfast.reproduce.atas_methods import ATAS, ATTA, FGSM_GA, FGSM_RS, method_row, small_sizes
from holdfast.reproduce.computations import Bench, ComputedRow, columns_of, lines_by_network
from holdfast.reproduce.figures import over_epochs
from holdfast.reproduce.orderings import figure
from holdfast.reproduce.records import Claim, Lines, Reproduction, Size
from holdfast.reproduce.trainings import HISTORY, TrainedRow
from holdfast.runs.directory import Run
from holdfast.threats.text import parse
from holdfast.training.tuning import kept_epochs

METHODS = (FGSM_RS, FGSM_GA, ATTA, ATAS)
RADII = (8, 12, 16)
LOSS = "robust_train_loss"


def named(method: str, radius: int) -> str:
    """The line of a method at a radius."""
    return f"{method}, {radius}/255"


def rows(size: Size) -> Sequence[TrainedRow | ComputedRow]:
    """Trainings, each with its curve; smaller sizes have one radius."""
    found: list[TrainedRow | ComputedRow] = []
    for radius in RADII if size.name == "published" else RADII[:1]:
        for method in METHODS:
            kept = {"threat": f"linf:{radius}/255"}
            training = method_row(size, named(method, radius), method, changes=kept)
            found += [training, _curve(training)]
    return found


def _curve(row: TrainedRow) -> ComputedRow:
    """The loss of every network that was kept."""

    def compute(bench: Bench) -> Mapping[str, Tensor]:
        recipe = row.build(bench.seed, bench.place.store)
        data, threat = bench.data(recipe.data.name, "train"), parse(recipe.threat)
        x, y, attack = data.inputs(), data.labels, parse_attack("pgd-10-1-0.2*eps")
        keys = Keys.of(bench.seed, data.index).to(bench.device)
        losses = []
        for file in kept_epochs(Run.open(bench.folder(row, bench.seed))).values():
            network = load_model(file)[0].to(bench.device)
            block = default_block(bench.device)
            frozen = FrozenModel(network, block=block, device=bench.device)
            points = attack.run(frozen, x, y, threat, keys=keys).x_adv
            with torch.no_grad():
                losses.append(float(cross_entropy(frozen.logits(points), y).mean()))
        return columns_of(**{LOSS: losses[-1]}) | {HISTORY + LOSS: torch.tensor([losses])}

    return ComputedRow(name=f"{row.name}: loss", computes="robust training loss", compute=compute)


def _lowest(lines: Lines) -> bool | None:
    """ATAS has the lowest last loss at every radius that ran."""
    ran = [radius for radius in RADII if named(ATAS, radius) in lines]
    return (
        all(
            figure(lines, named(ATAS, radius), LOSS) <= figure(lines, named(method, radius), LOSS)
            for radius in ran
            for method in METHODS
        )
        if ran
        else None
    )


REPRODUCTION = Reproduction(
    id="atas-loss",
    title="Robust training loss of fast adversarial trainings",
    thesis="Liu 2022",
    source="Fig 5.6 (sec 5.2)",
    needs=("CIFAR-10", "a GPU"),
    setting="ResNet-18, CIFAR-10, linf 8, 12 and 16/255, PGD-10 on training images, every epoch",
    sizes=(
        *small_sizes(quick=0.2, scaled=15, changes={"training.keep_every": 1}),
        Size(
            name="published",
            recipes=("cifar10-atas",),
            changes={"training.keep_every": 1},
            images=10_000,
            minutes=300_000,
        ),
    ),
    rows=rows,
    published={},
    claims=(Claim(text="ATAS has the lowest robust training loss", holds=_lowest),),
    draw=over_epochs((LOSS,), {f"{named(m, 8)}: loss": named(m, 8) for m in METHODS}),
    lines=lines_by_network,
    measures=(LOSS, "clean_accuracy", "pgd10_accuracy", "pgd50_accuracy"),
    tolerance={},
    remarks="Published as figures, also of other architectures and data; the first point is before "
    "training.",
)
