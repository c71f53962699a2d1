"""Fixed examples of a set, the same at every look at the network, whatever the order of the set."""

from holdfast.data.images import ImageData
from holdfast.data.splits import evenly


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
    return data.select(evenly(n, count).to(data.device))
