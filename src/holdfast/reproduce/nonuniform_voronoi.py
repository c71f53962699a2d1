"""Certified boxes in the plane: one radius for both features against one for each.

Source: Liu 2022, sec 3.2.2, Fig 3.3; Liu, Tomioka and Cevher 2019.
Departures: margins are bounded, not logits; SGD takes steps of 0.003 with its gradient cut to 10.
    Keyed seeds, points and weights. Beside the augmented Lagrangian (Alg. 3.3) stands the
fixed point of `certify.equal_shares`. The boundary drawn is the network's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from holdfast.certify.graphs.graph import Graph, capture
from holdfast.certify.regions.equal_shares import EqualShares
from holdfast.certify.regions.growing import Region
from holdfast.certify.regions.nonuniform import NonUniform
from holdfast.certify.regions.volumes import mean_radius
from holdfast.report.plane import Plane, paint_plane
from holdfast.reproduce.computations import Bench, ComputedRow, columns_of
from holdfast.reproduce.figures import blank
from holdfast.reproduce.orderings import figure
from holdfast.reproduce.plane_nets import classes_on_grid, cross_entropy, fit, uniform_net
from holdfast.reproduce.records import Claim, Finding, Lines, Reproduction, Size
from holdfast.threats.balls import Linf
from holdfast.toys.plane import Voronoi

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LINE, WIDTHS, POINTS, SIDE = "Voronoi cells", (2, 10, 10, 10), 10_000, 120
EXTENT = (-1.0, 1.0, -1.0, 1.0)
STEPS = {"quick": 200, "scaled": 20_000, "published": 100_000}
MEASURES = (
    "test_accuracy",
    "uniform_radius",
    "nonuniform_radius",
    "shares_radius",
    "ratio",
    "shares_ratio",
    "larger_rate",
)
_METHODS: dict[str, EqualShares | NonUniform] = {
    "uniform": EqualShares(steps=0, bisections=20),
    "nonuniform": NonUniform(step_size=0.003, gradient_cap=10.0),
    "shares": EqualShares(steps=100),
}


def rows(size: Size) -> Sequence[ComputedRow]:
    """One network, with the regions of some test points."""
    return [
        ComputedRow(
            name=LINE,
            computes=f"a network of {STEPS[size.name]:,} steps; regions of {size.images} points",
            compute=partial(_measured, size.name),
        )
    ]


def _measured(size: str, bench: Bench) -> Mapping[str, Tensor]:
    world = Voronoi.draw(bench.seed)
    x, y = world.points(bench.seed, POINTS)
    test = slice(POINTS * 9 // 10, None)
    net = uniform_net(WIDTHS, bench.seed)
    published = size == "published"
    settings = {"rate": 1e-4 if published else 2e-3, "decay": 1e-4 if published else 0.0}
    train = slice(0, POINTS * 9 // 10)
    fit(
        net,
        cross_entropy(net),
        x[train],
        y[train],
        steps=STEPS[size],
        seed=bench.seed,
        batch=100,
        betas=(0.9, 0.99),
        **settings,
    )
    with torch.no_grad():
        right = net(x[test]).argmax(dim=1) == y[test]
    chosen = right.nonzero().squeeze(1)[: bench.images]
    points, labels = x[test][chosen], y[test][chosen]
    regions = _regions(capture(net, (2,)), points, labels, short=size == "quick")
    figures = _figures(regions) | {"test_accuracy": float(right.double().mean())}
    boxes = {f"boxes.{name}": each.radii for name, each in regions.items()}
    grid = {"regions": classes_on_grid(net, EXTENT, SIDE)}
    return columns_of(**figures) | grid | {"points": points, "labels": labels} | boxes


def _regions(graph: Graph, x: Tensor, y: Tensor, *, short: bool) -> dict[str, Region]:
    """The regions of each method; in a tenth of the steps if `short`."""
    methods = {
        name: replace(each, steps=each.steps // 10) if short else each
        for name, each in _METHODS.items()
    }
    threat = Linf(float("inf"), box=None)
    return {name: each.region(graph, x, y, threat) for name, each in methods.items()}


def _figures(regions: Mapping[str, Region]) -> dict[str, float]:
    """Mean sizes over the points certified in every way."""
    both = torch.stack([each.certified for each in regions.values()]).all(dim=0)
    sizes = {name: mean_radius(each.radii[both]).double() for name, each in regions.items()}
    found = {f"{name}_radius": float(each.mean()) for name, each in sizes.items()}
    return found | {
        "ratio": found["nonuniform_radius"] / found["uniform_radius"],
        "shares_ratio": found["shares_radius"] / found["uniform_radius"],
        "larger_rate": float((sizes["shares"] > sizes["uniform"]).double().mean()),
    }


def draw(finding: Finding, entry: Reproduction) -> "Figure":
    """The cells that the network learned, with the boxes of each kind."""
    picture, axes = blank(11.5, 5.6, 2)
    columns = finding.columns[LINE]
    regions, points, labels = (columns[key].numpy() for key in ("regions", "points", "labels"))
    for each, (name, title) in zip(axes, _TITLES.items(), strict=True):
        boxes = {key: columns[f"boxes.{key}"].numpy() for key in (name, "uniform")}
        paint_plane(each, Plane(regions, EXTENT, points, labels, boxes))
        each.set_title(f"{title} (solid), uniform (dashed)", fontsize=11, loc="left")
    return picture


_TITLES = {"nonuniform": "Alg. 3.3", "shares": "equal shares"}


def _larger(measure: str) -> Claim:
    text = {"ratio": "Alg. 3.3", "shares_ratio": "equal shares"}[measure]

    def holds(lines: Lines) -> bool:
        return figure(lines, LINE, measure) > 1

    return Claim(text=f"non-uniform regions are larger on average: {text}", holds=holds)


REPRODUCTION = Reproduction(
    id="nonuniform-voronoi",
    title="Certified boxes in the plane",
    thesis="Liu 2022",
    source="Fig 3.3 (sec 3.2.2)",
    needs=("nothing",),
    setting="10 seeds, 10,000 points of [-1, 1]^2, two hidden layers of 10, 100,000 steps of Adam; "
    "20 points",
    sizes=(
        Size(
            name="quick",
            images=5,
            minutes=0.3,
            note="200 steps, 5 points, a tenth of the steps of both methods",
        ),
        Size(name="scaled", images=20, minutes=2, note="20,000 steps of 0.002 instead of 100,000"),
        Size(name="published", images=20, minutes=4),
    ),
    rows=rows,
    published={LINE: {"test_accuracy": 0.999}},
    claims=(
        _larger("ratio"),
        _larger("shares_ratio"),
        Claim(
            text="no single region of equal shares is smaller than the uniform one",
            holds=lambda lines: figure(lines, LINE, "larger_rate") >= 0.95,
        ),
    ),
    draw=draw,
    measures=MEASURES,
    tolerance={"test_accuracy": (0.01, 0.0)},
    remarks="Radii are geometric means over both features, averaged over points certified in every "
    "way. The published accuracy is a lower end.",
)
