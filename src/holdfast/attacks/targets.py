"""Which wrong class a targeted run aims at."""

import torch
from torch import Tensor


def likely(place: Tensor, y: Tensor, logits: Tensor) -> Tensor:
    """The wrong class of the place-th largest logit, (b,), ties by class.

    Args:
        place: (b,) 0 for the likeliest wrong class.
        y: (b,) labels.
        logits: (b, K) clean logits.
    """
    wrong = logits.scatter(1, y[:, None], -torch.inf)
    order = wrong.argsort(dim=1, descending=True, stable=True)
    return order.gather(1, place[:, None])[:, 0]
