"""Bounding maps: which pixels of a '1' and a '7' a vanilla and a robust network depend on.

Source: Liu 2022, sec 3.2.2, Fig 3.5.
Departures: networks keep their ten outputs; regions by `certify.equal_shares`. Means of the maps
over images are compared by their likeness; the thesis shows pictures only.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from holdfast.certify.graphs.graph import capture
from holdfast.certify.regions.equal_shares import EqualShares
from holdfast.certify.regions.volumes import bounding_map, likeness, mean_radius, share_above
from holdfast.report.bounding_maps import maps_figure
from holdfast.reproduce.computations import (
    SEPARATOR,
    Bench,
    ComputedRow,
    columns_of,
    lines_by_network,
)
from holdfast.reproduce.orderings import above
from holdfast.reproduce.records import Finding, Reproduction, Size
from holdfast.reproduce.trainings import TrainedRow
from holdfast.threats.balls import Linf

if TYPE_CHECKING:
    from matplotlib.figure import Figure

VANILLA, ROBUST, CLASSES, SHOWN = "vanilla", "robust", (1, 7), 4
TRAINED, SCALE = 0.1, 2.0
MEASURES = ("mean_radius", "cosine", "tail_rate")
_PGD = {"kind": "pgd", "steps": 10, "restarts": 1, "step_size": "eps/4"}


def rows(size: Size) -> Sequence[TrainedRow | ComputedRow]:
    """Both trainings, and the regions of images of both classes."""
    found: list[TrainedRow | ComputedRow] = []
    for kind in (VANILLA, ROBUST):
        changes: dict[str, Any] = {
            "model": {"name": "mlp", "options": {"hidden": (100,) * 3}},
            "data.sample": {"classes": CLASSES},
            "threat": f"linf:{TRAINED / SCALE}",
            **size.changes,
        }
        if kind == ROBUST:
            changes["objective"] = {"kind": "pgd-at", "attack": _PGD}
        row = TrainedRow(name=kind, recipe=size.recipes[0], changes=changes, measured=())
        found += [
            row,
            ComputedRow(
                name=f"{kind}{SEPARATOR}maps",
                computes=f"regions of {size.images} test images by the {kind} network",
                compute=partial(_measured, row, 3 if size.name == "quick" else 60),
            ),
        ]
    return found


def _measured(row: TrainedRow, steps: int, bench: Bench) -> Mapping[str, Tensor]:
    """The figures, and pictures of the first images of both classes."""
    ((_, network),) = bench.networks(row)
    name = row.build(bench.seed, bench.place.store).data.name
    x, y = _of_classes(bench, name)
    graph = capture(network, x.shape[1:])
    region = EqualShares(steps=steps).region(graph, x, y, Linf(1.0, box=None))
    radii = SCALE * region.radii[region.certified]
    figures = {
        "mean_radius": float(mean_radius(radii).mean()),
        "cosine": likeness(radii).mean,
        "tail_rate": float(share_above(radii, TRAINED).mean()),
    }
    shown = [int(at) for each in CLASSES for at in (y == each).nonzero()[: SHOWN // 2, 0]]
    maps = bounding_map(region.radii.clamp_min(1e-6))[shown]
    return columns_of(**figures) | {"images": x[shown].cpu(), "maps": maps.cpu()}


def _of_classes(bench: Bench, name: str) -> tuple[Tensor, Tensor]:
    """As many test images of each class as half of the bench's images."""
    data = Bench(place=bench.place, images=10**9, seed=bench.seed, device=bench.device).data(name)
    half = max(2, bench.images // 2)
    places = torch.cat([(data.labels == each).nonzero()[:half, 0] for each in CLASSES])
    return data.inputs(places), data.labels[places]


def draw(finding: Finding, entry: Reproduction) -> "Figure":
    """A row for each image: the image, the vanilla map, the robust map."""
    columns = {kind: finding.columns[f"{kind}{SEPARATOR}maps"] for kind in (VANILLA, ROBUST)}
    images = columns[VANILLA]["images"].numpy()
    maps = {kind: each["maps"].numpy() for kind, each in columns.items()}
    return maps_figure(images, maps, (390, 26 + 110 * len(images)))


REPRODUCTION = Reproduction(
    id="nonuniform-maps",
    title="Bounding maps of 1 against 7",
    thesis="Liu 2022",
    source="Fig 3.5 (sec 3.2.2)",
    needs=("MNIST",),
    setting="MNIST, classes 1 and 7, three hidden layers of 100; robust: PGD training at linf 0.1 "
    "in [-1, 1]",
    sizes=(
        Size(
            name="quick",
            recipes=("digits-standard",),
            changes={"training.epochs": 2, "selection.choose": "last"},
            images=4,
            minutes=0.2,
            note="digits, two epochs, 4 images, 3 steps",
        ),
        Size(
            name="scaled",
            recipes=("mnist-standard",),
            changes={"training.epochs": 5, "selection.choose": "last"},
            images=10,
            minutes=10,
            note="5 epochs, 10 test images",
        ),
    ),
    rows=rows,
    published={},
    claims=(
        above("robust regions are larger", ROBUST, VANILLA, "mean_radius"),
        above("the robust network's radii have the heavier tail", ROBUST, VANILLA, "tail_rate"),
        above("the robust network's maps are more alike", ROBUST, VANILLA, "cosine"),
    ),
    draw=draw,
    measures=MEASURES,
    lines=lines_by_network,
    tolerance={},
    remarks="Light pixels have a small certified radius. Expected: the robust map is light at the "
    "upper stroke of the 7 and dark at the vertical stroke that both share. A blank "
    "map: not certified.",
)
