"""How tight the dual bound is on random networks: the outputs that a square can reach, and the
polygons around them.

Source: Wong 2020, sec 3.2.2 and 3.2.3, Figs 3.4 and 3.5, Eqs. 3.30 and 3.31.
Departures: keyed networks; 64 directions, their number is not published.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from holdfast.certify.bounds.interval import Interval
from holdfast.certify.bounds.linear import CROWN, Dual
from holdfast.certify.graphs.graph import Graph, capture
from holdfast.certify.radii.radius import Bounding
from holdfast.certify.studies.polytope import outer_polygon
from holdfast.core.random import Keys
from holdfast.report.polytopes import Polytope, paint_polytope
from holdfast.reproduce.computations import Bench, ComputedRow, columns_of
from holdfast.reproduce.figures import blank
from holdfast.reproduce.orderings import figure
from holdfast.reproduce.plane_nets import gaussian_net, square_around
from holdfast.reproduce.records import Claim, Finding, Lines, Reproduction, Size
from holdfast.threats.balls import Linf

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RADII, WIDTHS, SIDE = (0.05, 0.1, 0.25), (2, 100, 100, 100, 2), 81
METHODS: dict[str, Bounding] = {
    "dual": Dual(schedule="plain"),
    "crown": CROWN(schedule="plain"),
    "interval": Interval(),
}
MEASURES = tuple(f"{name}_over_true" for name in METHODS)


def named(eps: float) -> str:
    """The line of a radius."""
    return f"eps = {eps}"


def rows(size: Size) -> Sequence[ComputedRow]:
    """One row for each radius."""
    return [
        ComputedRow(
            name=named(eps),
            computes=f"widths of the outputs of {size.images} random networks",
            compute=partial(_measured, eps),
        )
        for eps in RADII
    ]


def _measured(eps: float, bench: Bench) -> Mapping[str, Tensor]:
    """Widths of bounds over the true ones, over networks, and the polygons of the first."""
    threat = Linf(eps, box=None)
    ratios: dict[str, list[float]] = {name: [] for name in METHODS}
    columns: dict[str, Tensor] = {}
    for seed in range(bench.seed, bench.seed + bench.images):
        net = gaussian_net(WIDTHS, seed).double()
        x = Keys.of(seed, [0]).fold("centre").uniform((2,)).double()
        with torch.no_grad():
            reached = net(square_around(x, eps, SIDE)[0])
        graph, true = capture(net, (2,)), (reached.amax(0) - reached.amin(0))
        for name, method in METHODS.items():
            ratios[name].append(float((_widths(method, graph, x, threat) / true).mean()))
        if not columns:
            columns = {"reached": reached[::3].contiguous(), **_polygons(graph, x, threat)}
    middle = {f"{name}_over_true": sorted(each)[len(each) // 2] for name, each in ratios.items()}
    return columns_of(**middle) | columns


def _widths(method: Bounding, graph: Graph, x: Tensor, threat: Linf) -> Tensor:
    """How wide both outputs may be by a bound, (2,)."""
    rows = torch.cat([torch.eye(2), -torch.eye(2)]).to(x)
    lower = method.bound(graph, x, threat, rows).lower[0]
    return -lower[2:] - lower[:2]


def _polygons(graph: Graph, x: Tensor, threat: Linf) -> dict[str, Tensor]:
    chosen = {name: method for name, method in METHODS.items() if name != "interval"}
    return {
        f"corners.{name}": outer_polygon(method, graph, x, threat).corners
        for name, method in chosen.items()
    }


def draw(finding: Finding, entry: Reproduction) -> "Figure":
    """One panel for each radius: the first network's outputs within its polygons."""
    picture, axes = blank(10.5, 3.5, len(RADII))
    for each, eps in zip(axes, RADII, strict=True):
        columns = finding.columns.get(named(eps))
        if columns is None:
            continue
        bounds = {
            key.partition(".")[2]: value.numpy()
            for key, value in sorted(columns.items(), reverse=True)
            if key.startswith("corners.")
        }
        paint_polytope(each, Polytope(columns["reached"].numpy(), bounds))
        each.set_title(named(eps), fontsize=11, loc="left")
    axes[0].legend(frameon=False, fontsize=9)
    return picture


def _looser(lines: Lines) -> bool:
    """The bound is nearly exact at the smallest radius, and looser at the largest."""
    small, large = (figure(lines, named(eps), "dual_over_true") for eps in (RADII[0], RADII[-1]))
    return small < 1.5 and large > 1.25 * small


def _naive(lines: Lines) -> bool:
    return all(
        figure(lines, named(eps), "interval_over_true")
        > 10 * figure(lines, named(eps), "dual_over_true")
        for eps in RADII
    )


REPRODUCTION = Reproduction(
    id="provable-polytopes",
    title="Outer bounds of the adversarial polytope",
    thesis="Wong 2020",
    source="Fig 3.4, Eqs. 3.30 and 3.31 (sec 3.2.2 and 3.2.3)",
    needs=("nothing",),
    setting="random networks 2-100-100-100-2, several for each of linf 0.05, 0.1, 0.25; numbers "
    "for one of them",
    sizes=(
        Size(name="quick", images=1, minutes=0.1, note="one network for each radius"),
        Size(name="scaled", images=30, minutes=0.5, note="30 keyed networks for each radius"),
    ),
    rows=rows,
    published={named(0.05): {"interval_over_true": 662.4}},
    claims=(
        Claim(text="nearly exact at linf 0.05, much looser at 0.25", holds=_looser),
        Claim(text="intervals are more than ten times as wide", holds=_naive),
    ),
    draw=draw,
    measures=MEASURES,
    tolerance={},
    remarks="Medians over networks of the mean ratio of both outputs' widths. The published number "
    "is that of one network, whose outputs lie in [1.81, 1.85] x [-1.33, -1.29] and whose interval "
    "is [-11.68, 13.47] x [-16.36, 11.48].",
)
