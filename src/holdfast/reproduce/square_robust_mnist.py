"""Restarts of the Square Attack on a robust network, against white-box attacks.

Source: Andriushchenko 2024, Table 3.4 (sec 3.6.2); Andriushchenko, Croce, Flammarion and Hein 2020,
arXiv:1912.00049, Table 4.
"""

from collections.abc import Sequence

from holdfast.attacks.attack import Attack
from holdfast.attacks.pgd import PGD
from holdfast.attacks.signhunter import SignHunter
from holdfast.attacks.square import Square
from holdfast.reproduce.figures import bars
from holdfast.reproduce.records import Claim, Lines, Reproduction, Row, Size
from holdfast.reproduce.subjects import DIGITS, ROBUST_MNIST

WHITE, ONE, MANY, HUNTER = "white box", "Square, 1 run", "Square, with restarts", "SignHunter"


def rows(size: Size) -> Sequence[Row]:
    """White box, Square once and with restarts, SignHunter."""
    (p,) = size.fractions
    attacks: dict[str, Attack] = {
        WHITE: PGD(steps=50, restarts=10),
        ONE: Square(queries=size.queries, p_init=p),
        MANY: Square(queries=size.queries, p_init=p, restarts=size.restarts),
        HUNTER: SignHunter(queries=size.queries),
    }
    (subject,), (threat,) = size.subjects, size.threats
    return [
        Row(name=name, subject=subject, threat=threat, attack=attack)
        for name, attack in attacks.items()
    ]


def accuracy(lines: Lines, name: str) -> float:
    """The robust accuracy of a line."""
    value = lines[name]["robust_accuracy"]
    if value is None:
        raise KeyError(name)
    return value


REPRODUCTION = Reproduction(
    id="square-robust-mnist",
    title="Square Attack on a robust MNIST network",
    thesis="Andriushchenko 2024",
    source="Table 3.4, the network of Madry et al.",
    needs=("the MNIST network of Madry et al.",),
    setting="MNIST network of Madry et al., linf 0.3, p 0.8, all 10,000 images, 20,000 queries x "
    "50 restarts; white box: the best known (88.13 %)",
    sizes=(
        Size(
            name="quick",
            subjects=(DIGITS,),
            threats=("linf:0.1",),
            fractions=(0.8,),
            images=12,
            queries=20,
            restarts=2,
            minutes=0.02,
            note="8x8 digits, an undefended network, 12 images, 20 queries x 2 restarts",
        ),
        Size(
            name="scaled",
            subjects=(ROBUST_MNIST,),
            threats=("linf:0.3",),
            fractions=(0.8,),
            images=200,
            queries=1000,
            restarts=5,
            minutes=2,
            note="the fast-FGSM MNIST network, 200 images, 1,000 queries x 5 restarts; white box: "
            "PGD, 50 steps x 10 restarts",
        ),
    ),
    rows=rows,
    published={
        WHITE: {"robust_accuracy": 0.8813},
        MANY: {"robust_accuracy": 0.8825},
        HUNTER: {"robust_accuracy": 0.9147},
    },
    claims=(
        Claim(
            text="restarts do not raise robust accuracy",
            holds=lambda lines: accuracy(lines, MANY) <= accuracy(lines, ONE),
        ),
        Claim(
            text="Square finds at least as many errors as SignHunter",
            holds=lambda lines: accuracy(lines, MANY) <= accuracy(lines, HUNTER),
        ),
        Claim(
            text="Square with restarts is within 3 points of the white box, or below",
            holds=lambda lines: accuracy(lines, MANY) <= accuracy(lines, WHITE) + 0.03,
        ),
    ),
    draw=bars,
    measures=("robust_accuracy", "mean_queries", "median_queries"),
    remarks="TRADES, the table's other network, is not at hand. Queries of the white box count "
    "forward passes and say nothing here.",
)
