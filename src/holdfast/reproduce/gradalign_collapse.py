"""How FGSM training collapses: accuracies, losses and gradients, epoch by epoch.

Within one epoch accuracy under PGD falls to zero while that under FGSM rises, and input gradients
are no longer aligned inside the ball.

Source: Andriushchenko 2024, sec 2.5, Fig 2.4.
Departures: measured on a training batch after every epoch, where the collapse shows as well, not on
the test set. The figures of `before` are those of the epoch before the largest fall.
"""

from collections.abc import Mapping, Sequence

from torch import Tensor

from holdfast.measures.queries import Queries
from holdfast.reproduce.figures import over_epochs
from holdfast.reproduce.gradalign_methods import (
    FGSM,
    PGD10,
    STANDARD,
    objective,
    sizes,
    trained_row,
)
from holdfast.reproduce.orderings import above, per_cent
from holdfast.reproduce.records import Lines, Reproduction, Size
from holdfast.reproduce.trainings import HISTORY, TrainedRow, line_of

BEFORE, AFTER = "FGSM, before", "FGSM, after"
SEEN = {
    "fgsm_accuracy": "catastrophic.fgsm_accuracy",
    "pgd_accuracy": "catastrophic.pgd_accuracy",
    "alignment": "catastrophic.alignment",
    "loss_ratio": "catastrophic.loss_ratio",
    "cosine": "perturbations.cosine",
}
_RADIUS = {"quick": 8, "scaled": 13, "published": 8}


def rows(size: Size) -> Sequence[TrainedRow]:
    """Ordinary, FGSM and PGD-10 training."""
    return [
        trained_row(
            size,
            method,
            _RADIUS[size.name],
            {"objective": objective(method), "training.monitors": _monitors(size)},
        )
        for method in (STANDARD, FGSM, PGD10)
    ]


def _monitors(size: Size) -> list[dict[str, object]]:
    steps = {"quick": 3, "scaled": 20, "published": 50}[size.name]
    attack = {"kind": "pgd", "steps": steps, "restarts": 1, "step_size": "eps/4"}
    return [{"kind": "catastrophic", "attack": attack, "action": "none"}, {"kind": "perturbations"}]


def before_and_after(
    outcomes: Mapping[str, Queries], columns: Mapping[str, Mapping[str, Tensor]]
) -> Lines:
    """Each training's last figures, and FGSM's before and after its largest fall, over seeds."""
    lines: Lines = {name: line_of(each) for name, each in columns.items()}
    for name, found in columns.items():
        lines[name] |= {key: _mean(found, seen, -1) for key, seen in SEEN.items()}
    accuracy = columns[FGSM][HISTORY + SEEN["pgd_accuracy"]].double()
    if accuracy.shape[1] > 1:
        at = int((accuracy[:, 1:] - accuracy[:, :-1]).mean(dim=0).argmin())
        for line, epoch in ((BEFORE, at), (AFTER, -1)):
            lines[line] = {key: _mean(columns[FGSM], seen, epoch) for key, seen in SEEN.items()}
        lines[FGSM]["collapse_epoch"] = float(at + 2)
    return lines


def _mean(found: Mapping[str, Tensor], seen: str, epoch: int) -> float:
    return float(found[HISTORY + seen][:, epoch].double().mean())


PUBLISHED = per_cent({BEFORE: (40.1, 43.5), AFTER: (0.0, 86.7)}, ("pgd_accuracy", "fgsm_accuracy"))
PUBLISHED[BEFORE]["alignment"] = 0.95
PUBLISHED[AFTER]["alignment"] = 0.05
PUBLISHED[FGSM] = {"collapse_epoch": 23.0}

REPRODUCTION = Reproduction(
    id="gradalign-collapse",
    title="Catastrophic overfitting, epoch by epoch",
    thesis="Andriushchenko 2024",
    source="Fig 2.4 (sec 2.5)",
    needs=("CIFAR-10", "a GPU"),
    setting="PreActResNet-18, CIFAR-10, linf 8/255, 30 epochs, one run, test set",
    sizes=sizes(quick=0.2, scaled=12, published=30_000, seeds=1, note="linf 13/255"),
    rows=rows,
    published=PUBLISHED,
    claims=(
        above("accuracy under PGD falls", BEFORE, AFTER, "pgd_accuracy"),
        above("accuracy under FGSM rises at the same time", AFTER, BEFORE, "fgsm_accuracy"),
        above("gradients lose their alignment", BEFORE, AFTER, "alignment"),
    ),
    draw=over_epochs(tuple(SEEN.values()), {each: each for each in (STANDARD, FGSM, PGD10)}),
    lines=before_and_after,
    measures=(
        "pgd_accuracy",
        "fgsm_accuracy",
        "alignment",
        "loss_ratio",
        "cosine",
        "collapse_epoch",
    ),
    remarks=(
        "Published besides: alignment 0.85 at initialisation and 0.04 after the collapse; the loss "
        "under PGD is at most 1.05 times that under FGSM before it."
    ),
)
