"""Clean logit pairing and logit squeezing: defences that hide errors from weak attacks.

Source: Andriushchenko 2024, Table 3.6 (sec 3.6.2); Andriushchenko, Croce, Flammarion and Hein 2020,
arXiv:1912.00049, Table 6; defences: Kannan et al. 2018, arXiv:1803.06373.
"""

from collections.abc import Sequence

from holdfast.attacks.attack import Attack
from holdfast.attacks.bandits import Bandits
from holdfast.attacks.pgd import PGD
from holdfast.attacks.signhunter import SignHunter
from holdfast.attacks.square import Square
from holdfast.reproduce.figures import bars
from holdfast.reproduce.records import Claim, Lines, Reproduction, Row, Size
from holdfast.reproduce.square_robust_mnist import accuracy
from holdfast.reproduce.subjects import Trained

DEFENCES = ("CLP", "LSQ")
ATTACKS = ("PGD_1", "PGD_R", "Bandits", "SignHunter", "Square")
_FIGURES = {"CLP": (62.4, 4.1, 33.3, 62.1, 6.1), "LSQ": (70.6, 5.0, 37.3, 65.7, 2.6)}
PUBLISHED = {
    f"{defence}: {attack}": {"robust_accuracy": round(value / 100, 4)}
    for defence, values in _FIGURES.items()
    for attack, value in zip(ATTACKS, values, strict=True)
}
_SHORT = ("training.epochs=2", "selection.every=2")


def rows(size: Size) -> Sequence[Row]:
    """Every attack on both defences."""
    attacks: dict[str, Attack] = {
        "PGD_1": PGD(steps=40, restarts=1),
        "PGD_R": PGD(steps=40, restarts=size.restarts),
        "Bandits": Bandits(queries=size.queries, exploration=0.1, tiles=8),
        "SignHunter": SignHunter(queries=size.queries),
        "Square": Square(queries=size.queries, p_init=size.fractions[0]),
    }
    return [
        Row(name=f"{defence}: {name}", subject=subject, threat=size.threats[0], attack=attack)
        for defence, subject in zip(DEFENCES, size.subjects, strict=True)
        for name, attack in attacks.items()
    ]


def _below(attack: str, other: str, gap: float = 0.0) -> Claim:
    def holds(lines: Lines) -> bool:
        return all(
            accuracy(lines, f"{each}: {attack}") <= accuracy(lines, f"{each}: {other}") - gap
            for each in DEFENCES
        )

    points = f" by {100 * gap:g} points" if gap else ""
    return Claim(text=f"{attack} leaves no more images standing than {other}{points}", holds=holds)


REPRODUCTION = Reproduction(
    id="square-logit-pairing",
    title="Attacks on clean logit pairing and logit squeezing",
    thesis="Andriushchenko 2024",
    source="Table 3.6, the MNIST networks",
    needs=("the MNIST networks of Mosbach et al.",),
    setting="MNIST networks, linf 0.3, p 0.3, 20,000 queries; PGD_R with 10,000 restarts",
    sizes=(
        Size(
            name="quick",
            subjects=(
                Trained(recipe="digits-clp", overrides=_SHORT, label="digits-clp-quick"),
                Trained(recipe="digits-lsq", overrides=_SHORT, label="digits-lsq-quick"),
            ),
            threats=("linf:0.2",),
            fractions=(0.3,),
            images=10,
            queries=18,
            restarts=2,
            minutes=0.05,
            note="8x8 digits, networks trained for 2 epochs, linf 0.2, 10 images, 18 queries",
        ),
        Size(
            name="scaled",
            subjects=(Trained(recipe="digits-clp"), Trained(recipe="digits-lsq")),
            threats=("linf:0.2",),
            fractions=(0.3,),
            images=200,
            queries=1000,
            restarts=50,
            minutes=3,
            note="8x8 digits, networks trained on the spot, linf 0.2, 200 images, 1,000 queries, "
            "PGD of 40 steps with 50 restarts",
        ),
    ),
    rows=rows,
    published=PUBLISHED,
    claims=(
        _below("PGD_R", "PGD_1", 0.05),
        _below("Square", "SignHunter"),
        _below("Square", "Bandits"),
        _below("Square", "PGD_1", 0.05),
    ),
    draw=bars,
    measures=("robust_accuracy",),
    remarks="The CIFAR-10 half of the table (16/255) is not repeated.",
)
