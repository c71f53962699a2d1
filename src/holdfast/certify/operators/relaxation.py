"""The lines of every scalar operation, by its class.

`lines_of` is what a pass of linear forms asks for at an operation that is neither linear nor a
joint; an order statistic has its own, `selection_of`. See `piecewise_lines.py`, `smooth_lines.py`
and `maximum_lines.py` for the rules, `lines.py` for what they promise.
"""

from typing import NoReturn

from torch import Tensor

from holdfast.certify.operators.lines import Lines
from holdfast.certify.operators.maximum_lines import Selection, scattered, selection_of
from holdfast.certify.operators.ops import Op, Scalar
from holdfast.certify.rounding import Box
from holdfast.core.errors import CaptureError

__all__ = [
    "Lines",
    "Selection",
    "first_slope",
    "lines_of",
    "scattered",
    "selection_of",
    "undecided",
]


def lines_of(op: Op, box: Box, *, adaptive: bool = True, slope: Tensor | None = None) -> Lines:
    """Two lines around a scalar operation whose input lies in a box.

    Args:
        op: ReLU, leaky ReLU (and the absolute value), clamp, sigmoid, tanh, arc tangent.
        box: (B, *shape), lower <= upper.
        adaptive: True gives each line the slope that is best alone (CROWN); False gives both the
            same slope (Wong & Kolter, Fast-Lin; Liu 2022 for smooth operations).
        slope: positions in [0, 1] of the lines that can move, broadcastable to the box; overrides
            `adaptive`. For ReLU it is the lower slope itself. Values outside are clamped.

    Guarantee: for every real z in the box, lower_slope z + lower_intercept <= op(z) <=
        upper_slope z + upper_intercept, if the box is float64. A box that holds NaN gives NaN.
        Differentiable in the box and in `slope`; which case an interval belongs to is constant.

    Raises:
        CaptureError: the operation has no such lines.
    """
    return _scalar(op).lines(box, adaptive=adaptive, slope=slope)


def first_slope(op: Op, box: Box) -> Tensor:
    """Positions at which `lines_of(op, box, slope=...)` starts as the adaptive lines, (B, *shape).

    They are equal, but for a clamp with both limits inside the interval, whose two free lines share
    one position.
    """
    return _scalar(op).first_slope(box)


def undecided(op: Op, box: Box) -> Tensor:
    """Where the two lines differ, so that tighter boxes could help, (B, *shape); NaN counts."""
    return _scalar(op).undecided(box)


def _scalar(op: Op) -> Scalar:
    return op if isinstance(op, Scalar) else _refuse(op)


def _refuse(op: Op) -> NoReturn:
    raise CaptureError(
        f"{type(op).__name__} has no linear relaxation; bound this network by intervals"
    )
