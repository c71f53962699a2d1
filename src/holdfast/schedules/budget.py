"""The budget of the adversary over training: a radius that grows towards its target.

    cosine:  e(r) = (high - low) (1 - cos(pi r)) / 2 + low
    linear:  e(r) = (high - low) r + low,        then clipped to [0, 1]

r is the ratio of the period that has passed; radii are in units of the target, the threat's own
radius, so that the value is what multiplies it. `high` lies beyond the target: the target is
reached before the end of the period and held. `Periodic` repeats it (periodic adversarial
scheduling), `Held` evaluates it once per epoch.

Source: Liu 2022, sec 4.2.4, eq 4.29; Liu et al. 2020, arXiv:2006.08403.
Symbols: e_max = `high`, e_min = `low`, both over e_target; d / D = r.
"""

import math
from typing import Literal

from holdfast.core.errors import InputError
from holdfast.core.recipes import hyperparameters
from holdfast.schedules.protocol import check_progress


@hyperparameters
class Budget:
    """The share of the target radius, rising along half a cosine or a line, clipped to [0, 1].

    Published: MNIST at 0.4, cosine with high 1.5 (0.6) and linear with high 2 (0.8), over the whole
    training; CIFAR-10 at 8/255, both with high 2 (16/255), over each period.

    Args:
        shape: of the rise.
        high: what it rises towards, in units of the target.
        low: where it starts.

    Guarantee: in [0, 1], never falling; with low = 0 it is 0 at the start, and the target is
        reached at r = arccos(1 - 2 / high) / pi (cosine) or 1 / high (linear).

    Example:
        >>> Budget(shape="linear")(0.25)
        0.5
    """

    shape: Literal["cosine", "linear"] = "cosine"
    high: float = 2.0
    low: float = 0.0

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise InputError("low", self.low, f"is above high={self.high:g}", "give a smaller one")

    def __call__(self, progress: float) -> float:
        """The share of the target radius at `progress` in [0, 1]."""
        ratio = check_progress(progress)
        rise = (1 - math.cos(math.pi * ratio)) / 2 if self.shape == "cosine" else ratio
        return min(1.0, max(0.0, (self.high - self.low) * rise + self.low))
