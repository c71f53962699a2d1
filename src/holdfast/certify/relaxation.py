"""The lines of every scalar operation, by its class.

`lines_of` is what a backward pass asks for at an operation that is neither linear nor a joint; an
order statistic has its own, `selection_of`. See `piecewise_lines.py`, `smooth_lines.py` and
`maximum_lines.py` for the rules, `lines.py` for what they promise.
"""

from typing import NoReturn

import torch
from torch import Tensor

from holdfast.certify.activations import Arctan, LeakyReLU, Sigmoid, SShaped, Tanh
from holdfast.certify.lines import Lines
from holdfast.certify.maximum_lines import Selection, scattered, selection_of
from holdfast.certify.ops import Op
from holdfast.certify.piecewise_lines import bent_lines, clamp_lines, relu_lines
from holdfast.certify.rounding import Box
from holdfast.certify.smooth_lines import ARCTAN, SIGMOID, TANH, Curve, s_lines, touching
from holdfast.certify.structural import Clamp, ReLU
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

_CURVES: dict[type[Op], Curve] = {Sigmoid: SIGMOID, Tanh: TANH, Arctan: ARCTAN}


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
    if isinstance(op, ReLU):
        return relu_lines(box, adaptive=adaptive, slope=slope)
    if isinstance(op, LeakyReLU):
        return bent_lines(op.slope, box, adaptive=adaptive, slope=slope)
    if isinstance(op, Clamp):
        return clamp_lines(op.low, op.high, box, adaptive=adaptive, slope=slope)
    if isinstance(op, SShaped):
        return s_lines(_CURVES[type(op)], box, adaptive=adaptive, slope=slope)
    return _refuse(op)


def first_slope(op: Op, box: Box) -> Tensor:
    """Positions at which `lines_of(op, box, slope=...)` starts as the adaptive lines, (B, *shape).

    They are equal, but for a clamp with both limits inside the interval, whose two free lines share
    one position.
    """
    middle = box.lower / 2 + box.upper / 2
    if isinstance(op, ReLU | LeakyReLU):
        return (box.upper > -box.lower).to(box.lower)
    if isinstance(op, Clamp):
        least, most = _limits(op)
        rising, falling = middle > least, middle < most
        return torch.where(
            (box.lower < least) & (box.upper > most),
            (rising & falling).to(middle),
            torch.where(box.lower < least, rising, falling).to(middle),
        )
    if isinstance(op, SShaped):
        return touching(box)
    return _refuse(op)


def undecided(op: Op, box: Box) -> Tensor:
    """Where the two lines differ, so that tighter boxes could help, (B, *shape); NaN counts."""
    if isinstance(op, ReLU | LeakyReLU):
        return ~((box.lower >= 0) | (box.upper <= 0))
    if isinstance(op, Clamp):
        least, most = _limits(op)
        inside = (box.lower >= least) & (box.upper <= most)
        return ~(inside | (box.upper <= least) | (box.lower >= most))
    if isinstance(op, SShaped):
        return ~(box.lower == box.upper)
    return _refuse(op)


def _limits(op: Clamp) -> tuple[float, float]:
    least = -torch.inf if op.low is None else op.low
    return least, torch.inf if op.high is None else op.high


def _refuse(op: Op) -> NoReturn:
    raise CaptureError(
        f"{type(op).__name__} has no linear relaxation; bound this network by intervals"
    )
