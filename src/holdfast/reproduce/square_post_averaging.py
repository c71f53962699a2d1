"""Post-averaging: a defence that draws, and that deceives PGD.

Source: Andriushchenko 2024, Table 3.12 (sec 3.12.6); defence: Lin et al. 2019, arXiv:1905.12797.
Departures: an attack keeps its best draw, as the released code does; whether its points fool fresh
draws too is reported beside it.
"""

from collections.abc import Mapping, Sequence

from torch import Tensor

from holdfast.attacks.attack import Attack
from holdfast.attacks.pgd import PGD
from holdfast.attacks.square import Square
from holdfast.measures.queries import Queries
from holdfast.reproduce.figures import bars
from holdfast.reproduce.records import Claim, Lines, Reproduction, Row, Size
from holdfast.reproduce.square_robust_mnist import accuracy
from holdfast.reproduce.subjects import CIFAR, DIGITS, Averaged

_RADIUS = 6 * 0.2471  # of normalised units, at CIFAR-10's standard deviation


def rows(size: Size) -> Sequence[Row]:
    """PGD and Square."""
    attacks: dict[str, Attack] = {
        "PGD": PGD(steps=20, restarts=size.restarts),
        "Square": Square(queries=size.queries, p_init=size.fractions[0]),
    }
    (subject,), (threat,) = size.subjects, size.threats
    return [
        Row(name=name, subject=subject, threat=threat, attack=attack, again=True)
        for name, attack in attacks.items()
    ]


def with_fresh_draws(
    outcomes: Mapping[str, Queries], columns: Mapping[str, Mapping[str, Tensor]]
) -> Lines:
    """The statistics of each row, its accuracy on fresh draws, and clean accuracy."""
    found: Lines = {}
    for name, each in outcomes.items():
        found[name] = dict(each.statistics())
        found[name]["fresh_accuracy"] = float((~columns[name]["again"]).double().mean())
        found["clean"] = {"robust_accuracy": float(each.correct.double().mean())}
    return found


REPRODUCTION = Reproduction(
    id="square-post-averaging",
    title="Square Attack on post-averaging",
    thesis="Andriushchenko 2024",
    source="Table 3.12, CIFAR-10",
    needs=("ResNet-110 for CIFAR-10 behind post-averaging",),
    setting="ResNet-110, CIFAR-10, K = 15, R = 6, linf 8/255, p 0.3, 20,000 queries, 1,000 images",
    sizes=(
        Size(
            name="quick",
            subjects=(Averaged(inner=DIGITS, directions=2, radius=0.5, radii=2),),
            threats=("linf:0.1",),
            fractions=(0.3,),
            images=6,
            queries=10,
            minutes=0.02,
            note="8x8 digits, K = 2, 6 images, 10 queries",
        ),
        Size(
            name="scaled",
            subjects=(Averaged(inner=CIFAR, directions=5, radius=_RADIUS, radii=3),),
            threats=("linf:8/255",),
            fractions=(0.3,),
            images=50,
            queries=300,
            minutes=2,
            note="CIFAR-10 (JPEG), a small network, K = 5, R = 1.48 in input units (about 6 in "
            "normalised ones), 50 images, 300 queries",
        ),
    ),
    rows=rows,
    published={
        "clean": {"robust_accuracy": 0.926},
        "PGD": {"robust_accuracy": 0.884},
        "Square": {"robust_accuracy": 0.158},
    },
    claims=(
        Claim(
            text="Square breaks more images than PGD",
            holds=lambda lines: accuracy(lines, "Square") < accuracy(lines, "PGD"),
        ),
        Claim(
            text="PGD breaks some",
            holds=lambda lines: accuracy(lines, "PGD") < accuracy(lines, "clean"),
        ),
    ),
    draw=bars,
    measures=("robust_accuracy", "fresh_accuracy"),
    lines=with_fresh_draws,
    remarks="On a network that draws, a success may be luck of one draw: the accuracy on fresh "
    "draws is that at the points found, asked once more.",
)
