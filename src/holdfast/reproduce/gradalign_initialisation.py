"""Networks are aligned when training starts: Lemma 2, its bounds, and random networks.

The cosine of the input gradients of a random ReLU network on patches at x and at x + eta is near 1
for small radii, whatever the weights' scale.

Source: Andriushchenko 2024, sec 2.5 and 2.8.2, Lemma 2, Fig 2.9.
Departures: expectations are sampled.
"""

from collections.abc import Mapping, Sequence
from functools import partial

from torch import Tensor

from holdfast.core.random import Keys
from holdfast.reproduce.computations import Bench, ComputedRow, columns_of
from holdfast.reproduce.figures import sweep
from holdfast.reproduce.orderings import figure
from holdfast.reproduce.records import Claim, Lines, Reproduction, Size
from holdfast.toys.relu_alignment import InitialAlignment, PatchNet

RADII = (2.0, 5.0, 8.0, 10.0, 16.0, 25.5)
"""In 255ths; the last one is 0.1."""
PATCHES, FILTERS, PATCH = 100, 4, 27
ORDER = ("limit", "hoeffding", "lemma")


def named(radius: float) -> str:
    """The line of a radius in 255ths."""
    return f"{radius:g}/255"


def rows(size: Size) -> Sequence[ComputedRow]:
    """One for each radius."""
    return [
        ComputedRow(
            name=named(radius),
            computes=f"Lemma 2 from {20 * size.images} samples, {size.images} random networks",
            compute=partial(_alignment, radius / 255),
        )
        for radius in RADII
    ]


def _alignment(radius: float, bench: Bench) -> Mapping[str, Tensor]:
    """The limit and its bounds, and the mean cosine of networks of four filters."""
    found = InitialAlignment(patch=PATCH, samples=20 * bench.images, seed=bench.seed).at(radius)
    keys = Keys.of(bench.seed, range(8))
    x = keys.fold("input").uniform((PATCHES * PATCH,)).double()
    noise = radius * (2 * keys.fold("noise").uniform((PATCHES * PATCH,)).double() - 1)
    nets = [
        PatchNet.make(seed, filters=FILTERS, patches=PATCHES, patch=PATCH)
        for seed in range(bench.seed, bench.seed + max(1, bench.images // 8))
    ]
    cosine = sum(float(net.alignment(x, noise).mean()) for net in nets) / len(nets)
    return columns_of(
        network=cosine, limit=found.limit, hoeffding=found.hoeffding, lemma=found.lemma
    )


def _ordered(lines: Lines) -> bool:
    for radius in RADII:
        limit, hoeffding, lemma = (figure(lines, named(radius), each) for each in ORDER)
        if not limit >= hoeffding >= lemma >= 0.5:
            return False
    return True


def _aligned(lines: Lines) -> bool:
    return all(figure(lines, named(radius), "network") > 0.9 for radius in RADII)


REPRODUCTION = Reproduction(
    id="gradalign-initialisation",
    title="Input gradients are aligned at initialisation",
    thesis="Andriushchenko 2024",
    source="Lemma 2, Fig 2.9 (sec 2.5, 2.8.2)",
    needs=("nothing",),
    setting="100 patches of 27 features, 4 filters, radii up to 0.1, 1,000 samples",
    sizes=(
        Size(name="quick", images=100, minutes=0.05, note="2,000 samples, 12 networks"),
        Size(name="scaled", images=400, minutes=0.1, note="8,000 samples, 50 networks"),
        Size(name="published", images=1000, minutes=0.3),
    ),
    rows=rows,
    published={},
    claims=(
        Claim(text="the limit is above its bounds, and they above 1/2", holds=_ordered),
        Claim(text="networks of four filters are aligned up to the radius 0.1", holds=_aligned),
    ),
    draw=sweep(
        {"27 features, 4 filters": {radius: named(radius) for radius in RADII}}, "radius (255ths)"
    ),
    measures=("network", *ORDER),
    tolerance={},
    remarks=(
        "Published as a figure, without numbers. The text has all curves above 0.7 up to 0.1; the "
        "lemma's bound is 0.51 there, and above 0.7 up to about 9/255 only."
    ),
)
