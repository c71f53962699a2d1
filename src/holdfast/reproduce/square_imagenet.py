"""The Square Attack among attacks by scores: failures, queries, success over queries.

Source: Andriushchenko 2024, Tables 3.2 and 3.3, Figs 3.1, 3.4 and 3.6 (sec 3.6.1 and 3.12.2);
Andriushchenko, Croce, Flammarion and Hein 2020, arXiv:1912.00049, Tables 2 and 3.
Departures: BayesAttack, whose published curves are of 500 points, is left out; DFO needs the extra
blackbox. SimBA is projected onto the ball, where the published one counts what ends inside.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from holdfast.attacks.attack import Attack
from holdfast.attacks.bandits import Bandits
from holdfast.attacks.dfo import DFO
from holdfast.attacks.parsimonious import Parsimonious
from holdfast.attacks.signhunter import SignHunter
from holdfast.attacks.simba import SimBA
from holdfast.attacks.square import Square
from holdfast.measures.queries import Queries, on_common
from holdfast.reproduce.figures import success_curves
from holdfast.reproduce.records import MEASURES, Claim, Lines, Reproduction, Row, Size
from holdfast.reproduce.subjects import CIFAR, DIGITS, INCEPTION, RESNET50, VGG16

NETWORKS = (INCEPTION.name, RESNET50.name, VGG16.name)
COMMON = "common"
_NONE = (None, None, None)
_FAILURES: dict[str, tuple[float | None, ...]] = {
    "linf: Bandits": (3.4, 1.4, 2.0),
    "linf: Parsimonious": (1.5, None, None),
    "linf: DFO_c-CMA": (0.8, 0.0, 0.1),
    "linf: DFO_d-Diag. CMA": (2.3, 1.2, 0.5),
    "linf: SignHunter": (1.0, 0.1, 0.3),
    "linf: Square": (0.3, 0.0, 0.0),
    "l2: Bandits": (9.8, 6.8, 10.2),
    "l2: SimBA-DCT": (35.5, 12.7, 7.9),
    "l2: Square": (7.1, 0.7, 0.8),
}
_MEANS: dict[str, tuple[float | None, ...]] = {
    "linf: Bandits": (957, 727, 394),
    "linf: Parsimonious": (722, None, None),
    "linf: DFO_c-CMA": (630, 270, 219),
    "linf: DFO_d-Diag. CMA": (424, 417, 211),
    "linf: SignHunter": (471, 129, 95),
    "linf: Square": (197, 73, 31),
    "l2: Bandits": (1486, 939, 511),
    "l2: SimBA-DCT": (651, 582, 452),
    "l2: Square": (1100, 616, 377),
    "common l2: Bandits": (536, 635, 398),
    "common l2: SimBA-DCT": (647, 563, 421),
    "common l2: Square": (352, 287, 217),
}
_MEDIANS: dict[str, tuple[float | None, ...]] = {
    "linf: Bandits": (218, 136, 36),
    "linf: Parsimonious": (237, None, None),
    "linf: DFO_c-CMA": (259, 143, 107),
    "linf: DFO_d-Diag. CMA": (20, 20, 2),
    "linf: SignHunter": (95, 39, 43),
    "linf: Square": (24, 11, 1),
    "l2: Bandits": (660, 392, 196),
    "l2: SimBA-DCT": (564, 467, 360),
    "l2: Square": (385, 170, 109),
    "common l2: Bandits": (368, 314, 177),
    "common l2: SimBA-DCT": (552, 446, 332),
    "common l2: Square": (181, 116, 80),
}


def _published() -> dict[str, dict[str, float | None]]:
    """By `NETWORK, ATTACK`; shares instead of per cent."""
    found = {}
    for attack, means in _MEANS.items():
        for at, network in enumerate(NETWORKS):
            fail = _FAILURES.get(attack, _NONE)[at]
            figures = {
                "failure_rate": None if fail is None else round(fail / 100, 4),
                "mean_queries": means[at],
                "median_queries": _MEDIANS[attack][at],
            }
            found[f"{network}, {attack}"] = figures
    return found


def attacks(size: Size) -> dict[str, Attack]:
    """All that are compared, with the settings of sec 3.9 where it gives them."""
    n, (p_linf, p_l2) = size.queries, size.fractions
    return {
        "linf: Bandits": Bandits(queries=n),
        "linf: Parsimonious": Parsimonious(queries=n),
        "linf: DFO_c-CMA": DFO(queries=n, population=50),
        "linf: DFO_d-Diag. CMA": DFO(
            queries=n, values="discrete", covariance="diagonal", population=30
        ),
        "linf: SignHunter": SignHunter(queries=n),
        "linf: Square": Square(queries=n, p_init=p_linf),
        "l2: Bandits": Bandits(queries=n),
        "l2: SimBA-DCT": SimBA(queries=n, step_size=0.2 if size.name == "published" else "eps/10"),
        "l2: Square": Square(queries=n, p_init=p_l2),
    }


def rows(size: Size) -> Sequence[Row]:
    """Every attack on every network."""
    threats = dict(zip(("linf", "l2"), size.threats, strict=True))
    return [
        Row(
            name=f"{subject.name}, {name}",
            subject=subject,
            threat=threats[name.split(":")[0]],
            attack=attack,
        )
        for subject in size.subjects
        for name, attack in attacks(size).items()
    ]


def with_common_successes(outcomes: Mapping[str, Queries], columns: Any) -> Lines:
    """The statistics of each row, then those of the l2 attacks on the images that all break."""
    found: Lines = {name: each.statistics() for name, each in outcomes.items()}
    for network in dict.fromkeys(name.split(", ")[0] for name in outcomes):
        start = f"{network}, l2: "
        group = {name: each for name, each in outcomes.items() if name.startswith(start)}
        if group:
            for name, each in on_common(group).items():
                found[name.replace(", l2", f", {COMMON} l2")] = each.statistics()
    return found


def _first(norm: str) -> Claim:
    def holds(lines: Lines) -> bool:
        groups: dict[str, dict[str, float]] = {}
        for name, line in lines.items():
            network, attack = name.split(", ")
            if attack.startswith(f"{norm}: "):
                groups.setdefault(network, {})[attack] = line["mean_spent"] or 0.0
        return all(found[f"{norm}: Square"] == min(found.values()) for found in groups.values())

    return Claim(text=f"{norm}: Square spends the fewest queries, failures included", holds=holds)


REPRODUCTION = Reproduction(
    id="square-imagenet",
    title="Square Attack among attacks by scores",
    thesis="Andriushchenko 2024",
    source="Tables 3.2 and 3.3, Figs 3.1, 3.4 and 3.6",
    needs=(
        "ImageNet validation images",
        "torchvision Inception v3, ResNet-50, VGG-16-BN",
        "the extra blackbox (DFO)",
    ),
    setting="ImageNet, Inception v3, ResNet-50 and VGG-16-BN, 1,000 images, linf 0.05 (p 0.05), "
    "l2 5 (p 0.1), 10,000 queries",
    sizes=(
        Size(
            name="quick",
            subjects=(DIGITS,),
            threats=("linf:0.15", "l2:1"),
            fractions=(0.3, 0.1),
            images=10,
            queries=24,
            minutes=0.05,
            note="8x8 digits, 10 images, 24 queries",
        ),
        Size(
            name="scaled",
            subjects=(CIFAR,),
            threats=("linf:8/255", "l2:1"),
            fractions=(0.3, 0.1),
            images=100,
            queries=1000,
            minutes=4,
            note="CIFAR-10 (JPEG), a small network, 100 images, linf 8/255, l2 1, 1,000 queries",
        ),
        Size(
            name="published",
            subjects=(INCEPTION, RESNET50, VGG16),
            threats=("linf:0.05", "l2:5"),
            fractions=(0.05, 0.1),
            images=1000,
            queries=10_000,
            minutes=10_000,
        ),
    ),
    rows=rows,
    published=_published(),
    claims=(_first("linf"), _first("l2")),
    draw=success_curves(
        {
            f"{network}, {norm}": [
                f"{network}, {attack}" for attack in _FAILURES if attack.startswith(f"{norm}:")
            ]
            for network in (CIFAR.name, DIGITS.name, *NETWORKS)
            for norm in ("linf", "l2")
        }
    ),
    measures=(*MEASURES, "mean_spent"),
    lines=with_common_successes,
    remarks="Lines named 'common' are restricted to the images that all l2 attacks break "
    "(Table 3.3).",
)
