"""The weight of gradient alignment over the radius: straight in logarithms between two tuned ones.

    lambda(n) = lambda_8 (lambda_16 / lambda_8)^((n - 8) / 8),   n = 255 radius

For CIFAR-10 this is 0.02 * 10^(n/8), for SVHN 1.5625 * 1.6^(n/8).

Source: Andriushchenko 2024, sec 2.9 and Table 2.2; Andriushchenko and Flammarion 2020,
    arXiv:2007.02617. The published weights were chosen by accuracy on the test sets.
"""

from holdfast.core.errors import InputError, unknown_name

TUNED = {"cifar10": (0.2, 2.0), "svhn": (2.5, 4.0)}
"""The weights at radius 8/255 and 16/255, by data set."""


def gradalign_weight(radius: float, data: str | tuple[float, float] = "cifar10") -> float:
    """The weight of the alignment term at a radius of l_inf.

    Args:
        radius: in input units, 8/255 or so.
        data: `cifar10`, `svhn`, or the two weights at 8/255 and 16/255.

    Raises:
        InputError: an unknown data set, a weight that is not positive, a negative radius.

    Example:
        >>> round(gradalign_weight(10 / 255), 2)
        0.36
    """
    if isinstance(data, str) and data not in TUNED:
        raise unknown_name("data", data, TUNED)
    at_8, at_16 = TUNED[data] if isinstance(data, str) else data
    if not (at_8 > 0 and at_16 > 0):
        raise InputError("data", data, "are no positive weights", "give two, such as (0.2, 2.0)")
    if not radius >= 0:
        raise InputError("radius", radius, "is no radius", "give a number from 0, such as 8/255")
    ratio: float = at_16 / at_8
    return float(at_8 * ratio ** ((radius * 255 - 8) / 8))
