"""Rows of a reproduction that are neither an attack nor a training: toys, lemmas, and what is
measured of the weights that the trainings before them kept.

A `ComputedRow` names a function from a `Bench` to columns, `figure.<measure>` one number a seed;
`computed` calls it once and keeps what it found beside the trainings.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from holdfast.benchmark.evaluate import evaluate
from holdfast.data.images import ImageData
from holdfast.data.load import load_data
from holdfast.measures.queries import Queries
from holdfast.models.store import load_model
from holdfast.models.weights import write_tensors
from holdfast.reproduce.subjects import Place
from holdfast.reproduce.trainings import FIGURE, TrainedRow, folder, line_of
from holdfast.threats.text import parse
from holdfast.training import checkpoints

SEPARATOR = ": "


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Where a computation takes place.

    Args:
        place: where rows before it are kept, and data lie.
        images: at most so many examples.
        seed: of the run.
        device: where networks are looked at.
    """

    place: Place
    images: int
    seed: int
    device: torch.device

    def data(self, name: str, split: str = "test") -> ImageData:
        """The first examples of a split, on the device."""
        whole = load_data(name, split, data_dir=self.place.data_dir)
        return whole.first(min(self.images, len(whole))).to(self.device)

    def folder(self, row: TrainedRow, seed: int) -> Path:
        """The run of one training of an earlier row."""
        return folder(self.place.store, row.name, seed)

    def networks(self, row: TrainedRow) -> Iterator[tuple[int, nn.Module]]:
        """The seeds of an earlier row, each with the weights that were chosen."""
        for seed in range(self.seed, self.seed + row.seeds):
            file = self.folder(row, seed) / "checkpoints" / checkpoints.BEST
            yield seed, load_model(file)[0].to(self.device).eval()


Compute = Callable[[Bench], Mapping[str, Tensor]]


@dataclass(frozen=True, kw_only=True)
class ComputedRow:
    """A computation.

    Args:
        name: unlike that of any other row; `NETWORK: WHAT` adds figures to the line `NETWORK`
            where the entry's lines are `lines_by_network`.
        computes: what, in words.
        compute: from the bench to columns.
    """

    name: str
    computes: str
    compute: Compute

    def to_dict(self) -> dict[str, Any]:
        """The row as plain data."""
        return {"row": self.name, "computes": self.computes}


def computed(row: ComputedRow, bench: Bench) -> dict[str, Tensor]:
    """The columns of a computation, which are kept beside the trainings."""
    file = folder(bench.place.store, row.name, bench.seed).with_suffix(".safetensors")
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        write_tensors(file, row.compute(bench), {})
    return load_file(file)


def columns_of(**figures: float | Sequence[float]) -> dict[str, Tensor]:
    """Figures as columns, one number or one a seed.

    Example:
        >>> columns_of(mean_size=0.5)
        {'figure.mean_size': tensor([0.5000], dtype=torch.float64)}
    """
    return {
        FIGURE + name: torch.tensor(each, dtype=torch.float64).reshape(-1)
        for name, each in figures.items()
    }


def evaluated(row: TrainedRow, measure: str = "autoattack_accuracy", **options: Any) -> ComputedRow:
    """The robust accuracy of a row's networks under a protocol, `standard` where none is named."""
    options = {"protocol": "standard", "bounds": ()} | options

    def compute(bench: Bench) -> Mapping[str, Tensor]:
        found = []
        for seed, network in bench.networks(row):
            recipe = row.build(seed, bench.place.store)
            data, threat = bench.data(recipe.data.name), parse(recipe.threat)
            result = evaluate(network, data, threat, seed=seed, device=bench.device, **options)
            found.append(result.robust_accuracy)
        return columns_of(**{measure: found})

    name = f"{row.name}{SEPARATOR}{options['protocol']}"
    return ComputedRow(name=name, computes=f"{measure} of {row.name}", compute=compute)


def lines_by_network(
    outcomes: Mapping[str, Queries], columns: Mapping[str, Mapping[str, Tensor]]
) -> dict[str, dict[str, float | None]]:
    """The figures of each training, with those of the computations on its networks."""
    lines: dict[str, dict[str, float | None]] = {}
    for name, each in columns.items():
        network = name.split(SEPARATOR)[0]
        lines[network] = lines.get(network, {}) | line_of(each)
    return lines
