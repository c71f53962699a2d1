"""Gradient masking: the l2 robustness of a network that was trained for l_inf.

Source: Andriushchenko 2024, Table 3.5 (sec 3.6.2); Andriushchenko, Croce, Flammarion and Hein 2020,
arXiv:1912.00049, Table 5.
"""

from collections.abc import Sequence

from holdfast.attacks.attack import Attack
from holdfast.attacks.bandits import Bandits
from holdfast.attacks.pgd import PGD
from holdfast.attacks.signhunter import SignHunter
from holdfast.attacks.simba import SimBA
from holdfast.attacks.square import Square
from holdfast.reproduce.figures import bars
from holdfast.reproduce.records import Claim, Lines, Reproduction, Row, Size
from holdfast.reproduce.square_robust_mnist import accuracy
from holdfast.reproduce.subjects import DIGITS, ROBUST_MNIST

RADII = ("2.0", "2.5", "3.0")
ATTACKS = ("PGD_1", "PGD_10", "PGD_100", "SignHunter", "Bandits", "SimBA", "Square")
_FIGURES = {
    "2.0": (79.6, 67.4, 59.8, 95.9, 80.1, 87.6, 16.7),
    "2.5": (69.2, 51.3, 36.0, 94.9, 32.4, 75.8, 2.4),
    "3.0": (57.6, 29.8, 12.7, 93.8, 12.5, 58.1, 0.6),
}
PUBLISHED = {
    f"l2 {radius}: {attack}": {"robust_accuracy": round(value / 100, 4)}
    for radius, values in _FIGURES.items()
    for attack, value in zip(ATTACKS, values, strict=True)
}


def attacks(size: Size, side: int = 28) -> dict[str, Attack]:
    """All that are compared, with the settings of sec 3.9 where it gives them."""
    found: dict[str, Attack] = {
        f"PGD_{runs}": PGD(steps=40, restarts=min(runs, size.restarts)) for runs in (1, 10, 100)
    }
    return found | {
        "SignHunter": SignHunter(queries=size.queries),
        "Bandits": Bandits(queries=size.queries, exploration=0.01, tiles=side),
        "SimBA": SimBA(queries=size.queries, basis="pixel", order="random", step_size=0.5),
        "Square": Square(queries=size.queries, p_init=size.fractions[0]),
    }


def rows(size: Size) -> Sequence[Row]:
    """Every attack at every radius."""
    side = 8 if size.name == "quick" else 28
    return [
        Row(name=f"l2 {radius}: {name}", subject=size.subjects[0], threat=threat, attack=attack)
        for radius, threat in zip(RADII, size.threats, strict=True)
        for name, attack in attacks(size, side).items()
    ]


def _strongest_of_scores(lines: Lines) -> bool:
    others = ("SignHunter", "Bandits", "SimBA")
    return all(
        accuracy(lines, f"l2 {radius}: Square") <= accuracy(lines, f"l2 {radius}: {other}")
        for radius in RADII
        for other in others
    )


REPRODUCTION = Reproduction(
    id="square-l2-on-linf",
    title="l2 attacks on an MNIST network trained for linf: gradients are masked",
    thesis="Andriushchenko 2024",
    source="Table 3.5",
    needs=("the MNIST network of Madry et al.",),
    setting="MNIST network of Madry et al., l2 2, 2.5 and 3, p 0.1, 10,000 queries; PGD with 1, 10 "
    "and 100 restarts",
    sizes=(
        Size(
            name="quick",
            subjects=(DIGITS,),
            threats=("l2:0.6", "l2:0.8", "l2:1"),
            fractions=(0.1,),
            images=8,
            queries=18,
            restarts=2,
            minutes=0.05,
            note="8x8 digits, an undefended network, smaller radii, 8 images, 18 queries",
        ),
        Size(
            name="scaled",
            subjects=(ROBUST_MNIST,),
            threats=("l2:2", "l2:2.5", "l2:3"),
            fractions=(0.1,),
            images=100,
            queries=2000,
            restarts=20,
            minutes=4,
            note="the fast-FGSM MNIST network, 100 images, 2,000 queries; PGD of 40 steps, 20 "
            "restarts where 100 are published",
        ),
    ),
    rows=rows,
    published=PUBLISHED,
    claims=(
        Claim(
            text="Square breaks at least as many images as SignHunter, Bandits and SimBA",
            holds=_strongest_of_scores,
        ),
        Claim(
            text="Square, by scores alone, breaks more images than PGD with one run",
            holds=lambda lines: all(
                accuracy(lines, f"l2 {radius}: Square") < accuracy(lines, f"l2 {radius}: PGD_1")
                for radius in RADII
            ),
        ),
        Claim(
            text="PGD gains from restarts",
            holds=lambda lines: all(
                accuracy(lines, f"l2 {radius}: PGD_100") <= accuracy(lines, f"l2 {radius}: PGD_1")
                for radius in RADII
            ),
        ),
    ),
    draw=bars,
    measures=("robust_accuracy",),
)
