"""How much the Square Attack's results depend on its seed.

Source: Andriushchenko 2024, Table 3.8 (sec 3.11); Andriushchenko, Croce, Flammarion and Hein 2020,
arXiv:1912.00049, Table 8.
"""

from collections.abc import Mapping, Sequence
from statistics import fmean, pstdev
from typing import Any

from holdfast.attacks.square import Square
from holdfast.measures.queries import Queries
from holdfast.reproduce.figures import seeds
from holdfast.reproduce.records import Claim, Lines, Reproduction, Row, Size
from holdfast.reproduce.subjects import CIFAR, DIGITS, ROBUST_MNIST

SEEDS = 10
LINES = ("undefended linf", "undefended l2", "robust MNIST linf 0.3", "robust MNIST l2 2")
MEASURES = ("failure_rate", "robust_accuracy", "mean_queries", "median_queries")
_FIGURES: dict[str, dict[str, tuple[float, float]]] = {
    "undefended linf": {"failure_rate": (0, 0), "mean_queries": (72, 2), "median_queries": (11, 1)},
    "undefended l2": {
        "failure_rate": (0.006, 0.001),
        "mean_queries": (638, 12),
        "median_queries": (163, 8),
    },
    "robust MNIST linf 0.3": {
        "robust_accuracy": (0.87, 0.001),
        "mean_queries": (299, 47),
        "median_queries": (52, 7),
    },
    "robust MNIST l2 2": {
        "robust_accuracy": (0.16, 0.014),
        "mean_queries": (1454, 71),
        "median_queries": (742, 78),
    },
}
PUBLISHED = {
    line: {
        name: float(value)
        for measure, (mean, spread) in figures.items()
        for name, value in ((measure, mean), (f"{measure}_spread", spread))
    }
    for line, figures in _FIGURES.items()
}


def named(line: str, seed: int) -> str:
    """The row of a line and a seed."""
    return f"{line}: seed {seed}"


def rows(size: Size) -> Sequence[Row]:
    """One for each line and seed; the first subject has the first two lines."""
    first, last = size.subjects[0], size.subjects[-1]
    subjects = (first, first, last, last)
    found = []
    for line, subject, threat, p in zip(LINES, subjects, size.threats, size.fractions, strict=True):
        attack = Square(queries=size.queries, p_init=p)
        for seed in range(size.seeds):
            name = named(line, seed)
            row = Row(name=name, subject=subject, threat=threat, attack=attack, seed=seed)
            found.append(row)
    return found


def over_seeds(outcomes: Mapping[str, Queries], columns: Any) -> Lines:
    """Mean and standard deviation over the seeds of each line."""
    found: Lines = {}
    for line in LINES:
        runs = [each.statistics() for name, each in outcomes.items() if name.startswith(line + ":")]
        found[line] = {}
        for measure in MEASURES:
            values = [run[measure] for run in runs]
            known = [float(each) for each in values if each is not None]
            if known:
                found[line][measure] = fmean(known)
                found[line][f"{measure}_spread"] = pstdev(known)
    return found


def _stable(line: str, measure: str, spread: float) -> Claim:
    def holds(lines: Lines) -> bool:
        return (lines[line][f"{measure}_spread"] or 0.0) <= spread

    text = f"{line}: {measure.replace('_', ' ')} has a standard deviation of at most {spread:.1%}"
    return Claim(text=text, holds=holds)


REPRODUCTION = Reproduction(
    id="square-seeds",
    title="Square Attack: ten seeds",
    thesis="Andriushchenko 2024",
    source="Table 3.8",
    needs=("ImageNet validation images", "torchvision ResNet-50", "the MNIST network of Madry"),
    setting="ImageNet ResNet-50, linf 0.05 and l2 5; MNIST network of Madry et al., linf 0.3 and "
    "l2 2; 1,000 images, 10,000 queries (20,000 for linf on MNIST), 10 seeds",
    sizes=(
        Size(
            name="quick",
            subjects=(DIGITS,),
            threats=("linf:0.15", "l2:1", "linf:0.1", "l2:0.7"),
            fractions=(0.3, 0.3, 0.8, 0.1),
            images=10,
            queries=20,
            seeds=2,
            minutes=0.05,
            note="8x8 digits, an undefended network throughout, 10 images, 20 queries, 2 seeds",
        ),
        Size(
            name="scaled",
            subjects=(CIFAR, ROBUST_MNIST),
            threats=("linf:8/255", "l2:1", "linf:0.3", "l2:2"),
            fractions=(0.3, 0.1, 0.8, 0.1),
            images=100,
            queries=1000,
            seeds=SEEDS,
            minutes=4,
            note="CIFAR-10 (JPEG) and a small network for ImageNet, the fast-FGSM MNIST network "
            "for Madry's, 100 images, linf 8/255 and l2 1, 1,000 queries, 10 seeds",
        ),
    ),
    rows=rows,
    published=PUBLISHED,
    claims=(
        _stable("undefended linf", "failure_rate", 0.02),
        _stable("undefended l2", "failure_rate", 0.02),
        _stable("robust MNIST linf 0.3", "robust_accuracy", 0.02),
        _stable("robust MNIST l2 2", "robust_accuracy", 0.04),
    ),
    draw=seeds({line: [named(line, seed) for seed in range(SEEDS)] for line in LINES}, MEASURES),
    measures=tuple(each for m in MEASURES for each in (m, f"{m}_spread")),
    lines=over_seeds,
    remarks="Mean and standard deviation over the seeds, a single run each.",
)
