"""Substitutions measured from a reference, which lets float32 do the work of a proof.

Let r be any value of every node, and write z = r + e. A linear form of z is that form of r and the
same form of e, and e goes through the network as z does, without the biases:

    e_out = W e_in + (W r_in + b - r_out)
    a z + a0 <= op(z) <= d z + d0     gives     a e + (a r_in + a0 - r_out) <= e_out <= ...

With r the value at the center of the box of inputs, computed in float64 (the bracket of a linear
node is then rounding error), what is left to bound has the size of the boxes' widths. Rounding in
float32 moves it by a share of the *widths*, not of the values: with the radius of that (`noise.py`)
signs of units are proved at the speed of float32. With r_out in the middle of parallel lines, these
are a e -+ g with one table g, and the input's box is symmetric: no offsets, no centers. Intervals
of linear nodes are found in the same way.

What is cast to float32 is rounded outwards: boxes, and the intercepts, which also bear the change
of their slopes.

Source: centre and radius form of interval arithmetic (Rump 1999, BIT 39, sec 3); the lines of Wong
    and Kolter 2018 and Zhang et al. 2018.
"""

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from holdfast.certify.operators.constants import Values
from holdfast.certify.operators.lines import Lines
from holdfast.certify.operators.maximum_lines import Selection
from holdfast.certify.operators.ops import LinearMap, Node, OrderStatistic
from holdfast.certify.operators.structural import Add, Concatenate, Subtract
from holdfast.certify.rounding import Box, tiny, unit
from holdfast.certify.substitution.backward import lower
from holdfast.certify.substitution.noise import SHARE
from holdfast.certify.substitution.open_units import OpenUnits
from holdfast.certify.substitution.relaxed import Relaxed
from holdfast.certify.substitution.rows import Dense, Rows

_LINEAR = (LinearMap, Add, Subtract, Concatenate)
_EXTRA = 16
_OUTWARD = 2.0**-22
_FOLDED = 2.0**-48
_SMALL = 2.0**-100


@dataclass(frozen=True, eq=False)
class Symmetric:
    """A box of inputs around the reference.

    Args:
        spread: its radius, (B, *E).
    """

    spread: Tensor

    def ends(self, rows: Rows, image: Tensor, *, both: bool) -> tuple[Tensor, Tensor | None]:
        """The least and the greatest value of each row."""
        most = rows.sized(self.spread, image)
        return -most, most if both else None


@dataclass(frozen=True, eq=False)
class Centred:
    """Substitutions around a reference in a precision of their own, next to those around zero.

    Nodes are taken in one after another: `interval`, then `follow` once box and lines are known.

    Args:
        sources: the relaxations around zero, with parallel and with adaptive lines.
        reference: by place.
        boxes: by place, measured from the reference.
        fixed: the first source around the reference.
        adaptive: the second; its lines are made when they are asked for, by `adapt`.
        units: of ReLU nodes, by place.
        last: what `interval` has found and given, by place.
    """

    sources: tuple[Relaxed, Relaxed]
    reference: list[Tensor]
    boxes: list[Box]
    fixed: Relaxed
    adaptive: Relaxed
    units: dict[int, OpenUnits] = field(default_factory=dict)
    last: dict[int, tuple[Box, Box]] = field(default_factory=dict)

    @classmethod
    def start(
        cls, fixed: Relaxed, adaptive: Relaxed, values: Values, dtype: torch.dtype
    ) -> "Centred":
        """At the center of the box of inputs.

        Args:
            fixed: the relaxation with parallel lines, which are found later.
            adaptive: that with adaptive lines.
            values: the constants in the precision of the substitutions, which is
            dtype: float32, or that of the boxes.
        """
        box = fixed.boxes[0]
        center = box.lower / 2 + box.upper / 2
        radius = torch.maximum(box.upper - center, center - box.lower)
        spread = _above(radius, dtype) if fixed.rigorous else radius.to(dtype)
        reference, boxes = [center], [Box(-spread, spread)]
        sizes: dict[int, Tensor] = {}
        tables: dict[int, Tensor] = {}
        first, second = (
            replace(
                each,
                values=values,
                region=Symmetric(spread),
                boxes=boxes,
                lines={},
                sizes=sizes,
                tables=tables,
                selections={},
                reference=reference,
            )
            for each in (fixed, adaptive)
        )
        return cls((fixed, adaptive), reference, boxes, first, second)

    @property
    def raised(self) -> bool:
        """Whether the sources have more digits."""
        return self.boxes[0].lower.dtype != self.reference[0].dtype

    def at(self, place: int, image: Tensor, unit: Tensor) -> Tensor:
        """The reference of single units of a node, (N,)."""
        return self.reference[place].flatten(1)[image, unit]

    def interval(self, node: Node) -> Box | None:
        """The box of the next node from those before it, if it is a linear map or a joint."""
        if not isinstance(node.op, _LINEAR):
            return None
        inputs = [self.reference[index] for index in node.inputs]
        value = node.op.forward(inputs, self.sources[0].values)
        self.reference.append(value)
        found = self._image(node)
        folded = _FOLDED * value.abs() if self.fixed.rigorous else 0.0
        box = Box(value - folded + found.lower, value + folded + found.upper)
        self.last[node.place] = found, box
        return box

    def _image(self, node: Node) -> Box:
        """The box of a linear node, measured from the reference."""
        op, values = node.op, self.fixed.values
        boxes = [self.boxes[index] for index in node.inputs]
        if isinstance(op, Concatenate):
            return op.interval(boxes, values, rigorous=False)
        if not isinstance(op, LinearMap):
            result = op.interval(boxes, values, rigorous=False)
            if not self.fixed.rigorous:
                return result
            moved = sum(self._moved(node, index, 2) for index in range(len(boxes)))
            return Box(result.lower - moved, result.upper + moved)
        middle = (boxes[0].lower + boxes[0].upper) / 2
        around = torch.maximum(boxes[0].upper - middle, middle - boxes[0].lower)
        if self.fixed.rigorous:
            around = around + self._moved(node, 0, op.terms(values))
        center, spread = op.linear(middle, values), op.absolute(around, values)
        if self.fixed.rigorous:
            spread = spread + self._offset(node, op, values)
        return Box(center - spread, center + spread)

    def _moved(self, node: Node, which: int, terms: int) -> Tensor:
        """What rounding may move, as a move of what the node reads."""
        index = node.inputs[which]
        size = self.boxes[index].magnitude + self._share * self.reference[index].abs().to(
            self.boxes[0].lower
        )
        return 2.0 * (terms + _EXTRA) * unit(size.dtype) * size.detach()

    def _offset(self, node: Node, op: LinearMap, values: Values) -> Tensor | float:
        """What rounding may move on account of the offset, and by underflow."""
        like = self.boxes[node.inputs[0]].magnitude.detach()
        count = 2.0 * (op.terms(values) + _EXTRA)
        most = like.flatten(1).amax(1).view(-1, *(1,) * len(node.shape))
        floor = count * tiny(like.dtype) * (2.0 + most)
        size = op.offset_size(values)
        if size is None:
            return floor
        return floor + count * unit(like.dtype) * self._share * size.detach()

    @property
    def _share(self) -> float:
        return SHARE if self.raised else 1.0

    def follow(self, node: Node, units: OpenUnits | None) -> None:
        """Takes in the next node, whose box and lines are known.

        Args:
            units: of a ReLU node.
        """
        box = self.sources[0].boxes[node.place]
        found, given = self.last.pop(node.place, (None, None))
        if units is not None:
            self._opened(node, box, units)
            return
        if len(self.reference) == node.place:
            self.reference.append(self._value(node, box))
        if found is None or box is not given:
            found = self._box(box, self.reference[node.place])
        self.boxes.append(found)
        source = self.sources[0].lines
        if node.place in source:
            shifted = self._shifted(source[node.place], node)
            reach = self.boxes[node.inputs[0]].magnitude
            self.fixed.lines[node.place] = _symmetric(shifted, reach)
        if isinstance(node.op, OrderStatistic):
            chosen = self.sources[0].selection(node)
            self.fixed.selections[node.place] = self._selection(chosen, node)

    def _value(self, node: Node, box: Box) -> Tensor:
        """The reference of a node that is no linear map: the middle of its lines, or of its box."""
        source, inputs = self.sources[0], [self.reference[index] for index in node.inputs]
        if node.place in source.lines:
            lines = source.lines[node.place]
            middle = (lines.lower_intercept + lines.upper_intercept) / 2
            return lines.upper_slope * inputs[0] + middle
        return box.lower / 2 + box.upper / 2

    def _opened(self, node: Node, box: Box, units: OpenUnits) -> None:
        """Takes in a ReLU node: what it reads where it is on, zero where it is off."""
        read, at = node.inputs[0], units.index
        slope, intercept = units.fixed.upper_slope, units.fixed.upper_intercept
        middle = slope * self.reference[read][at] + intercept / 2
        value = units.put(torch.where(units.on, self.reference[read], 0.0), middle)
        mine = self._box(Box(*(end[at] for end in box)), middle)
        least, most = (torch.where(units.on, end, 0.0) for end in self.boxes[read])
        self.reference.append(value)
        self.boxes.append(Box(units.put(least, mine.lower), units.put(most, mine.upper)))
        self.units[node.place] = units
        reach = self.boxes[read].magnitude[at]
        lines = _symmetric(self._of_open(units.fixed, node), reach)
        like = least.detach()
        steep = units.put(units.on.to(like), lines.upper_slope)
        gap = units.put(torch.zeros_like(like), lines.upper_intercept)
        self.fixed.lines[node.place] = Lines(steep, -gap, steep, gap)

    def _of_open(self, lines: Lines, node: Node) -> Lines:
        """Lines (n,) of the open units of a ReLU node, measured from the reference."""
        at, read = self.units[node.place].index, node.inputs[0]
        reach = self.boxes[read].magnitude[at]
        return self._lines(lines, self.reference[read][at], reach, self.reference[node.place][at])

    def adapt(self) -> Relaxed:
        """The relaxation with adaptive lines, of all nodes that have been taken in."""
        source, mine = self.sources[1], self.adaptive
        for node in mine.graph.nodes[: len(self.boxes)]:
            if node.place in self.units and node.place not in mine.lines:
                units, fixed = self.units[node.place], self.fixed.lines[node.place]
                found = self._of_open(units.adaptive, node)
                below = units.put(fixed.upper_slope, found.lower_slope)
                start = torch.zeros_like(fixed.upper_intercept)
                intercept = units.put(start, found.lower_intercept)
                above = fixed.upper_slope, fixed.upper_intercept
                mine.lines[node.place] = Lines(below, intercept, *above)
            elif node.place in source.lines and node.place not in mine.lines:
                mine.lines[node.place] = self._shifted(source.lines[node.place], node)
            elif isinstance(node.op, OrderStatistic) and node.place not in mine.selections:
                mine.selections[node.place] = self._selection(source.selection(node), node)
        return mine

    def lower(self, rows: Tensor, image: Tensor, *, fixed: bool) -> Tensor:
        """Lower bounds (N,) of rows (N, K) over the output, each of one image."""
        relaxed, place = self.fixed if fixed else self.adapt(), len(self.boxes) - 1
        cast = rows.to(self.boxes[0].lower)
        value = self.reference[place].index_select(0, image)
        found = lower(relaxed, Dense(cast), image, place) + (rows * value).sum(1)
        if not relaxed.rigorous:
            return found
        reach = self.boxes[place].magnitude.index_select(0, image).to(rows)
        size = _FOLDED * (rows * value).abs() + (rows - cast.to(rows)).abs() * reach
        return found - 2.0 * size.sum(1)

    def _box(self, box: Box, value: Tensor) -> Box:
        """A box, measured from the reference."""
        least, most, dtype = box.lower - value, box.upper - value, self.boxes[0].lower.dtype
        if not self.fixed.rigorous:
            return Box(least.to(dtype), most.to(dtype))
        return Box(-_above(-least, dtype), _above(most, dtype))

    def _shifted(self, lines: Lines, node: Node) -> Lines:
        """The lines of a scalar node, measured from the reference of what it reads."""
        index = node.inputs[0]
        read, value = self.reference[index], self.reference[node.place]
        return self._lines(lines, read, self.boxes[index].magnitude, value)

    def _selection(self, found: Selection, node: Node) -> Selection:
        """The lines of an order statistic, each measured from the reference of its own input."""
        low, high, lines = found
        reaches = [self.boxes[index].magnitude.flatten(1) for index in node.inputs]
        reads = [self.reference[index].flatten(1) for index in node.inputs]
        value, parts = self.reference[node.place], []
        for places in (low, high):
            read, reach = (
                torch.cat(each, dim=1).gather(1, places.flatten(1)).view(places.shape)
                for each in (reads, reaches)
            )
            parts.append(self._lines(lines, read, reach, value))
        return Selection(low, high, Lines(*parts[0][:2], *parts[1][2:]))

    def _lines(self, lines: Lines, read: Tensor, reach: Tensor, value: Tensor) -> Lines:
        """Lines in a number whose reference is `read` and whose distance from it is at most
        `reach`, of a number whose reference is `value`."""
        dtype, ends = self.boxes[0].lower.dtype, []
        for slope, intercept, sign in ((*lines[:2], -1.0), (*lines[2:], 1.0)):
            cast, exact = slope.to(dtype), slope * read + intercept - value
            if self.fixed.rigorous:
                size = slope.abs() * read.abs() + value.abs() + intercept.abs()
                moved = (slope - cast.to(slope)).abs() * reach.to(slope) + _FOLDED * size
                ends += [cast, sign * _above(sign * exact + moved, dtype)]
            else:
                ends += [cast, exact.to(dtype)]
        return Lines(*ends)


def _symmetric(lines: Lines, reach: Tensor) -> Lines:
    """Parallel lines with intercepts of one size, which bears what their slopes may differ by."""
    apart = 2.0 * (lines.lower_slope - lines.upper_slope).abs() * reach
    most = torch.maximum(apart - lines.lower_intercept, lines.upper_intercept)
    return Lines(lines.upper_slope, -most, lines.upper_slope, most)


def _above(x: Tensor, dtype: torch.dtype) -> Tensor:
    """At least x, in another precision; zero stays zero."""
    outward = _OUTWARD if dtype != x.dtype else _FOLDED
    small = x.detach().abs() < _SMALL
    raised = torch.where(x > 0, _SMALL, 0.0).to(x)
    return torch.where(small, raised, x + outward * x.abs()).to(dtype)
