"""The Square Attack on networks with dilated convolutions.

Source: Andriushchenko 2024, Table 3.10 (sec 3.12.3); networks: Yu, Koltun and Funkhouser 2017,
arXiv:1705.09914. The published setting asks for a module `drn` with the factories `drn_a_50`,
`drn_c_42` and `drn_d_38`, and for their weights as safetensors files.
"""

from collections.abc import Sequence

from holdfast.attacks.square import Square
from holdfast.reproduce.figures import success_curves
from holdfast.reproduce.records import MEASURES, Claim, Reproduction, Row, Size
from holdfast.reproduce.subjects import CIFAR, DIGITS, DILATED, ImageNet

NAMES = ("drn_a_50", "drn_c_42", "drn_d_38")
PUBLISHED = {
    name: {"failure_rate": 0.0, "mean_queries": mean, "median_queries": median}
    for name, mean, median in zip(NAMES, (86, 57, 48), (12, 7, 6), strict=True)
}


def rows(size: Size) -> Sequence[Row]:
    """One for each network."""
    attack = Square(queries=size.queries, p_init=size.fractions[0])
    return [
        Row(name=each.name, subject=each, threat=size.threats[0], attack=attack)
        for each in size.subjects
    ]


REPRODUCTION = Reproduction(
    id="square-dilated",
    title="Square Attack on dilated convolutions",
    thesis="Andriushchenko 2024",
    source="Table 3.10",
    needs=("ImageNet validation images", "dilated residual networks A-50, C-42, D-38"),
    setting="ImageNet, DRN-A-50, C-42 and D-38, linf 0.05, p 0.05, 10,000 queries, 1,000 images "
    "(p, queries and images are those of the main table: the text gives none)",
    sizes=(
        Size(
            name="quick",
            subjects=(DIGITS,),
            threats=("linf:0.15",),
            fractions=(0.3,),
            images=10,
            queries=20,
            minutes=0.02,
            note="8x8 digits, an ordinary network, 10 images, 20 queries",
        ),
        Size(
            name="scaled",
            subjects=(CIFAR, DILATED),
            threats=("linf:8/255",),
            fractions=(0.3,),
            images=200,
            queries=1000,
            minutes=3,
            note="CIFAR-10 (JPEG), a small network without and one with dilated convolutions, "
            "linf 8/255, 200 images, 1,000 queries",
        ),
        Size(
            name="published",
            subjects=tuple(ImageNet(arch=each, library=f"drn:{each}") for each in NAMES),
            threats=("linf:0.05",),
            fractions=(0.05,),
            images=1000,
            queries=10_000,
            minutes=1000,
        ),
    ),
    rows=rows,
    published=PUBLISHED,
    claims=(
        Claim(
            text="dilation is no defence: at most twice the queries of the ordinary network",
            holds=lambda lines: (
                (lines[DILATED.name]["mean_spent"] or 0.0)
                <= 2 * (lines[CIFAR.name]["mean_spent"] or 0.0)
            ),
        ),
    ),
    draw=success_curves({"square": [CIFAR.name, DILATED.name, DIGITS.name, *NAMES]}),
    measures=(*MEASURES, "mean_spent"),
)
