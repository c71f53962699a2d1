"""Certified regions of images with one radius per pixel: volumes, likeness, histograms.

Source: Liu 2022, sec 3.2.2, Tables 3.2 and 3.3, Fig 3.4.
Departures: images lie in [0, 1]; radii are doubled, as they would be in [-1, 1]. The thesis's
    optimiser is `Alg. 3.3`; `equal shares` is ours. Adam with steps of 0.002 instead of SGD, which
    runs away here. Radii of features without influence end at the width of the range.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from torch import Tensor

from holdfast.certify.graphs.graph import capture
from holdfast.certify.regions.equal_shares import EqualShares
from holdfast.certify.regions.growing import Region
from holdfast.certify.regions.nonuniform import NonUniform
from holdfast.certify.regions.volumes import compare, likeness, share_above
from holdfast.reproduce.computations import (
    SEPARATOR,
    Bench,
    ComputedRow,
    columns_of,
    lines_by_network,
)
from holdfast.reproduce.figures import COLOURS, DASHES, blank
from holdfast.reproduce.orderings import figure
from holdfast.reproduce.records import Claim, Finding, Lines, Reproduction, Size
from holdfast.reproduce.trainings import CLEAN, TrainedRow
from holdfast.threats.balls import Linf

if TYPE_CHECKING:
    from matplotlib.figure import Figure

VANILLA, ROBUST = "vanilla", "robust"
SETS = {"mnist": "MNIST", "fashion-mnist": "Fashion-MNIST", "svhn": "SVHN"}
MEASURES = (
    CLEAN.measure,
    "uniform_radius",
    "nonuniform_radius",
    "ratio",
    "cosine",
    "least_cosine",
    "shares_radius",
    "shares_ratio",
    "tail_rate",
)
TRAINED, SCALE = 0.1, 2.0
_PGD = {"kind": "pgd", "steps": 10, "restarts": 1, "step_size": "eps/4"}
_PANEL = {
    "quick": (("digits", (20,)),),
    "scaled": (("mnist", (100,)),),
    "published": (
        ("mnist", (100,)),
        ("mnist", (300,)),
        ("mnist", (500,)),
        ("fashion-mnist", (1024,)),
        ("svhn", (1024,)),
    ),
}


def named(data: str, width: int, kind: str) -> str:
    """The line of a network."""
    return f"{SETS.get(data, data)}, {width}, {kind}"


def rows(size: Size) -> Sequence[TrainedRow | ComputedRow]:
    """Both trainings of each network, and their regions."""
    found: list[TrainedRow | ComputedRow] = []
    for data, (width,) in _PANEL[size.name]:
        for kind in (VANILLA, ROBUST):
            row = _training(size, data, width, kind)
            found += [row, _regions(size, row)]
    return found


def _training(size: Size, data: str, width: int, kind: str) -> TrainedRow:
    changes: dict[str, Any] = {
        "model": {"name": "mlp", "options": {"hidden": (width,) * 3}},
        "data.name": data,
        "threat": f"linf:{TRAINED / SCALE}",
        **size.changes,
    }
    if kind == ROBUST:
        changes["objective"] = {"kind": "pgd-at", "attack": _PGD}
    return TrainedRow(
        name=named(data, width, kind),
        recipe=size.recipes[0],
        changes=changes,
        measured=(CLEAN,),
    )


def _regions(size: Size, row: TrainedRow) -> ComputedRow:
    steps = {"quick": 4}.get(size.name, 400)
    return ComputedRow(
        name=f"{row.name}{SEPARATOR}regions",
        computes=f"regions of {size.images} test images by the networks of {row.name}",
        compute=partial(_measured, row, steps),
    )


def _measured(row: TrainedRow, steps: int, bench: Bench) -> Mapping[str, Tensor]:
    """The figures of one seed's network; radii of one image."""
    ((_, network),) = bench.networks(row)
    data = bench.data(row.build(bench.seed, bench.place.store).data.name)
    x, y = data.inputs(), data.labels
    graph = capture(network, x.shape[1:])
    threat = Linf(1.0, box=None)
    uniform = EqualShares(steps=0, elided=False).region(graph, x, y, threat)
    published = NonUniform(
        elided=False,
        optimizer="adam",
        step_size=0.002,
        steps=steps,
        growth_every=max(1, steps // 5),
    ).region(graph, x, y, threat, start=uniform.radii.clamp_min(1e-4))
    shares = EqualShares(elided=False, steps=min(steps, 60)).region(graph, x, y, threat)
    return columns_of(**_figures(uniform, published, shares)) | _one_image(shares)


def _figures(uniform: Region, published: Region, shares: Region) -> dict[str, float]:
    ours, theirs = compare(shares, uniform), compare(published, uniform)
    alike = likeness(shares.radii[shares.certified])
    tail = share_above(SCALE * shares.radii[shares.certified], TRAINED)
    return {
        "uniform_radius": SCALE * theirs.uniform,
        "nonuniform_radius": SCALE * theirs.nonuniform,
        "ratio": theirs.ratio,
        "shares_radius": SCALE * ours.nonuniform,
        "shares_ratio": ours.ratio,
        "cosine": alike.mean,
        "least_cosine": alike.least,
        "tail_rate": float(tail.mean()),
    }


def _one_image(region: Region) -> dict[str, Tensor]:
    """The radii of the first image that is certified, for the histogram."""
    first = int(region.certified.nonzero()[0, 0])
    return {"radii": SCALE * region.radii[first].flatten()}


def draw(finding: Finding, entry: Reproduction) -> "Figure":
    """Histograms of the radii in one image, vanilla against robust, a panel for each network."""
    networks = [named(data, width, "") for data, (width,) in _PANEL[finding.size.name]]
    picture, axes = blank(4.2 * len(networks) + 0.6, 3.3, len(networks))
    for each, network in zip(axes, networks, strict=True):
        found = {
            kind: finding.columns[f"{network}{kind}{SEPARATOR}regions"]["radii"]
            for kind in (VANILLA, ROBUST)
        }
        top = max(float(radii.max()) for radii in found.values())
        for at, (kind, radii) in enumerate(found.items()):
            each.hist(
                radii.numpy(),
                bins=60,
                range=(0, top),
                histtype="step",
                color=COLOURS[at],
                linestyle=DASHES[at],
                lw=1.8,
                label=kind,
            )
        each.axvline(TRAINED, color="#1c2630", lw=1, linestyle=(0, (4, 3)))
        each.set_yscale("log")
        each.set_title(network.rstrip(", "), fontsize=11, loc="left")
        each.set_xlabel("certified radius of a feature, in [-1, 1]", color="#55616d")
    axes[0].set_ylabel("features of one image", color="#55616d")
    axes[0].legend(frameon=False, fontsize=9)
    return picture


def _pairs(lines: Lines) -> list[tuple[str, str]]:
    """The networks that were trained in both ways."""
    vanilla = [name for name in lines if name.endswith(VANILLA)]
    return [(name, name.removesuffix(VANILLA) + ROBUST) for name in vanilla]


def _robust_larger(measure: str) -> Claim:
    def holds(lines: Lines) -> bool:
        return all(
            figure(lines, robust, measure) > figure(lines, vanilla, measure)
            for vanilla, robust in _pairs(lines)
        )

    return Claim(text=f"{measure.replace('_', ' ')}: robust above vanilla", holds=holds)


def _gain(lines: Lines) -> bool:
    return all(figure(lines, name, "ratio") > 1 for pair in _pairs(lines) for name in pair)


def _published() -> dict[str, dict[str, float | None]]:
    """Tables 3.2 and 3.3."""
    keys = (CLEAN.measure, "uniform_radius", "nonuniform_radius", "ratio", "cosine", "least_cosine")
    table = {
        ("mnist", 100, VANILLA): (0.992, 0.0295, 0.0349, 1.183, 0.9548, 0.2304),
        ("mnist", 100, ROBUST): (0.981, 0.0692, 0.1678, 2.425, 0.9957, 0.9155),
        ("mnist", 300, VANILLA): (0.980, 0.0309, 0.0350, 1.133, 0.9774, 0.5038),
        ("mnist", 300, ROBUST): (0.989, 0.0507, 0.1404, 2.769, 0.9964, 0.9104),
        ("mnist", 500, VANILLA): (0.985, 0.0319, 0.0360, 1.129, 0.9874, 0.6367),
        ("mnist", 500, ROBUST): (0.988, 0.0436, 0.1167, 2.677, 0.9941, 0.8920),
        ("fashion-mnist", 1024, VANILLA): (0.904, 0.0134, 0.0141, 1.052, 0.9805, 0.5652),
        ("fashion-mnist", 1024, ROBUST): (0.884, 0.0208, 0.0306, 1.468, 0.9752, 0.7166),
        ("svhn", 1024, VANILLA): (0.843, 0.0022, 0.0072, 3.273, 0.9836, 0.7129),
        ("svhn", 1024, ROBUST): (0.782, 0.0054, 0.0281, 5.204, 0.9952, 0.9339),
    }
    return {named(*key): dict(zip(keys, each, strict=True)) for key, each in table.items()}


REPRODUCTION = Reproduction(
    id="nonuniform-volumes",
    title="Certified regions with one radius per pixel",
    thesis="Liu 2022",
    source="Tables 3.2 and 3.3, Fig 3.4 (sec 3.2.2)",
    needs=("MNIST", "Fashion-MNIST", "SVHN"),
    setting="three hidden layers of 100 to 1024; inputs in [-1, 1]; robust: PGD training at linf "
    "0.1; regions by Alg. 3.3, averaged over the test set",
    sizes=(
        Size(
            name="quick",
            recipes=("digits-standard",),
            changes={"training.epochs": 2, "selection.choose": "last"},
            images=4,
            minutes=0.2,
            note="digits, 20 hidden units, two epochs, 4 images, 4 steps of Alg. 3.3",
        ),
        Size(
            name="scaled",
            recipes=("mnist-standard",),
            changes={"data.limit": 20_000, "training.epochs": 5, "selection.choose": "last"},
            images=20,
            minutes=15,
            note="MNIST with 100 units, 20,000 training images, 5 epochs, 20 test images",
        ),
        Size(
            name="published",
            recipes=("mnist-standard",),
            changes={
                "training.epochs": 100,
                "training.schedule": {"kind": "constant", "value": 1e-4},
            },
            images=200,
            minutes=3000,
        ),
    ),
    rows=rows,
    published=_published(),
    claims=(
        Claim(text="non-uniform regions are larger: every ratio is above 1", holds=_gain),
        _robust_larger("ratio"),
        _robust_larger("uniform_radius"),
        _robust_larger("nonuniform_radius"),
        _robust_larger("least_cosine"),
    ),
    draw=draw,
    measures=MEASURES,
    lines=lines_by_network,
    tolerance={"ratio": (0.0, 0.2), "cosine": (0.02, 0.0)},
    remarks="Cosines are those of equal shares. The tail is the share of pixels whose radius is "
    "above 0.1, the radius of the robust training. Two uniformly random vectors have a cosine of "
    "0.75. The test accuracies 99.2 % and 98.0 % of the first and third line look irregular.",
)
