"""Small networks and large radii: constant radii fail to converge where growing ones do not.

LeNet of three widths on MNIST at 0.4 with three schedules of the radius.

Source: Liu 2022, sec 4.2.5, Fig 4.14.
"""

from collections.abc import Sequence
from typing import Any

from holdfast.reproduce.budget_panel import CONSTANT, COSINE, LINEAR, MNIST, SHAPES, radius_schedule
from holdfast.reproduce.figures import sweep
from holdfast.reproduce.orderings import figure
from holdfast.reproduce.records import Claim, Lines, Reproduction, Size
from holdfast.reproduce.trainings import CLEAN, Measured, TrainedRow

WIDTHS = (2, 4, 8, 16)
NARROW = (2, 4)
GUESS = 0.15
"""Below it a network answers with one class, or as well as that."""


def named(width: int, shape: str) -> str:
    """The line of a width and a schedule."""
    return f"width {width}, {shape}"


def rows(size: Size) -> Sequence[TrainedRow]:
    """Every width with every schedule; smaller sizes have the narrow ones."""
    attack = "pgd-5-1-eps/4" if size.name == "quick" else "pgd-50-1-0.01"
    return [
        TrainedRow(
            name=named(width, shape),
            recipe=size.recipes[0],
            changes={**size.changes, **_changes(size, width, shape)},
            measured=(CLEAN, Measured(measure="robust_accuracy", attack=attack)),
            seeds=size.seeds,
        )
        for width in (WIDTHS if size.name == "published" else NARROW)
        for shape in SHAPES
    ]


def _changes(size: Size, width: int, shape: str) -> dict[str, Any]:
    epochs = size.changes.get("training.epochs", 100)
    return {
        "model": {"name": "lenet", "options": {"factor": width}},
        "training.radius_schedule": radius_schedule(shape, MNIST, epochs),
        "training.monitors": [{"kind": "dead-layers"}],
    }


def _better(lines: Lines) -> bool:
    """Growing radii are more robust at every width that ran."""
    ran = [width for width in WIDTHS if named(width, CONSTANT) in lines]
    return all(
        figure(lines, named(width, shape)) > figure(lines, named(width, CONSTANT))
        for width in ran
        for shape in (COSINE, LINEAR)
    )


def _fails(lines: Lines) -> bool:
    return all(figure(lines, named(width, CONSTANT)) < GUESS for width in NARROW)


def _learns(lines: Lines) -> bool:
    return all(
        figure(lines, named(width, shape)) > GUESS for width in NARROW for shape in (COSINE, LINEAR)
    )


REPRODUCTION = Reproduction(
    id="budget-capacity",
    title="Growing radii and the width of the network",
    thesis="Liu 2022",
    source="Fig 4.14 (sec 4.2.5)",
    needs=("MNIST",),
    setting="LeNet of several widths, MNIST, linf 0.4, Adam with rate 1e-4, 100 epochs",
    sizes=(
        Size(
            name="quick",
            recipes=("digits-pgd",),
            changes={
                "training.epochs": 1,
                "data.limit": 200,
                "data.validation": 50,
                "selection.attack": "pgd-2-1",
                "selection.choose": "last",
            },
            images=20,
            minutes=0.1,
            note="digits, one epoch",
        ),
        Size(
            name="scaled",
            recipes=("mnist-budget",),
            changes={
                "training.epochs": 12,
                "data.limit": 5000,
                "training.schedule.value": 1e-3,
                "selection.every": 12,
            },
            images=500,
            minutes=35,
            note="5,000 images, 12 epochs, rate 1e-3, widths 2 and 4, one run",
        ),
        Size(name="published", recipes=("mnist-budget",), images=10_000, seeds=3, minutes=100_000),
    ),
    rows=rows,
    published={},
    claims=(
        Claim(text="growing radii are more robust at every width", holds=_better),
        Claim(text="with a constant radius networks of width 2 and 4 learn nothing", holds=_fails),
        Claim(text="with growing radii they learn", holds=_learns),
    ),
    draw=sweep(
        {shape: {width: named(width, shape) for width in WIDTHS} for shape in SHAPES},
        "width",
        log=True,
    ),
    measures=("clean_accuracy", "robust_accuracy"),
    tolerance={},
    remarks="Published as a figure; of its widths 2, 4 and 16 are named, 8 is ours.",
)
