"""What ties the open units of a nonlinear node to what they read: lines, or lines and choices.

For a linear programme an open unit y = op(z) lies between lines (`relaxation.py`), those at both
ends of their range of slopes: around a ReLU with l < 0 < u they are the triangle

    y >= 0,   y >= z,   y <= u (z - l) / (u - l),

around a leaky ReLU or a clamp its convex hull, around a sigmoid the lines that CROWN has for it.
A maximum y of x_1 .. x_k, m the largest lower end, u_1 the largest upper end, c the next one:

    y >= x_i,   y <= m + sum_i (u_i - m) / (u_i - l_i) (x_i - l_i),
    y <= c + (u_1 - c) / (u_1 - l_1) (x_1 - l_1)

which is the convex hull for k = 2. The exact encoding has binaries. Left of a bend at (p, q) an
operation has slope s, right of it t, and with a binary b that is 1 on the right, if s <= t

    y >= q + s (z - p),   y <= q + s (z - p) + b (t - s) (u - p),
    y >= q + t (z - p),   y <= q + t (z - p) + (1 - b) (t - s) (p - l)

with all signs turned if s > t; for a ReLU this is the formulation of Tjeng et al. A clamp with both
bends inside has two binaries; a maximum has one for each input, which add up to 1.

Source: Ehlers 2017 (Planet), arXiv 1705.01320; Wong 2020, Eq. 3.4; Tjeng et al. 2019, arXiv
    1711.07356, Eq. 5-6 and sec 4.1.
Departure: Tjeng et al. bound a maximum by the largest upper end of all others.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from holdfast.certify.graphs.graph import Graph
from holdfast.certify.operators.activations import LeakyReLU, SShaped
from holdfast.certify.operators.lines import quotient
from holdfast.certify.operators.ops import Input, Joint, LinearMap, Op, OrderStatistic
from holdfast.certify.operators.relaxation import lines_of
from holdfast.certify.operators.structural import Clamp, ReLU
from holdfast.certify.rounding import Box, radius
from holdfast.core.errors import CaptureError

_PIECES = ReLU | LeakyReLU | Clamp
Fresh = Callable[[int], Tensor]
Term = tuple[Tensor, Tensor | float]


@dataclass(frozen=True, eq=False)
class Block:
    """Rows of one pattern: lower <= sum_j values_j column_j <= upper.

    Args:
        columns: (m, k) numbers of columns; -1 for none.
        values: (m, k).
        lower: (m,), or -inf.
        upper: (m,), or inf.
    """

    columns: Tensor
    values: Tensor
    lower: Tensor
    upper: Tensor

    @classmethod
    def above(cls, terms: Sequence[Term], least: Tensor) -> "Block":
        """sum of value times column >= least (m,), for terms of columns (m,) and values."""
        columns = torch.stack([column for column, _ in terms], 1)
        values = [torch.as_tensor(value, dtype=least.dtype).expand_as(least) for _, value in terms]
        return cls(columns, torch.stack(values, 1), least, torch.full_like(least, torch.inf))

    @classmethod
    def below(cls, terms: Sequence[Term], most: Tensor) -> "Block":
        """sum of value times column <= most (m,)."""
        rows = cls.above(terms, most)
        return cls(rows.columns, rows.values, -rows.upper, most)

    def mirrored(self, count: int) -> "Block":
        """The rows that hold for the negated columns if these hold for the columns.

        Args:
            count: columns from this number on are not negated.
        """
        values = torch.where(self.columns < count, -self.values, self.values)
        return Block(self.columns, values, self.lower, self.upper)

    def only(self, where: Tensor) -> "Block":
        """Some of the rows."""
        return Block(*(each[where] for each in vars(self).values()))


def between_lines(op: Op, box: Box, own: Box, y: Tensor, z: Tensor) -> list[Block]:
    """The lines around open units of a scalar operation; none if it has no rule.

    Args:
        box: of what they read, (m,).
        own: their own, (m,), which makes level lines unnecessary.
        y: the columns of the units, (m,).
        z: the columns of what they read, (m,).
    """
    try:
        tables = [lines_of(op, box, slope=torch.full_like(box.lower, at)) for at in (0.0, 1.0)]
        if isinstance(op, SShaped):
            tables.append(lines_of(op, box))
    except CaptureError:
        return []
    blocks = []
    for index, (low, below, high, above) in enumerate(tables):
        under = ~((low == 0) & (below <= own.lower))
        over = ~((high == 0) & (above >= own.upper))
        for other in tables[:index]:
            under &= ~((other[0] == low) & (other[1] == below))
            over &= ~((other[2] == high) & (other[3] == above))
        blocks.append(Block.above([(y, 1.0), (z, -low)], below).only(under))
        blocks.append(Block.below([(y, 1.0), (z, -high)], above).only(over))
    return blocks


def by_pieces(op: Op, box: Box, own: Box, y: Tensor, z: Tensor, fresh: Fresh) -> list[Block]:
    """The exact encoding of open units of a piecewise linear operation.

    Args:
        box, own, y, z: as for `between_lines`.
        fresh: makes columns of binaries, as many as it is asked for.
    """
    if isinstance(op, ReLU | LeakyReLU):
        left = op.slope if isinstance(op, LeakyReLU) else 0.0
        bend = box.lower.new_tensor([0.0, 0.0, left, 1.0]).expand(len(y), 4)
        return _bent(box, y, z, fresh(len(y)), bend)
    assert isinstance(op, Clamp)
    least, most = (end if end is not None else 0.0 for end in (op.low, op.high))
    under = torch.full_like(z, op.low is not None).bool() & ~(box.lower >= least)
    over = torch.full_like(z, op.high is not None).bool() & ~(box.upper <= most)
    bend = box.lower.new_tensor([[most, most, 1.0, 0.0], [least, least, 0.0, 1.0]])
    one = under ^ over
    part = Box(*(end[one] for end in box))
    blocks = _bent(part, y[one], z[one], fresh(int(one.sum())), bend[under[one].long()])
    part, own = (Box(*(end[~one] for end in each)) for each in (box, own))
    lines = between_lines(op, part, own, y[~one], z[~one])
    return blocks + lines + _clamped(part, y[~one], z[~one], fresh, (least, most))


def check_pieces(graph: Graph) -> None:
    """Raises CaptureError unless every node of a graph is made of straight pieces."""
    for node in graph.nodes:
        if not isinstance(node.op, Input | LinearMap | Joint | OrderStatistic | _PIECES):
            where = f" in {node.where}" if node.where else ""
            raise CaptureError(
                f"{type(node.op).__name__}{where} is not piecewise linear, so no mixed-integer "
                "programme is exact; use lp"
            )


def _bent(box: Box, y: Tensor, z: Tensor, b: Tensor, bend: Tensor) -> list[Block]:
    """Units with one bend (p, q), slope s on the left and t on the right; bend (m, 4)."""
    p, q, s, t = bend.unbind(1)
    left, right = (t - s) * (p - box.lower), (t - s) * (box.upper - p)
    rows = [
        Block.above([(y, 1.0), (z, -s)], q - s * p),
        Block.above([(y, 1.0), (z, -t)], q - t * p),
        Block.below([(y, 1.0), (z, -s), (b, -right)], q - s * p),
        Block.below([(y, 1.0), (z, -t), (b, left)], q - t * p + left),
    ]
    return [_exchanged(block, t < s) for block in rows]


def _exchanged(block: Block, where: Tensor) -> Block:
    """The rows with >= for <=, and <= for >=, where wanted."""
    least, most = block.lower.isfinite(), block.upper.isfinite()
    lower = torch.where(where & most, block.upper, torch.where(where, -torch.inf, block.lower))
    upper = torch.where(where & least, block.lower, torch.where(where, torch.inf, block.upper))
    return Block(block.columns, block.values, lower, upper)


def _clamped(
    box: Box, y: Tensor, z: Tensor, fresh: Fresh, limits: tuple[float, float]
) -> list[Block]:
    """Units of a clamp with both bends inside: one binary says z >= low, the other z >= high."""
    low, high = (torch.full_like(box.lower, limit) for limit in limits)
    first, second = fresh(len(y)), fresh(len(y))
    gap = high - low
    return [
        Block.below([(y, 1.0), (first, -gap)], low),
        Block.above([(y, 1.0), (z, -1.0), (second, box.upper - high)], torch.zeros_like(low)),
        Block.below([(y, 1.0), (z, -1.0), (first, low - box.lower)], low - box.lower),
        Block.above([(y, 1.0), (second, -gap)], low),
    ]


def largest(lows: Tensor, highs: Tensor, y: Tensor, x: Tensor) -> list[Block]:
    """The planes around maxima that are open.

    Args:
        lows: lower ends of the candidates, (m, k).
        highs: upper ends, (m, k).
        y: the columns of the maxima, (m,).
        x: the columns of the candidates, (m, k); -1 for one that is none.
    """
    there = x >= 0
    top = torch.where(there, highs, -torch.inf)
    least = torch.where(there, lows, -torch.inf).amax(1)
    moves = there & (top > lows)
    slope = quotient(top - least.unsqueeze(1), top - lows, moves).clamp(0.0, 1.0)
    slope = torch.where(moves, slope, 0.0)
    reach = torch.where(there, torch.maximum(lows.abs(), highs.abs()), 0.0)
    size = least.abs() + ((1 + slope) * reach).sum(1)
    level = least - torch.where(there, slope * lows, 0.0).sum(1)
    plane = _joined(y, x, -slope, level + radius(2 * x.shape[1] + 16, size))
    return [*_at_least_each(y, x), plane, _chord(lows, top, y, x)]


def by_choice(lows: Tensor, highs: Tensor, y: Tensor, x: Tensor, fresh: Fresh) -> list[Block]:
    """The exact encoding of maxima that are open; arguments as for `largest` and `by_pieces`."""
    there = x >= 0
    top = torch.where(there, highs, -torch.inf)
    chosen = torch.full_like(x, -1)
    chosen[there] = fresh(int(there.sum()))
    blocks = largest(lows, highs, y, x)
    for i in range(x.shape[1]):
        mine = there[:, i]
        room = torch.where(mine, _next(top, i) - lows[:, i], 0.0)
        rows = Block.below([(y, 1.0), (x[:, i], -1.0), (chosen[:, i], room)], room)
        blocks.append(rows.only(mine))
    one = torch.ones_like(top[:, 0])
    return [*blocks, Block(chosen, torch.ones_like(top), one, one)]


def _at_least_each(y: Tensor, x: Tensor) -> list[Block]:
    """y >= x_i."""
    zero = torch.zeros_like(y, dtype=torch.float64)
    each = (Block.above([(y, 1.0), (x[:, i], -1.0)], zero) for i in range(x.shape[1]))
    return [block.only(x[:, i] >= 0) for i, block in enumerate(each)]


def _joined(y: Tensor, x: Tensor, values: Tensor, most: Tensor) -> Block:
    """y + sum_i values_i x_i <= most."""
    columns = torch.cat([y.unsqueeze(1), x], 1)
    values = torch.cat([torch.ones_like(values[:, :1]), values], 1)
    return Block(columns, values, torch.full_like(most, -torch.inf), most)


def _chord(lows: Tensor, top: Tensor, y: Tensor, x: Tensor) -> Block:
    """y below the chord of max(x_1, c), with x_1 the candidate that reaches farthest."""
    upper, first = top.max(1, keepdim=True)
    lower = lows.gather(1, first).squeeze(1)
    upper, rest = upper.squeeze(1), top.scatter(1, first, -torch.inf).amax(1)
    steep = quotient(upper - rest, upper - lower, upper > lower).clamp(0.0, 1.0)
    above = torch.maximum(rest - steep * lower, upper - steep * upper)
    size = rest.abs() + (1 + steep) * torch.maximum(lower.abs(), upper.abs())
    column = x.gather(1, first).squeeze(1)
    return Block.below([(y, 1.0), (column, -steep)], above + radius(16, size))


def _next(top: Tensor, i: int) -> Tensor:
    """The largest of all columns but one."""
    rest = top.clone()
    rest[:, i] = -torch.inf
    return rest.amax(1)
