"""Training that treats hard examples differently: reweighting and adaptive targets.

On top of training with kept perturbations (ATTA), weights by the label's probability make a network
more robust, targets that move towards its own answers much more. Instance-adaptive radii (IAT),
self-adaptive training (SAT) and geometry-aware weights (GAIRAT) stand beside them.

Source: Liu 2022, sec 4.3.5, Table 4.6, Figs 4.23 to 4.25.
"""

from collections.abc import Sequence
from typing import Any

from holdfast.reproduce.computations import ComputedRow, evaluated, lines_by_network
from holdfast.reproduce.figures import bars
from holdfast.reproduce.orderings import figure, per_cent, rising
from holdfast.reproduce.records import Claim, Lines, Reproduction, Size
from holdfast.reproduce.trainings import CLEAN, Measured, TrainedRow

AUTOATTACK = "autoattack_accuracy"
ATTA, RW, TARGETS = "ATTA", "reweighting", "adaptive targets"
IAT, SAT, GAIRAT = "IAT", "SAT", "GAIRAT"
BETAS = (0.0, 0.5, 1.0)
_KEPT = {"kind": "adaptive-targets"}
FAST: dict[str, dict[str, Any]] = {
    ATTA: {**_KEPT, "adaptive": False},
    RW: {**_KEPT, "adaptive": False, "reweight": "adversarial"},
    TARGETS: _KEPT,
    **{f"beta = {beta:g}": {**_KEPT, "beta": beta} for beta in BETAS},
}
SLOW = {IAT: "cifar10-iat", SAT: "cifar10-sat", GAIRAT: "cifar10-gairat"}


def rows(size: Size) -> Sequence[TrainedRow | ComputedRow]:
    """Trainings, each with its evaluation."""
    small = size.name != "published"
    found: list[TrainedRow | ComputedRow] = []
    for name, options in FAST.items():
        warmup = {"warmup": size.changes["training.epochs"] // 4} if small else {}
        found += _pair(size, name, size.recipes[0], {"objective": {**options, **warmup}})
    for name, recipe in SLOW.items():
        field = "burn_in" if name == GAIRAT else "warmup"
        options = {"kind": recipe.removeprefix("cifar10-"), field: 1}
        changes: dict[str, Any] = {"objective": options} if small else {}
        found += _pair(size, name, size.recipes[0] if small else recipe, changes)
    return found


def _pair(
    size: Size, name: str, recipe: str, changes: dict[str, Any]
) -> list[TrainedRow | ComputedRow]:
    """A training and its evaluation."""
    attack = "pgd-10-1-eps/4"
    row = TrainedRow(
        name=name,
        recipe=recipe,
        changes={**size.changes, **changes},
        measured=(
            CLEAN,
            Measured(measure="robust_accuracy", attack=attack),
            Measured(measure="robust_train_accuracy", attack=attack, split="train"),
        ),
        seeds=size.seeds,
    )
    return [row, evaluated(row, protocol="fast" if size.name == "quick" else "standard")]


def _gap(lines: Lines, name: str) -> float:
    """Robust accuracy in training less that in test."""
    return figure(lines, name, "robust_train_accuracy") - figure(lines, name)


def _shrinks(lines: Lines) -> bool:
    """The gap rises with beta."""
    gaps = [_gap(lines, f"beta = {beta:g}") for beta in BETAS]
    return gaps == sorted(gaps)


REPRODUCTION = Reproduction(
    id="difficulty-tuning-fast",
    title="Fast adversarial training with weights and targets of its own",
    thesis="Liu 2022",
    source="Table 4.6, Figs 4.23 to 4.25 (sec 4.3.5)",
    needs=("CIFAR-10", "a GPU"),
    setting="WRN-34-10, CIFAR-10, linf 8/255, 38 epochs, last weights, AutoAttack",
    sizes=(
        Size(
            name="quick",
            recipes=("digits-pgd",),
            changes={
                "training.epochs": 2,
                "data.limit": 150,
                "data.validation": 50,
                "selection.attack": "pgd-2-1",
                "selection.choose": "last",
            },
            images=10,
            minutes=0.3,
            note="digits, two epochs",
        ),
        Size(
            name="scaled",
            recipes=("cifar10-adaptive-targets", *SLOW.values()),
            changes={
                "model": {"name": "mnist_conv"},
                "data.name": "cifar10-jpeg",
                "data.limit": 10_000,
                "training.epochs": 12,
                "training.optimizer": "adam",
                "training.schedule": {"kind": "piecewise", "value": 2e-3, "at": [0.8, 0.93]},
                "training.precision": "float32",
                "training.channels_last": False,
                "selection.every": 12,
            },
            images=200,
            minutes=35,
            note="a small network, 10,000 images of CIFAR-10 (JPEG), 12 epochs",
        ),
        Size(
            name="published",
            recipes=("cifar10-adaptive-targets", *SLOW.values()),
            images=50_000,
            minutes=5_000_000,
        ),
    ),
    rows=rows,
    published=per_cent(
        {
            "Free AT, WRN-34 (quoted)": (41.17,),
            "FGSM-RS, ResNet-18 (quoted)": (43.21,),
            ATTA: (44.48,),
            "YOPO, WRN-34 (quoted)": (44.83,),
            "backward smoothing, WRN-34 (quoted)": (51.12,),
            RW: (46.15,),
            TARGETS: (51.17,),
        },
        (AUTOATTACK,),
    ),
    claims=(
        rising(
            "reweighting makes ATTA more robust, adaptive targets even more",
            (ATTA, RW, TARGETS),
            AUTOATTACK,
        ),
        Claim(text="the generalisation gap shrinks with beta", holds=_shrinks),
    ),
    draw=bars,
    lines=lines_by_network,
    measures=("clean_accuracy", "robust_accuracy", "robust_train_accuracy", AUTOATTACK),
    remarks=(
        "Lines marked as quoted are figures of other papers. Of IAT and SAT correlations with "
        "difficulty are published (0.884 for the radius of IAT; 0.890 and 0.960 for weights and "
        "targets), no accuracies. The quick size has the fast protocol in the place of AutoAttack."
    ),
)
