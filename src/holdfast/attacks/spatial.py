"""Rotations, shifts, scalings and flips that fool a model: grid, random and first-order search.

    grid        all combinations of evenly spaced parameters, those farthest out first
    random      the worst of k parameters drawn uniformly from their ranges
    gradient    w_{t+1} = clip( w_t + a r * sign( d loss(f(T_w(x)), y) / d w ) ),  w_0 drawn,

with T_w the warp, r half of each parameter's range and a = `step_size`. The gradient passes through
the bilinear interpolation, so it knows the neighbouring pixels only: where the loss is not concave
in w, the grid is the stronger search, and the yardstick.

Source: Engstrom et al. 2019, arXiv:1712.02779, sec 3 (grid of 31 rotations and 5 x 5 translations;
    worst of 10; first-order).
Departures: the search ends at the first success; the first-order steps take signs, so that degrees
    and pixels need no common scale, and restarts.
"""

from functools import lru_cache
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor

from holdfast.attacks.worst_of import Sampled, Tries, WorstOf
from holdfast.core.errors import UnsupportedThreat
from holdfast.core.recipes import Count, From, Positive, hyperparameters
from holdfast.losses.catalogue import LOSSES
from holdfast.losses.cross_entropy import CrossEntropy
from holdfast.losses.protocol import Loss
from holdfast.threats.spatial import Spatial


class SpatialSearch(WorstOf):
    """What searches of the spatial threat share; use one of those. Results keep `params`, (B, 5)
    as in `threats.spatial.COLUMNS`, and their size is the largest share of a range used."""

    keeps: ClassVar[bool] = True

    def check(self, threat: Sampled) -> None:
        """Refuses all but the spatial threat."""
        if not isinstance(threat, Spatial):
            raise UnsupportedThreat(
                f"{type(self).__name__} moves images within Spatial threats, not"
                f" {type(threat).__name__}; use PGD in a norm ball, NoiseSearch for noise"
            )

    def neutral(self, rows: Tries) -> Tensor:
        """The identity."""
        identity: Tensor = rows.threat.identity(rows.x)
        return identity.to(torch.promote_types(rows.x.dtype, torch.float32))

    def points(self, rows: Tries, params: Tensor) -> Tensor:
        """The moved images."""
        moved: Tensor = rows.threat.apply(params, rows.x)
        return moved

    def contains(self, rows: Tries, x_adv: Tensor, params: Tensor) -> Tensor:
        """Whether the parameters are allowed and make x_adv; they are applied again."""
        inside: Tensor = rows.threat.contains(x_adv, rows.x, params)
        return inside

    def size(self, rows: Tries, x_adv: Tensor, params: Tensor) -> Tensor:
        """How far the parameters are out, from 0 to 1."""
        size: Tensor = rows.threat.size(params)
        return size.to(rows.x.dtype)


@hyperparameters
class SpatialGrid(SpatialSearch):
    """The worst of a grid of parameters.

    Args:
        rotations: values between the ends of the range.
        shifts: the same, along each axis.
        scales: the same; 1 is the original size alone.

    Guarantee: exact over the grid; success is re-checked.
    Cost: at most N + 1 forwards for the N points of `threat.grid`, as the clean input is one; 776
        by default for rotations and translations.
    Needs: images (B, C, H, W).
    Source: Engstrom et al. 2019, arXiv:1712.02779, sec 3.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(9, 2))
        >>> x, y = torch.rand(2, 1, 3, 3), torch.tensor([0, 1])
        >>> result = SpatialGrid(rotations=5, shifts=3).run(model, x, y, Spatial(rotation=30))
        >>> result.params.shape
        torch.Size([2, 5])
    """

    rotations: Count = 31
    shifts: Count = 5
    scales: Count = 1

    def tries(self, threat: Any) -> int:
        """One for each point of the grid but the identity."""
        return len(_grid(threat, self))

    def begin(self, rows: Tries) -> Tensor:
        """The points of the grid, those farthest out first."""
        return _grid(rows.threat, self).to(rows.x.device)[rows.number]


@hyperparameters
class SpatialRandom(SpatialSearch):
    """The worst of k random parameters.

    Args:
        samples: k, draws of each example.

    Guarantee: success is re-checked; the draws of a smaller k are the first ones of a larger k, so
        that robust accuracy never rises with it.
    Cost: at most k + 2 forwards.
    Needs: images (B, C, H, W).
    Source: Engstrom et al. 2019, arXiv:1712.02779, sec 3 ("worst of 10").
    """

    samples: Count = 10

    def tries(self, threat: Any) -> int:
        """One for each sample."""
        return self.samples

    def begin(self, rows: Tries) -> Tensor:
        """Parameters drawn uniformly."""
        return _drawn(rows, "random")


@hyperparameters
class SpatialGradient(SpatialSearch):
    """Gradient ascent on the parameters, through the warp.

    Args:
        steps: moves of a run.
        restarts: runs from fresh random parameters, until one succeeds; flips are drawn there and
            stay.
        step_size: length of a move, in halves of each parameter's range.
        loss: what is maximised.

    Guarantee: success is re-checked; robust accuracy never rises with `restarts`.
    Cost: at most r (steps + 1) + 2 forwards and r steps backwards, with r = restarts.
    Needs: input gradients; images (B, C, H, W).
    Source: Engstrom et al. 2019, arXiv:1712.02779, sec 3 (first-order).
    """

    steps: Count = 20
    restarts: Count = 5
    step_size: Positive = 0.1
    loss: Annotated[Loss, From(LOSSES)] = CrossEntropy()

    @property
    def objective(self) -> Loss:
        """The loss."""
        return self.loss

    @property
    def moves(self) -> int:
        """The steps."""
        return self.steps

    def tries(self, threat: Any) -> int:
        """One for each restart."""
        return self.restarts

    def begin(self, rows: Tries) -> Tensor:
        """Parameters drawn uniformly."""
        return _drawn(rows, "gradient").to(torch.promote_types(rows.x.dtype, torch.float32))

    def advance(self, rows: Tries, params: Tensor, gradient: Tensor) -> Tensor:
        """A move along the signs of the slope, clipped to the ranges."""
        low, high = params.new_tensor(rows.threat.ranges).unbind(dim=1)
        slope = _pulled_back(rows.threat, rows.x, params, gradient)
        move = self.step_size * (high - low) / 2 * torch.nan_to_num(slope, nan=0.0).sign()
        return torch.clamp(params + move, low, high)


def _pulled_back(threat: Spatial, x: Tensor, params: Tensor, gradient: Tensor) -> Tensor:
    """The gradient with respect to the parameters, (b, 5), of what has `gradient` (b, C, H, W) at
    the moved images."""
    with torch.enable_grad():
        params = params.detach().requires_grad_(True)
        moved = threat.apply(params, x)
        (slope,) = torch.autograd.grad(moved, params, gradient)
    return slope


def _drawn(rows: Tries, name: str) -> Tensor:
    threat: Spatial = rows.threat
    return threat.draw(rows.keys.fold(name), rows.number)[:, 0]


@lru_cache(maxsize=8)
def _grid(threat: Spatial, counts: SpatialGrid) -> Tensor:
    """The grid without the identity, farthest first, (N, 5) on the CPU."""
    grid = threat.grid(rotations=counts.rotations, shifts=counts.shifts, scales=counts.scales)
    size = threat.size(grid)
    order = size.argsort(descending=True, stable=True)
    return grid[order][: int((size > 0).sum())]
