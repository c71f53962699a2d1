"""Lines around sigmoid, tanh and arc tangent: convex up to zero, concave from there.

*Parallel*: both lines have the chord's slope d = (op(u) - op(l)) / (u - l); each touches where
op'(t) = d (in closed form, t = +-`touch`(d)), or goes through an end if that point lies outside.

    sigmoid:  t = log((1 - 2d + sqrt(1 - 4d)) / (2d))
    tanh:     t = log((2 - d + 2 sqrt(1 - d)) / d) / 2
    arctan:   t = sqrt(1/d - 1)

*Tight*: each line has its own slope. The upper line is the chord where that lies above (u <= 0, or
the touching point beyond u), a tangent at the middle where 0 <= l, and else the tangent through (l,
op(l)); its touching point q <= -l solves op(q) - op(l) = op'(q) (q - l), by q <- touch of the slope
of the chord from l to q, which converges quadratically and from above. The lower line is its mirror
image. With `slope` given, the point of contact moves from there to the end.

Soundness for any slope s and any point p >= 0, however they were computed: op(z) - s z is convex on
z <= 0, so largest at an end, and below its own tangent at p on z >= 0:

    op(z) - s z <= max(op(l) - s l,  op(p) - s p + max_m (op'(p) - s) (m - p)),   m = max(l, 0), u

The last term is zero up to rounding. It carries no gradient and need not: the intercept is
stationary in p.

Source: Liu 2022, Eq. 3.5 and Table 3.1 (parallel); Zhang et al. 2018, arXiv 1811.00866 (tight, by
    bisection there); Lyu et al. 2020, arXiv 1905.07387, and Xu et al. 2021, arXiv 2011.13824 (moved
    points of contact).
Departures: the printed Eq. 3.5 leaves l < 0 < u without a lower line; the tangent is meant. Where
    the point of contact lies outside the interval the chord is taken, which is tighter.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from holdfast.certify.operators.lines import Lines, chosen, slack
from holdfast.certify.rounding import Box

_STEPS = 4

Function = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Curve:
    """An S-shaped function.

    Args:
        value: the function.
        derivative: its derivative, which is largest at zero.
        touch: the point t >= 0 where the derivative has a given value between 0 and `steepest`.
        steepest: the derivative at zero.
        total: the sum of the values at z and -z.
    """

    value: Function
    derivative: Function
    touch: Function
    steepest: float
    total: float

    def contact(self, slope: Tensor) -> Tensor:
        """`touch`, for slopes that rounding may have moved out of their range; no gradient."""
        return self.touch(slope.detach().clamp(torch.finfo(slope.dtype).tiny, self.steepest))


SIGMOID = Curve(
    value=torch.sigmoid,
    derivative=lambda z: z.sigmoid() * (-z).sigmoid(),
    touch=lambda d: ((1 - 2 * d + (1 - 4 * d).sqrt()) / (2 * d)).log(),
    steepest=0.25,
    total=1.0,
)
TANH = Curve(
    value=torch.tanh,
    derivative=lambda z: 4 * (2 * z).sigmoid() * (-2 * z).sigmoid(),
    touch=lambda d: ((2 - d + 2 * (1 - d).sqrt()) / d).log() / 2,
    steepest=1.0,
    total=0.0,
)
ARCTAN = Curve(
    value=torch.atan,
    derivative=lambda z: 1 / (1 + z * z),
    touch=lambda d: (1 / d - 1).sqrt(),
    steepest=1.0,
    total=0.0,
)


def s_lines(curve: Curve, box: Box, *, adaptive: bool = True, slope: Tensor | None = None) -> Lines:
    """Lines around an S-shaped function.

    Args:
        curve: the function.
        box: of the operation's input, (B, *shape).
        adaptive: whether each line has its own slope, or both that of the chord.
        slope: where free lines touch, from 0, as `adaptive` has it where l < 0 < u, or the end that
            is nearer to zero, to 1, the farther end; overrides `adaptive`.
    """
    mirror = Box(-box.upper, -box.lower)
    rise = _chord(curve, box)
    if adaptive or slope is not None:
        first, second = (_tangent(curve, each, rise, slope) for each in (box, mirror))
    else:
        first, second = (
            (rise, torch.minimum(curve.contact(rise), each.upper)) for each in (box, mirror)
        )
    upper, lower = upper_intercept(curve, box, *first), -upper_intercept(curve, mirror, *second)
    if curve.total:
        lower = lower + curve.total - slack(curve.total + lower.abs())
    return Lines(second[0], lower, first[0], upper)


def touching(box: Box) -> Tensor:
    """The positions of `slope` at which given lines are the adaptive ones."""
    return torch.where((box.lower < 0) & (box.upper > 0), 0.0, torch.full_like(box.lower, 0.5))


def _chord(curve: Curve, box: Box) -> Tensor:
    """The slope of the chord; of the tangent in the middle where the ends are too close."""
    lower, upper = box
    width = upper - lower
    close = width <= torch.finfo(width.dtype).eps ** (1 / 3)
    rise = (curve.value(upper) - curve.value(lower)) / torch.where(close, 1.0, width)
    middle = curve.derivative(lower / 2 + upper / 2)
    return torch.where(close, middle, rise.clamp(0.0, curve.steepest))


def _tangent(curve: Curve, box: Box, rise: Tensor, slope: Tensor | None) -> tuple[Tensor, Tensor]:
    """Slope and point of contact of the upper line with a slope of its own."""
    lower, upper = box
    mixed = (lower < 0) & (upper > 0)
    contact = curve.contact(rise)
    chord = (upper <= 0) | (mixed & (contact >= upper))
    near = torch.minimum(torch.minimum(contact, upper), -lower)
    for _ in range(_STEPS):
        run = torch.where(mixed, near - lower, 1.0).detach()
        near = torch.minimum(
            near, curve.contact((curve.value(near) - curve.value(lower)) / run)
        ).detach()
    start = torch.where(mixed, near, lower)
    point = start + chosen(slope, touching(box)) * (upper - start)
    point = torch.where(chord, upper, point)
    return torch.where(chord, rise, curve.derivative(point)), point


def upper_intercept(curve: Curve, box: Box, slope: Tensor, point: Tensor) -> Tensor:
    """The intercept of an upper line of this slope, proved at any point >= 0, rounded up.

    It is the smallest one where the point is that of contact.
    """
    lower, upper = box
    start = lower.clamp(min=0.0)
    point = point.clamp(min=0.0)
    excess = (curve.derivative(point) - slope).detach()
    first, at = (curve.value(end) - slope * end for end in (lower, point))
    rest = torch.maximum(excess * (start - point), excess * (upper - point)).detach()
    convex = torch.maximum(first, curve.value(upper) - slope * upper)
    found = torch.where(upper > 0, torch.maximum(first, at + rest), convex)
    reach = torch.maximum(box.magnitude, point)
    size = torch.maximum(curve.value(lower).abs(), curve.value(upper).abs()) + slope * reach
    size = size + curve.value(point).abs() + (curve.derivative(point) + slope) * 2 * reach
    return found + slack(size)
