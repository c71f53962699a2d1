"""What is said of certified regions with one radius per feature: sizes, likeness, maps.

    eps_avg = (prod_i eps_i)^(1/M)                              the geometric mean radius
    volume  = (2 Gamma(1 + 1/p))^M / Gamma(1 + M/p) prod_i eps_i

so that of two regions in the same norm the larger eps_avg has the larger volume. The cosine of two
vectors of radii says how alike the decision boundaries look from two inputs: uniformly random
radii have about 0.75, one linear model has 1 for every pair.

Source: Liu 2022, sec 3.2.2, Tables 3.2 and 3.3, Figs 3.4 and 3.5.
Departure: the means of `compare` are over the inputs certified in both ways.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from holdfast.certify.regions.growing import Region
from holdfast.core.errors import InputError, described


@dataclass(frozen=True, eq=False)
class Comparison:
    """Non-uniform against uniform regions.

    Args:
        uniform: mean eps_avg of the uniform regions.
        nonuniform: of the others.
        ratio: of the two means.
        examples: over which means are taken.
        larger: share of these whose non-uniform region is the larger.
    """

    uniform: float
    nonuniform: float
    ratio: float
    examples: int
    larger: float


@dataclass(frozen=True)
class Likeness:
    """Cosines of the radii of all pairs of different inputs."""

    mean: float
    least: float
    pairs: int


def mean_radius(radii: Tensor) -> Tensor:
    """The geometric mean over features, (B,); zero where a radius is zero.

    Example:
        >>> mean_radius(torch.tensor([[0.1, 0.4], [0.0, 1.0]]))
        tensor([0.2000, 0.0000])
    """
    return radii.flatten(1).log().mean(dim=1).exp()


def log_volume(radii: Tensor, p: float) -> Tensor:
    """The natural logarithm of the volume of {d : ||d / radii||_p <= 1}, (B,); no box.

    Example:
        >>> log_volume(torch.tensor([[0.5, 2.0]]), 2.0).exp()  # an ellipse: pi times its half axes
        tensor([3.1416])
    """
    if not p >= 1:
        raise InputError("p", p, "has no ball", "give 1, 2 or inf")
    count, share = radii[0].numel(), 1 / p
    unit = math.log(2) + math.lgamma(1 + share)
    return radii.flatten(1).log().sum(dim=1) + count * unit - math.lgamma(1 + count * share)


def compare(nonuniform: Region, uniform: Region) -> Comparison:
    """The mean sizes of two ways to certify the same inputs.

    Raises:
        InputError: not one input is certified in both.
    """
    both = nonuniform.certified & uniform.certified
    if not bool(both.any()):
        found = described(f"{len(both)} inputs")
        remedy = "take inputs that the model classifies correctly"
        raise InputError("regions", found, "are certified in one way at most", remedy)
    one, other = (mean_radius(each.radii[both]).double() for each in (nonuniform, uniform))
    means = float(other.mean()), float(one.mean())
    larger = float((one > other).double().mean())
    return Comparison(*means, means[1] / means[0], int(both.sum()), larger)


def likeness(radii: Tensor) -> Likeness:
    """The cosines of all pairs of rows; at least two rows, none of zeros.

    Example:
        >>> likeness(torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 2.0]]))
        Likeness(mean=0.3333333333333333, least=0.0, pairs=3)
    """
    if len(radii) < 2:
        raise InputError("radii", len(radii), "makes no pair", "give two inputs or more")
    unit = _directions(radii)
    one, other = torch.triu_indices(len(unit), len(unit), 1, device=unit.device)
    cosines = (unit @ unit.T)[one, other]
    return Likeness(float(cosines.mean()), float(cosines.min()), len(cosines))


def spectrum(radii: Tensor) -> Tensor:
    """Shares of the squared singular values of the rows' directions, descending; they sum to 1.

    One share near 1 says that all inputs see boundaries in the same directions.
    """
    squared = torch.linalg.svdvals(_directions(radii)).square()
    return squared / squared.sum()


def feature_histogram(radii: Tensor, edges: Sequence[float]) -> Tensor:
    """How many features have a radius in [edges[k], edges[k + 1]), (B, len(edges) - 1).

    The last bin holds everything from its edge on, so that what lies above is not lost.

    Example:
        >>> feature_histogram(torch.tensor([[0.05, 0.15, 0.9]]), (0.0, 0.1, 0.2))
        tensor([[1, 2]])
    """
    cuts = torch.tensor(edges[1:-1], dtype=radii.dtype, device=radii.device)
    places = torch.bucketize(radii.flatten(1).contiguous(), cuts, right=True)
    return torch.stack([(places == k).sum(dim=1) for k in range(len(edges) - 1)], dim=1)


def share_above(radii: Tensor, radius: float) -> Tensor:
    """The share of features whose radius is above a number, (B,): the tail of the histogram."""
    return (radii.flatten(1) > radius).double().mean(dim=1)


def bounding_map(radii: Tensor) -> Tensor:
    """Radii as pictures in [0, 1], like the radii (B, *E): light where the bound is small.

    Within an input the smallest radius is 1 and the largest 0, with logarithms in between; an
    input whose radii are all equal is 1 everywhere.

    Source: Liu 2022, Fig 3.5.
    """
    level = radii.flatten(1).clamp_min(torch.finfo(radii.dtype).tiny).log()
    low, high = level.amin(dim=1, keepdim=True), level.amax(dim=1, keepdim=True)
    shown = 1 - (level - low) / torch.where(high > low, high - low, torch.ones_like(high))
    return shown.view_as(radii)


def _directions(radii: Tensor) -> Tensor:
    """The rows in float64 with length 1."""
    flat = radii.flatten(1).double()
    length = torch.linalg.vector_norm(flat, dim=1, keepdim=True)
    if not bool((length > 0).all()):
        found = described(f"row {int((length == 0).nonzero()[0, 0])}")
        raise InputError("radii", found, "is zero", "leave out what is not certified")
    return flat / length
