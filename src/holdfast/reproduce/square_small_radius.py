"""The Square Attack within an imperceptible radius.

Source: Andriushchenko 2024, Table 3.11 (sec 3.12.4).
"""

from collections.abc import Sequence

from holdfast.attacks.square import Square
from holdfast.reproduce.figures import success_curves
from holdfast.reproduce.records import MEASURES, Claim, Reproduction, Row, Size
from holdfast.reproduce.subjects import CIFAR, DIGITS, INCEPTION, RESNET50, VGG16

PUBLISHED = {
    "vgg16_bn": {"failure_rate": 0.005, "mean_queries": 424, "median_queries": 115},
    "resnet50": {"failure_rate": 0.003, "mean_queries": 652, "median_queries": 213},
    "inception_v3": {"failure_rate": 0.054, "mean_queries": 1013, "median_queries": 391},
}
LARGE = "at twice the radius"


def rows(size: Size) -> Sequence[Row]:
    """Every network at the radius; the scaled ones at twice the radius, too."""
    attack = Square(queries=size.queries, p_init=size.fractions[0])
    found = [
        Row(name=each.name, subject=each, threat=size.threats[0], attack=attack)
        for each in size.subjects
    ]
    if len(size.threats) > 1:
        large = {"subject": size.subjects[0], "threat": size.threats[1], "attack": attack}
        found.append(Row(name=LARGE, **large))  # type: ignore[arg-type]
    return found


REPRODUCTION = Reproduction(
    id="square-small-radius",
    title="Square Attack at an imperceptible radius",
    thesis="Andriushchenko 2024",
    source="Table 3.11",
    needs=("ImageNet validation images", "torchvision VGG-16-BN, ResNet-50, Inception v3"),
    setting="ImageNet, linf 4/255, p 0.05, 10,000 queries, 1,000 images (p, queries and images are "
    "those of the main table: the text gives none)",
    sizes=(
        Size(
            name="quick",
            subjects=(DIGITS,),
            threats=("linf:0.08", "linf:0.16"),
            fractions=(0.3,),
            images=10,
            queries=20,
            minutes=0.02,
            note="8x8 digits, linf 0.08, 10 images, 20 queries",
        ),
        Size(
            name="scaled",
            subjects=(CIFAR,),
            threats=("linf:4/255", "linf:8/255"),
            fractions=(0.3,),
            images=200,
            queries=2000,
            minutes=1.5,
            note="CIFAR-10 (JPEG), a small network, linf 4/255 and 8/255, 200 images, "
            "2,000 queries",
        ),
        Size(
            name="published",
            subjects=(VGG16, RESNET50, INCEPTION),
            threats=("linf:4/255",),
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
            text="twice the radius takes fewer queries and fails less",
            holds=lambda lines: all(
                (lines[LARGE][measure] or 0.0) < (lines[CIFAR.name][measure] or 0.0)
                for measure in ("failure_rate", "mean_spent")
            ),
        ),
    ),
    draw=success_curves(
        {"square": [CIFAR.name, DIGITS.name, LARGE, "vgg16_bn", "resnet50", "inception_v3"]}
    ),
    measures=(*MEASURES, "mean_spent"),
)
