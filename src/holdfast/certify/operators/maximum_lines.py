"""Lines around a maximum of several inputs: which of them, and how steep.

The maximum is at least the input x_i with the largest lower bound. Of all others than x_j, the one
with the largest upper bound, let c be the largest upper bound; then the maximum is at most max(x_j,
c), and that is below its chord over [l_j, u_j]:

    x_i <= y <= x_j                              if c <= l_j (x_j dominates),
    x_i <= y <= c + (u_j - c) (x_j - l_j) / (u_j - l_j)    else.

With one slope for both lines, let c be the largest upper bound of all others than x_i; then

    x_i <= y <= x_i + max(0, c - l_i).

A minimum is the mirror image. The rows of a backward pass go to the inputs that are selected, which
differ from image to image.

Source: Singh et al. 2019 (DeepPoly), sec 4.4, for the lower line and the case that one dominates.
Departures: DeepPoly has the constant u_j else, which is looser.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from holdfast.certify.operators.lines import Lines, quotient, slack
from holdfast.certify.operators.ops import OrderStatistic
from holdfast.certify.rounding import Box


class Selection(NamedTuple):
    """Lines of order statistics in one of their inputs each.

    Args:
        lower_place: of the input of each lower line, (B, *out), among the numbers of one example of
            all inputs, flattened and joined.
        upper_place: the same of each upper line.
        lines: in these inputs, (B, *out).
    """

    lower_place: Tensor
    upper_place: Tensor
    lines: Lines


def selection_of(op: OrderStatistic, boxes: Sequence[Box]) -> Selection:
    """The lines of a maximum or minimum whose inputs, (B, *E) each, lie in the boxes."""
    if op.least:
        turned = _of_maximum(op, [Box(-box.upper, -box.lower) for box in boxes])
        return Selection(turned.upper_place, turned.lower_place, turned.lines.reflected())
    return _of_maximum(op, boxes)


def _of_maximum(op: OrderStatistic, boxes: Sequence[Box]) -> Selection:
    lows = op.candidates([box.lower for box in boxes], -torch.inf)
    highs = op.candidates([box.upper for box in boxes], -torch.inf)
    least, most = (each.argmax(1, keepdim=True) for each in (lows, highs))
    lower, upper = (each.gather(1, most).squeeze(1) for each in (lows, highs))
    second = highs.scatter(1, most, -torch.inf).amax(1)
    crossing = ~(lower >= second)
    rest = torch.where(crossing, second, 0.0)
    steep = quotient(upper - rest, upper - lower, crossing)
    intercept = torch.maximum(rest - steep * lower, upper - steep * upper)
    size = rest.abs() + (1 + steep) * torch.maximum(lower.abs(), upper.abs())
    intercept = torch.where(crossing, intercept + slack(size), 0.0)
    zero = torch.zeros_like(lower)
    index = _places(op, boxes).expand_as(lows)
    first, last = (index.gather(1, each).squeeze(1) for each in (least, most))
    return Selection(first, last, Lines(zero + 1, zero, steep, intercept))


def parallel_selection(op: OrderStatistic, boxes: Sequence[Box]) -> Selection:
    """Lines of slope one in one input, the same for both; arguments as for `selection_of`."""
    if op.least:
        turned = _parallel_of_maximum(op, [Box(-box.upper, -box.lower) for box in boxes])
        return Selection(turned.upper_place, turned.lower_place, turned.lines.reflected())
    return _parallel_of_maximum(op, boxes)


def _parallel_of_maximum(op: OrderStatistic, boxes: Sequence[Box]) -> Selection:
    """The same for a maximum of candidates as `op` lists them."""
    lows = op.candidates([box.lower for box in boxes], -torch.inf)
    highs = op.candidates([box.upper for box in boxes], -torch.inf)
    best = lows.argmax(1, keepdim=True)
    lower = lows.gather(1, best).squeeze(1)
    second = highs.scatter(1, best, -torch.inf).amax(1)
    crossing = ~(lower >= second)
    rest = torch.where(crossing, second, 0.0)
    gap = rest - lower + slack(rest.abs() + lower.abs())
    place = _places(op, boxes).expand_as(lows).gather(1, best).squeeze(1)
    zero = torch.zeros_like(lower)
    gap = torch.where(crossing, gap, zero)
    return Selection(place, place, Lines(zero + 1, zero, zero + 1, gap))


def _places(op: OrderStatistic, boxes: Sequence[Box]) -> Tensor:
    """The places of all candidates, (1, k, *out); -1 for padding."""
    tables, start = [], 0
    for box in boxes:
        count = box.lower[0].numel()
        table = torch.arange(start, start + count, device=box.lower.device, dtype=torch.float64)
        tables.append(table.reshape(1, *box.lower.shape[1:]))
        start += count
    return op.candidates(tables, -1.0).long()


def scattered(rows: Tensor, places: Tensor, size: int) -> Tensor:
    """Rows over selected inputs as rows over all inputs: the transpose of the selection.

    Args:
        rows: coefficients of the lines, (N, *out).
        places: of the inputs of each row's image, (N, *out).
        size: how many numbers the inputs of one example have together.

    Returns:
        (N, size).
    """
    flat = rows.new_zeros(len(rows), size)
    return flat.scatter_add(1, places.flatten(1), rows.flatten(1))
