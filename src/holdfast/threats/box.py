"""The box of valid inputs: (low, high) for every feature, or None where any number is valid."""

import math

from holdfast.core.errors import InputError
from holdfast.core.numbers import number

Box = tuple[float, float]


def as_box(box: Box | None) -> Box | None:
    """The box as a pair of floats, or None for no box.

    Raises:
        InputError: not a pair of finite numbers with low < high.
    """
    if box is None:
        return None
    remedy = "give (low, high) with low < high, or None"
    try:
        low, high = (number(end, "box") for end in box)
    except (TypeError, ValueError) as cause:
        raise InputError("box", box, "is not a pair of numbers", remedy) from cause
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise InputError("box", box, "is not an interval", remedy)
    return low, high
