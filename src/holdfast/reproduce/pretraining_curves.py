"""What tuning forgets and what it learns, epoch by epoch, for three pairs of methods.

Accuracies on the larger data set's training images and on the target's test images, of the weights
after every epoch of tuning.

Source: Zhang 2019, sec 5.4 and 5.5, Figs 5-1 to 5-4.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from holdfast.reproduce.computations import Bench, ComputedRow, columns_of
from holdfast.reproduce.figures import over_epochs
from holdfast.reproduce.orderings import figure
from holdfast.reproduce.pretraining_size import PIPELINES
from holdfast.reproduce.records import Claim, Lines, Reproduction, Size
from holdfast.reproduce.regularisation_methods import (
    attack_of,
    lines_of_tuned,
    pretrained,
    sizes,
    tuned,
)
from holdfast.reproduce.trainings import HISTORY, TrainedRow
from holdfast.training.tuning import tuning_curve

SETS = {"old": "train", "new": "test"}
CURVES = tuple(f"{data}_{kind}_accuracy" for data in SETS for kind in ("clean", "robust"))
BEFORE, AFTER = "before_", "after_"


def named(before: str, after: str) -> str:
    """The line of a pair of methods."""
    return f"{before} -> {after}"


NAMES = [named(*pair) for pair in PIPELINES]


def rows(size: Size) -> Sequence[TrainedRow | ComputedRow]:
    """Both trainings of every pair, and its curves."""
    found: list[TrainedRow | ComputedRow] = []
    kept = {"training.keep_every": 1}
    for before, after in PIPELINES:
        first = pretrained(size, before)
        second = tuned(size, named(before, after), first, after, kept)
        found += [first, second, _curves(size, first, second)]
    return found


def _curves(size: Size, first: TrainedRow, second: TrainedRow) -> ComputedRow:
    """The four curves of a pair."""

    def compute(bench: Bench) -> Mapping[str, Tensor]:
        columns: dict[str, Tensor] = {}
        sources = {"old": first, "new": second}
        for name, split in SETS.items():
            recipe = sources[name].build(bench.seed, bench.place.store)
            points = tuning_curve(
                bench.folder(second, bench.seed),
                recipe.data.name,
                recipe.threat,
                attack_of(size),
                limit=bench.images,
                split=split,
                data_dir=bench.place.data_dir,
                seed=bench.seed,
                device=bench.device,
            )
            for kind in ("clean", "robust"):
                values = [float(getattr(each, kind)) for each in points]
                key = f"{name}_{kind}_accuracy"
                columns[HISTORY + key] = torch.tensor([values])
                columns |= columns_of(**{BEFORE + key: values[0], AFTER + key: values[-1]})
        return columns

    what = "accuracies after every epoch of tuning, on the old and on the new data"
    return ComputedRow(name=f"{second.name}: curves", computes=what, compute=compute)


def _moves(text: str, names: Sequence[str], curve: str, sign: int) -> Claim:
    def holds(lines: Lines) -> bool:
        return all(
            sign * (figure(lines, name, AFTER + curve) - figure(lines, name, BEFORE + curve)) > 0
            for name in names
        )

    return Claim(text=text, holds=holds)


REPRODUCTION = Reproduction(
    id="pretraining-curves",
    title="What tuning a robust network forgets and learns",
    thesis="Zhang 2019",
    source="Figs 5-1 to 5-4 (sec 5.4, 5.5)",
    needs=("CINIC-10", "CIFAR-10", "a GPU"),
    setting="ResNet-18, CINIC-10 then CIFAR-10, linf 0.03, PGD-20, every epoch of tuning",
    sizes=tuple(sizes(quick=0.15, scaled=20, published=1_500_000)),
    rows=rows,
    published={},
    claims=(
        _moves(
            "robust optimization forgets: it gets less robust on the old data",
            NAMES[:1],
            "old_robust_accuracy",
            -1,
        ),
        _moves(
            "regularized networks get more robust on the new data",
            NAMES[1:],
            "new_robust_accuracy",
            1,
        ),
        _moves(
            "with robust optimization robustness on the new data falls",
            NAMES[:1],
            "new_robust_accuracy",
            -1,
        ),
    ),
    draw=over_epochs(CURVES, {f"{each}: curves": each for each in NAMES}),
    lines=lines_of_tuned,
    measures=tuple(when + each for each in CURVES for when in (BEFORE, AFTER)),
    tolerance={},
    remarks=(
        "Published as figures, without numbers. The first point of every curve is before tuning. "
        "In the smaller sizes the old data are the training images of both steps."
    ),
)
