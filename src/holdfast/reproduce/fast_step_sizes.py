"""How long the one step of fast adversarial training may be, with and without early stopping.

Robust accuracy rises up to 1.25 eps and is lost beyond 11/8 of it, where the network collapses; an
early stop keeps a fair level at every step.

Source: Wong 2020, sec 4.1.3, Figs 4.4 and 4.5; figures of the text and of Table 4.1; Rice 2023,
    Figs 2.1 and 2.5.
"""

from collections.abc import Sequence

from holdfast.reproduce.fast_initialisation import LAST, STOP, fgsm, measured
from holdfast.reproduce.figures import sweep
from holdfast.reproduce.orderings import COLLAPSED, figure
from holdfast.reproduce.records import Claim, Lines, Reproduction, Size
from holdfast.reproduce.trainings import TrainedRow

EIGHTHS = {
    "quick": (8, 16),
    "scaled": (2, 4, 6, 8, 10, 12, 14, 16),
    "published": tuple(range(1, 17)),
}
"""The steps, in eighths of the radius: in 255ths where that is 8/255."""
BEST, HIGHEST = 10, 11


def named(eighths: int, *, stopped: bool = False) -> str:
    """The line of a step.

    Example:
        >>> named(10, stopped=True)
        'step 1.25 eps, early stopping'
    """
    return f"step {eighths / 8:g} eps" + (", early stopping" if stopped else "")


def rows(size: Size) -> Sequence[TrainedRow]:
    """Each step to the end, then each with early stopping."""
    return [
        TrainedRow(
            name=named(each, stopped=stopped),
            recipe=size.recipes[0],
            changes={
                "objective": fgsm(size, "random", f"{each / 8:g}*eps"),
                **size.changes,
                **({"training.monitors": [STOP]} if stopped else {}),
            },
            measured=measured(size),
            seeds=size.seeds,
        )
        for stopped in (False, True)
        for each in EIGHTHS[size.name]
    ]


def _present(lines: Lines, low: int, high: int, *, stopped: bool = False) -> dict[int, float]:
    """Robust accuracy of the steps of a range, where the lines have them."""
    names = {each: named(each, stopped=stopped) for each in range(low, high + 1)}
    return {each: figure(lines, name) for each, name in names.items() if name in lines}


def _best(lines: Lines) -> bool:
    return figure(lines, named(BEST)) >= max(_present(lines, 1, 16).values())


def _lost(lines: Lines) -> bool | None:
    beyond = _present(lines, HIGHEST + 1, 16).values()
    return all(each < COLLAPSED for each in beyond) if beyond else None


def _recovered(lines: Lines) -> bool | None:
    beyond = _present(lines, HIGHEST + 1, 16)
    kept = _present(lines, 1, 16, stopped=True)
    pairs = [(kept[each], lost) for each, lost in beyond.items() if each in kept]
    return all(one > other + COLLAPSED for one, other in pairs) if pairs else None


REPRODUCTION = Reproduction(
    id="fast-step-sizes",
    title="Fast adversarial training: the length of the one step",
    thesis="Wong 2020",
    source="Figs 4.4 and 4.5 (sec 4.1.3)",
    needs=("CIFAR-10",),
    setting="CIFAR-10, linf 8/255, PreActResNet-18, steps of 1/255 to 16/255, 30 epochs, "
    "PGD-50-10, 3 seeds",
    sizes=(
        Size(
            name="quick",
            recipes=("digits-fgsm-rs",),
            changes={"training.epochs": 1, "data.limit": 300, **LAST},
            images=20,
            minutes=0.1,
            note="digits, linf 0.15, 300 training images, one epoch, two steps",
        ),
        Size(
            name="scaled",
            recipes=("mnist-fgsm-rs",),
            changes={
                "training.epochs": 6,
                "data.limit": 10_000,
                **LAST,
            },
            images=200,
            minutes=20,
            note="MNIST, linf 0.3, 10,000 training images, 6 epochs, starts drawn without the box, "
            "eight steps, one seed, 200 test images",
        ),
        Size(
            name="published",
            recipes=("cifar10-fgsm-rs",),
            changes=LAST,
            images=10_000,
            seeds=3,
            minutes=240_000,
        ),
    ),
    rows=rows,
    published={
        named(8): {"robust_accuracy": 0.4401},
        named(10): {"robust_accuracy": 0.4606},
        **{named(each): {"robust_accuracy": 0.0} for each in range(HIGHEST + 1, 17)},
        named(16, stopped=True): {"robust_accuracy": 0.4038},
    },
    claims=(
        Claim(text="a step of 1.25 eps is the best", holds=_best),
        Claim(text="steps above 11/8 eps lose all robust accuracy", holds=_lost),
        Claim(text="early stopping brings it back at every one of them", holds=_recovered),
    ),
    draw=sweep(
        {
            "to the end": {each / 8: named(each) for each in range(1, 17)},
            "early stopping": {each / 8: named(each, stopped=True) for each in range(1, 17)},
        },
        "step / eps",
    ),
    measures=("clean_accuracy", "robust_accuracy"),
    remarks="The published figures are pictures; steps of 8, 10 and 16/255 have figures in Table "
    "4.1, and the text says 0 % above 11/255.",
)
