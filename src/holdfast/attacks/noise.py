"""The worst of random draws from a threat, such as additive noise.

    x_i ~ D(x), i = 1 .. k;   success where some x_i is misclassified

With k = 1 the share of examples that survive estimates the average case under D; as k grows it
falls towards the worst case over the support of D.

Source: Rice 2023, sec 3.2 and 3.3 (between the average and the worst case); Engstrom et al. 2019,
    arXiv:1712.02779, sec 3 (worst of k draws).
"""

from typing import Any

from torch import Tensor

from holdfast.attacks.worst_of import Sampled, Tries, WorstOf
from holdfast.core.errors import UnsupportedThreat
from holdfast.core.recipes import Count, hyperparameters
from holdfast.threats.protocol import Membership
from holdfast.threats.spatial import Spatial


@hyperparameters
class NoiseSearch(WorstOf):
    """The worst of k draws of additive noise, or of any threat with a `sample`.

    Args:
        samples: k, draws of each example.

    Guarantee: success is re-checked; the draws of a smaller k are the first ones of a larger k, so
        that robust accuracy never rises with it.
    Cost: at most k + 2 forwards.

    Example:
        >>> import torch
        >>> from holdfast.threats.noise import Gaussian
        >>> model = torch.nn.Linear(4, 3)
        >>> x, y = torch.full((2, 4), 0.5), torch.tensor([0, 1])
        >>> result = NoiseSearch(samples=20).run(model, x, y, Gaussian(0.1))
        >>> bool((result.forwards <= 22).all())
        True
    """

    samples: Count = 100

    def check(self, threat: Sampled) -> None:
        """Refuses what cannot be drawn from, or tells no member by its values."""
        if isinstance(threat, Spatial):
            raise UnsupportedThreat(
                "NoiseSearch draws no transformations of images; use SpatialRandom"
            )
        if not isinstance(threat, Membership) or not hasattr(threat, "sample"):
            raise UnsupportedThreat(
                f"NoiseSearch cannot draw from {type(threat).__name__}; use Gaussian, UniformLinf,"
                " UniformL2, SaltAndPepper or a norm ball"
            )

    def tries(self, threat: Any) -> int:
        """One for each sample."""
        return self.samples

    def begin(self, rows: Tries) -> Tensor:
        """Draws; the first is a given start, if there is one."""
        drawn: Tensor = rows.threat.sample(rows.x, keys=rows.keys.fold("noise"), step=rows.number)
        if rows.start is None:
            return drawn
        drawn[rows.number == 0] = rows.start[rows.number == 0]
        return drawn
