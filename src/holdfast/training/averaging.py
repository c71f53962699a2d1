"""The average of the weights over training, kept beside them.

    a_t = d_t a_{t-1} + (1 - d_t) theta_t,   d_t = min(d, (1 + t) / (10 + t))

The first factors are small, so that the average leaves the initial weights fast.

Source: Polyak and Juditsky 1992; Gowal et al. 2020, arXiv:2010.03593, sec 4.3 (in adversarial
    training, with warm-up); Izmailov et al. 2018, arXiv:1803.05407.
Departures: buffers (statistics of batch norm) are copied by value, not averaged, never shared.
"""

from copy import deepcopy

import torch
from torch import nn


class Average:
    """The exponential moving average of a network's weights.

    Args:
        network: what is trained; nothing of it is shared or changed.
        decay: d, the weight of the past, in [0, 1).

    Cost: one pass over the weights per step, one more copy of the network.
    """

    def __init__(self, network: nn.Module, decay: float):
        self.network = deepcopy(network).requires_grad_(False)
        self.decay, self.updates = decay, 0

    def update(self, network: nn.Module) -> None:
        """Takes the weights after a step into account."""
        factor = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        with torch.no_grad():
            own: list[torch.Tensor] = list(self.network.parameters())
            live: list[torch.Tensor] = list(network.parameters())
            torch._foreach_lerp_(own, live, 1 - factor)
            for mine, theirs in zip(self.network.buffers(), network.buffers(), strict=True):
                mine.copy_(theirs)
