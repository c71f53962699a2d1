"""What a network makes of a ball, from outside: the polygon that bounds hold two outputs in.

For a direction c the bound J(c) says that c . z >= J(c) for every output z that the threat allows,
a half-plane. Over many directions c(phi) = (cos phi, sin phi) they cut out a polygon that holds the
adversarial polytope and shows how loose the bound is.

Source: Wong 2020, sec 3.2.2, Figs 3.4 and 3.5; Eqs. 3.30 and 3.31 for the box.
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from holdfast.certify.bounds.linear import Linear
from holdfast.certify.graphs.graph import Graph, capture
from holdfast.certify.radii.radius import Bounding
from holdfast.core.errors import InputError, described
from holdfast.threats.base import Ball

Point = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Polygon:
    """An outer bound of two outputs of one input.

    Args:
        corners: (n, 2) float64, counterclockwise.
        directions: (D, 2) the normals of its half-planes.
        offsets: (D,) the bounds J: directions @ z >= offsets for every reachable z.
    """

    corners: Tensor
    directions: Tensor
    offsets: Tensor

    def contains(self, z: Tensor) -> Tensor:
        """Whether points (N, 2) satisfy every half-plane, (N,)."""
        values = z.to(self.directions) @ self.directions.T
        return (values >= self.offsets).all(dim=1)

    def area(self) -> float:
        """The area."""
        x, y = self.corners.unbind(1)
        return 0.5 * float((x * y.roll(-1) - y * x.roll(-1)).sum())

    def widths(self) -> tuple[float, float]:
        """How wide it is along both outputs."""
        wide, high = (self.corners.amax(dim=0) - self.corners.amin(dim=0)).tolist()
        return wide, high


def outer_polygon(
    method: Bounding,
    model: nn.Module | Graph,
    x: Tensor,
    threat: Ball,
    *,
    directions: int = 64,
    outputs: tuple[int, int] = (0, 1),
) -> Polygon:
    """The polygon that holds two outputs of one input over a threat.

    Args:
        method: gives a half-plane for each direction: `Dual` as published, or a tighter one. Linear
            bounds are taken in the `plain` schedule: the cheap one is content with intervals for
            rows that they prove positive, which says nothing of their size.
        x: (1, *E).
        directions: of the half-planes, equally spaced; their number is ours, none is published.
        outputs: which two.

    Guarantee: as `method`; the corners are rounded to float64, the half-planes are the bounds.
    Cost: one bound with as many rows as directions, and three times as many steps of clipping.

    Raises:
        InputError: not one input, fewer than three directions, or an output that does not exist.
    """
    graph = model if isinstance(model, Graph) else capture(model, x.shape[1:])
    graph.check_input(x)
    if len(x) != 1:
        raise InputError("x", described(f"{len(x)} inputs"), "is not one", "give (1, *E)")
    if directions < 3:
        raise InputError("directions", directions, "bounds no area", "give 3 or more")
    classes = graph.output_shape[0]
    if not all(0 <= each < classes for each in outputs) or outputs[0] == outputs[1]:
        raise InputError(
            "outputs", outputs, "are no two outputs", f"choose from 0 to {classes - 1}"
        )
    turns = torch.arange(directions, dtype=torch.float64, device=x.device) / directions
    angles = 2 * math.pi * turns
    normals = torch.stack([angles.cos(), angles.sin()], dim=1)
    spec = normals.new_zeros(directions, classes)
    spec[:, list(outputs)] = normals
    if isinstance(method, Linear):
        method = replace(method, schedule="plain")
    offsets = method.bound(graph, x, threat, spec).lower[0].double()
    corners = _clipped(normals.tolist(), offsets.tolist())
    return Polygon(torch.tensor(corners, dtype=torch.float64), normals.cpu(), offsets.cpu())


def _clipped(normals: list[list[float]], offsets: list[float]) -> list[Point]:
    """The corners that half-planes n . z >= c leave of a large square."""
    far = 4 * max(1.0, *(abs(each) for each in offsets))
    corners: list[Point] = [(-far, -far), (far, -far), (far, far), (-far, far)]
    for (a, b), offset in zip(normals, offsets, strict=True):
        values = [a * x + b * y - offset for x, y in corners]
        kept: list[Point] = []
        for at, (corner, value) in enumerate(zip(corners, values, strict=True)):
            before, last = corners[at - 1], values[at - 1]
            if (value >= 0) != (last >= 0):
                share = last / (last - value)
                kept.append(_between(before, corner, share))
            if value >= 0:
                kept.append(corner)
        corners = kept
    return corners


def _between(one: Point, other: Point, share: float) -> Point:
    return (one[0] + share * (other[0] - one[0]), one[1] + share * (other[1] - one[1]))
