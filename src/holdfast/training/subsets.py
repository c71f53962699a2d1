"""Fixed examples of a set, the same at every look at the network, whatever the order of the set."""

import torch

from holdfast.data.images import ImageData


def spread(data: ImageData, count: int) -> ImageData:
    """So many examples at equal distances in the set, or all where it has fewer; sets that are
    sorted by class give all classes.

    Example:
        >>> from holdfast.data import load_data
        >>> len(spread(load_data("digits", "train"), 5))
        5
    """
    n = len(data)
    if count >= n:
        return data
    return data.select(torch.arange(count, device=data.device) * n // count)
