"""Which parts of the Square Attack matter: shape, signs and start of its updates.

Source: Andriushchenko 2024, Tables 3.1 and 3.7 (sec 3.5.3 and 3.10); Andriushchenko, Croce,
Flammarion and Hein 2020, arXiv:1912.00049, Tables 1 and 7.
Departures: the number of the random squares is not given; ten here (`Update.stripes`).
"""

from collections.abc import Sequence
from itertools import pairwise

from holdfast.attacks.square import Square
from holdfast.attacks.square_update import Update
from holdfast.reproduce.figures import bars
from holdfast.reproduce.records import MEASURES, Claim, Lines, Reproduction, Row, Size
from holdfast.reproduce.subjects import CIFAR, DIGITS, RESNET50

LINF = {
    "linf: random, c*h^2 signs, vertical": Update(shape="random", signs="pixel"),
    "linf: random, c*h^2 signs, uniform": Update(shape="random", signs="pixel", stripes="uniform"),
    "linf: random, c signs, vertical": Update(shape="random"),
    "linf: square, c*h^2 signs, vertical": Update(signs="pixel"),
    "linf: square, 1 sign, vertical": Update(signs="single"),
    "linf: rectangle, c signs, vertical": Update(shape="rectangle"),
    "linf: square, c signs, uniform": Update(stripes="uniform"),
    "linf: square, c signs, squares": Update(stripes="squares"),
    "linf: square, c signs, horizontal": Update(stripes="horizontal"),
    "linf: square, c signs, vertical": Update(),
}
L2 = {
    "l2: random signs, grid": Update(bump="random"),
    "l2: one bump, grid": Update(bump="single"),
    "l2: two bumps, gaussian": Update(spread="gaussian"),
    "l2: two bumps, uniform": Update(spread="uniform"),
    "l2: two bumps, vertical": Update(spread="vertical"),
    "l2: two bumps, grid": Update(),
}
_FIGURES = (
    *((0, 401, 48), (0, 393, 132), (0, 339, 53), (0, 153, 15), (0, 129, 18), (0, 93, 16)),
    *((0, 91, 26), (0, 90, 20), (0, 83, 18), (0, 73, 11)),
    *((0.033, 1050, 324), (0.007, 650, 171), (0.004, 696, 189), (0.008, 660, 187)),
    *((0.008, 655, 186), (0.007, 616, 170)),
)
PUBLISHED = {
    name: {"failure_rate": fail, "mean_queries": mean, "median_queries": median}
    for name, (fail, mean, median) in zip((*LINF, *L2), _FIGURES, strict=True)
}


def rows(size: Size) -> Sequence[Row]:
    """One for each variant, the l_inf ones first."""
    found = []
    for threat, p_init, variants in zip(size.threats, size.fractions, (LINF, L2), strict=True):
        for name, update in variants.items():
            attack = Square(queries=size.queries, p_init=p_init, update=update)
            found.append(Row(name=name, subject=size.subjects[0], threat=threat, attack=attack))
    return found


def _ordered(*names: str, slack: float = 0.0) -> Claim:
    """That mean queries, failures included, do not fall in this order by more than the slack."""

    def holds(lines: Lines) -> bool:
        costs = [lines[name]["mean_spent"] or 0.0 for name in names]
        return all(a <= (1 + slack) * b for a, b in pairwise(costs))

    text = " <= ".join(name.split(": ")[1] for name in names)
    within = f" (to {slack:.0%})" if slack else ""
    return Claim(text=f"{names[0].split(':')[0]}, queries spent: {text}{within}", holds=holds)


REPRODUCTION = Reproduction(
    id="square-ablation",
    title="Square Attack: what shape, signs and start of the updates are worth",
    thesis="Andriushchenko 2024",
    source="Tables 3.1 and 3.7",
    needs=("ImageNet validation images", "torchvision ResNet-50"),
    setting="ImageNet, ResNet-50, 1,000 images, linf 0.05 (p 0.05), l2 5 (p 0.1), 10,000 queries",
    sizes=(
        Size(
            name="quick",
            subjects=(DIGITS,),
            threats=("linf:0.15", "l2:1"),
            fractions=(0.3, 0.3),
            images=12,
            queries=40,
            minutes=0.05,
            note="8x8 digits, 12 images, 40 queries",
        ),
        Size(
            name="scaled",
            subjects=(CIFAR,),
            threats=("linf:8/255", "l2:1"),
            fractions=(0.3, 0.1),
            images=200,
            queries=1000,
            minutes=4,
            note="CIFAR-10 (JPEG), a small network, 200 images, linf 8/255 (p 0.3), l2 1 "
            "(p 0.1), 1,000 queries",
        ),
        Size(
            name="published",
            subjects=(RESNET50,),
            threats=("linf:0.05", "l2:5"),
            fractions=(0.05, 0.1),
            images=1000,
            queries=10_000,
            minutes=2000,
        ),
    ),
    rows=rows,
    published=PUBLISHED,
    claims=(
        _ordered("linf: square, c signs, vertical", "linf: square, c*h^2 signs, vertical"),
        _ordered("linf: square, c signs, vertical", "linf: random, c*h^2 signs, vertical"),
        _ordered("linf: square, c*h^2 signs, vertical", "linf: random, c*h^2 signs, vertical"),
        _ordered(
            "linf: square, c signs, vertical", "linf: rectangle, c signs, vertical", slack=0.05
        ),
        _ordered("linf: square, c signs, vertical", "linf: square, c signs, uniform", slack=0.05),
        _ordered("linf: square, c signs, vertical", "linf: square, 1 sign, vertical", slack=0.05),
        _ordered("l2: two bumps, grid", "l2: random signs, grid"),
        _ordered("l2: two bumps, grid", "l2: one bump, grid", slack=0.05),
    ),
    draw=bars,
    measures=(*MEASURES, "mean_spent"),
    remarks="Variants are ordered by the queries spent on all images, failures included: means "
    "over successes flatter a variant that fails on the hard ones.",
)
