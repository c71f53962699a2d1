"""Lines around operations made of straight pieces: ReLU, leaky ReLU, |x|, clamp.

An operation with one bend at zero and slopes a (left) and 1 (right), on l < 0 < u, has the chord

    d = a + (1 - a) u / (u - l)

on one side and on the other any line through the bend with a slope between a and 1: the chord's own
slope (*parallel*), or the one that leaves the smaller area (*adaptive*: 1 if u > -l, else a), or a
given one. On an interval without the bend, both lines are the piece itself.

A clamp to [low, high] is convex at `low` and concave at `high`. With one bend inside it has a chord
and a free line as above. With both inside, the free lines go through the bends, with slopes from
zero to that of the chord from the far end, (high - low)/(u - low) below and (high - low)/(high - l)
above; the parallel pair has slope (high - low) / max(u - low, high - l).

Symbols: l, u ends of the interval; low, high limits of the clamp; `slope` the position of the free
    lines from 0 to 1: for a bend, the slope itself if a = 0.
Source: ReLU: Wong & Kolter 2018, arXiv 1711.00851 (parallel); Zhang et al. 2018, arXiv 1811.00866
    (adaptive); Xu et al. 2021, arXiv 2011.13824 (given). Clamp: Wong 2020, Cor. 6.
Departures: Cor. 6 as printed is not sound with both bends inside; the parallel slope here, for [-1,
    1], is 2 / (1 + max(u, -l)), the one that its proof supports.
"""

import torch
from torch import Tensor

from holdfast.certify.operators.lines import Lines, chosen, quotient, slack
from holdfast.certify.rounding import Box

_UP = 1 + 2.0**-49


def relu_lines(box: Box, *, adaptive: bool = True, slope: Tensor | None = None) -> Lines:
    """Lines around a ReLU, those of `bent_lines(0, ...)` in a third of the passes over memory.

    The chord's slope is rounded up, so that a line through (l, 0) is above (u, u) as well; only its
    intercept -d l is left to round. What underflows is less than the last term.
    """
    lower, upper = box
    on, limits = lower >= 0, torch.finfo(lower.dtype)
    open_ = ~(on | (upper <= 0))
    left, right = lower.clamp(max=0.0), upper.clamp(min=0.0)
    width = torch.where(on, 1.0, (right - left).clamp(max=limits.max))
    chord = torch.where(on, 1.0, (right / width * _UP).clamp(max=1.0))
    intercept = -lower * chord * _UP + 8 * limits.tiny * (1.0 + width)
    intercept, below = torch.where(open_, intercept, 0.0), chord
    if slope is not None:
        below = torch.where(open_, slope.clamp(0.0, 1.0), chord)
    elif adaptive:
        below = (on | (upper > -lower)).to(lower)
        below = torch.where(open_, below, chord)
    return Lines(below, torch.zeros_like(lower), chord, intercept)


def bent_lines(
    left: float, box: Box, *, adaptive: bool = True, slope: Tensor | None = None
) -> Lines:
    """Lines around z for z > 0 and left z for z < 0: ReLU (left = 0), leaky ReLU, |z| (left = -1).

    Args:
        left: the slope on the left.
        box: of the operation's input, (B, *shape).
        adaptive: whether the free line has the slope of least area, or that of the chord.
        slope: position of the free line between the pieces, 0 left and 1 right; overrides
            `adaptive`.
    """
    lower, upper = box
    crossing = ~((lower >= 0) | (upper <= 0))
    piece = torch.where(lower >= 0, torch.ones_like(lower), left)
    ends = sorted((left, 1.0))
    chord = (left + (1.0 - left) * quotient(upper, upper - lower, crossing)).clamp(*ends)
    best = (upper > -lower).to(lower) if adaptive else (chord - left) / ((1.0 - left) or 1.0)
    free = (left + (1.0 - left) * chosen(slope, best)).clamp(*ends)
    above = torch.maximum if left <= 1 else torch.minimum
    intercept = above((left - chord) * lower, (1.0 - chord) * upper)
    terms = (abs(left) + chord.abs()) * lower.abs() + (1.0 + chord.abs()) * upper.abs()
    intercept = intercept + slack(terms) if left <= 1 else intercept - slack(terms)
    intercept = torch.where(crossing, intercept, 0.0)
    chord, free = torch.where(crossing, chord, piece), torch.where(crossing, free, piece)
    if left <= 1:
        return Lines(free, torch.zeros_like(lower), chord, intercept)
    return Lines(chord, intercept, free, torch.zeros_like(lower))


def clamp_lines(
    low: float | None,
    high: float | None,
    box: Box,
    *,
    adaptive: bool = True,
    slope: Tensor | None = None,
) -> Lines:
    """Lines around min(max(z, low), high); a limit that is None is not there.

    Args:
        low: lower limit.
        high: upper limit, at least `low`.
        box: of the operation's input, (B, *shape).
        adaptive: whether the free lines have the slopes of least area, or both lines that of the
            parallel pair.
        slope: position of the free lines between flat, 0, and steepest, 1; overrides `adaptive`.
    """
    lower, upper = box
    never = torch.zeros_like(lower, dtype=torch.bool)
    flat = never if low is None else upper <= low
    flat = flat if high is None else flat | (lower >= high)
    under = never if low is None else ~(lower >= low)
    over = never if high is None else ~(upper <= high)
    least, most = 0.0 if low is None else low, 0.0 if high is None else high
    parallel = _parallel(least, most, box, under, over)
    below = above = parallel
    if adaptive or slope is not None:
        middle, both = lower / 2 + upper / 2, under & over
        gap = torch.full_like(lower, most - least)
        steep = quotient(gap, upper - least, both) * chosen(slope, (middle > least).to(lower))
        below = torch.where(under, steep, parallel)
        steep = quotient(gap, most - lower, both) * chosen(slope, (middle < most).to(lower))
        above = torch.where(over, steep, parallel)
    below, above = (torch.where(flat, 0.0, each) for each in (below, above))
    return _through_bends(low, high, box, below, above, flat | ~(under | over))


def _parallel(low: float, high: float, box: Box, under: Tensor, over: Tensor) -> Tensor:
    """The slope of the parallel pair: of the chord with one bend inside, flatter with two."""
    lower, upper = box
    wide = torch.maximum(upper - low, high - lower)
    both = quotient(torch.full_like(lower, high - low), wide, under & over)
    first = quotient(upper - low, upper - lower, under & ~over)
    second = quotient(high - lower, upper - lower, over & ~under)
    return (both * first * second).clamp(0.0, 1.0)


def _through_bends(
    low: float | None, high: float | None, box: Box, below: Tensor, above: Tensor, exact: Tensor
) -> Lines:
    """The intercepts that slopes need: extremes over both ends and the bends between them."""
    bends = [at for at in (low, high) if at is not None]
    inside = [torch.minimum(box.lower.clamp(min=at), box.upper) for at in bends]
    points = [box.lower, box.upper, *inside]
    images = [point.clamp(low, high) for point in points]
    pairs = list(zip(images, points, strict=True))
    least = torch.stack([image - below * point for image, point in pairs]).amin(0)
    most = torch.stack([image - above * point for image, point in pairs]).amax(0)
    size = torch.maximum(images[0].abs(), images[1].abs())
    under, over = (slack(size + slope.abs() * box.magnitude) for slope in (below, above))
    zero = torch.zeros_like(least)
    under, over = torch.where(exact, zero, under), torch.where(exact, zero, over)
    return Lines(below, least - under, above, most + over)
