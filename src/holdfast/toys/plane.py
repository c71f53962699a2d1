"""Problems in the plane whose robust solutions are known.

`separated` draws points that keep a distance, so that the balls of less than half of it do not meet
and labels drawn at random can be learned robustly, with robust error zero. `Voronoi` labels by the
nearest of some seeds: class y wins over j where

    m_j(x) = 2 (s_y - s_j) . x + |s_j|^2 - |s_y|^2 > 0

which is linear, so that the distance of x to the nearest other class is min_j m_j / (2 ||s_y -
s_j||_q) in the p-norm, 1/p + 1/q = 1: other cells lie behind these lines, and the nearest line is
reached inside of its cell's half-plane.

Source: Wong 2020, sec 3.2.1 (separated points); Liu 2022, sec 3.2.2 (Voronoi cells).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from holdfast.core.errors import InputError
from holdfast.core.random import Keys
from holdfast.core.tensors import dual_exponent

_DRAWS = 10_000


def separated(
    seed: int, *, count: int = 12, distance: float = 0.16, features: int = 2, p: float = math.inf
) -> tuple[Tensor, Tensor]:
    """Points of [0, 1]^features that keep a distance in every pair, with random binary labels.

    Points are drawn uniformly one after another; one is kept where its distance in the p-norm from
    all kept before is at least `distance`.

    Returns:
        x (count, features) and y (count,).

    Raises:
        InputError: no room for so many points was found in 10,000 draws.

    Example:
        >>> x, y = separated(0)
        >>> x.shape, bool((torch.cdist(x, x, p=float("inf")) + torch.eye(12) >= 0.16).all())
        (torch.Size([12, 2]), True)
    """
    keys = Keys.of(seed, range(_DRAWS)).fold("separated")
    drawn = keys.uniform((features,))
    kept = drawn[:0]
    for point in drawn:
        if len(kept) == count:
            break
        if bool((torch.linalg.vector_norm(kept - point, ord=p, dim=1) >= distance).all()):
            kept = torch.cat([kept, point.unsqueeze(0)])
    if len(kept) < count:
        raise InputError("count", count, f"found room for {len(kept)} only", "ask for less")
    labels = keys.fold("labels").integers(2, (1,))[:count, 0]
    return kept, labels


@dataclass(frozen=True, eq=False)
class Voronoi:
    """Points labelled by the nearest seed.

    Args:
        seeds: (K, d), one of each class.

    Example:
        >>> world = Voronoi(torch.tensor([[0.0, 0.0], [1.0, 0.0]]))
        >>> x = torch.tensor([[0.2, 0.7]])
        >>> world.label(x), world.distance(x, p=float("inf"))
        (tensor([0]), tensor([0.3000], dtype=torch.float64))
    """

    seeds: Tensor

    @classmethod
    def draw(cls, seed: int, *, classes: int = 10, features: int = 2) -> "Voronoi":
        """Seeds uniform in [-1, 1]^features."""
        keys = Keys.of(seed, range(classes)).fold("voronoi")
        return cls(keys.uniform((features,), low=-1.0, high=1.0))

    def points(self, seed: int, count: int) -> tuple[Tensor, Tensor]:
        """Points uniform in [-1, 1]^d and their labels: (count, d) and (count,)."""
        keys = Keys.of(seed, range(count)).fold("points")
        x = keys.uniform((self.seeds.shape[1],), low=-1.0, high=1.0)
        return x, self.label(x)

    def label(self, x: Tensor) -> Tensor:
        """The nearest seed of each point, (B,)."""
        return torch.cdist(x.double(), self.seeds.to(x.device).double()).argmin(dim=1)

    def distance(self, x: Tensor, *, p: float) -> Tensor:
        """How far each point may move in the p-norm before another seed is as near, (B,) float64.

        Guarantee: exact up to rounding: each margin is linear in x, and the first of them to vanish
            does so where another class wins.
        """
        seeds = self.seeds.to(x.device).double()
        y, q = self.label(x), dual_exponent(p)
        push = seeds[y].unsqueeze(1) - seeds
        squares = seeds.square().sum(dim=1)
        margin = 2 * torch.einsum("bkd,bd->bk", push, x.double()) + squares - squares[y, None]
        reach = margin / (2 * torch.linalg.vector_norm(push, ord=q, dim=2))
        return reach.scatter(1, y.unsqueeze(1), torch.inf).amin(dim=1)
