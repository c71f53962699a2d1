"""A graph around a batch of images, with what is known of its nodes: where substitutions walk.

Source: Wong 2020, sec 3.4.1 (the dual network of any graph).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch
from torch import Tensor

from holdfast.certify.graphs.graph import Graph
from holdfast.certify.operators.constants import Values
from holdfast.certify.operators.lines import Lines
from holdfast.certify.operators.maximum_lines import Selection, selection_of
from holdfast.certify.operators.ops import Node, OrderStatistic
from holdfast.certify.rounding import Box
from holdfast.certify.substitution.noise import moved, noise
from holdfast.certify.substitution.rows import Memo, Rows
from holdfast.certify.substitution.units import Units


class Region(Protocol):
    """The set of inputs around each image."""

    def ends(self, rows: Rows, image: Tensor, *, both: bool) -> tuple[Tensor, Tensor | None]:
        """The least value of each row over the set of its image, and the greatest if wanted."""
        ...


@dataclass(frozen=True, eq=False)
class Relaxed:
    """A graph around a batch of images, with what is known of its nodes.

    Args:
        boxes: by place, of every node before the substitution's start.
        lines: by place, of scalar nodes.
        widths: the most numbers that a row holds on its way, by place and kind.
        sizes: by place, the noise of each image, (B, 2); filled as it is asked for.
        selections: by place, of order statistics; filled as they are asked for.
        memo: what windows share.
        reference: by place, a value of each node (B, *shape), from which all other numbers are
            measured; see `centred.py`. None measures from zero.
        tables: by place, the noise of single units; filled as it is asked for.
        moves: by place, what else may move a node's value, (B, *shape).
    """

    graph: Graph
    values: Values
    region: Region
    boxes: Sequence[Box]
    lines: dict[int, Lines]
    rigorous: bool
    widths: dict[object, int] = field(default_factory=dict)
    sizes: dict[int, Tensor] = field(default_factory=dict)
    selections: dict[int, Selection] = field(default_factory=dict)
    memo: Memo = field(default_factory=Memo)
    reference: Sequence[Tensor] | None = None
    tables: dict[int, Tensor] = field(default_factory=dict)
    moves: Mapping[int, Tensor] | None = None

    def chosen(self, index: Tensor) -> "Relaxed":
        """The same around some images (M,), which may be repeated."""

        def of(table: Tensor) -> Tensor:
            return table.index_select(0, index)

        moves = self.moves
        return replace(
            self,
            region=_Chosen(self.region, index),
            boxes=[Box(*map(of, box)) for box in self.boxes],
            lines={place: Lines(*map(of, lines)) for place, lines in self.lines.items()},
            sizes={},
            selections={},
            memo=Memo(most=self.memo.most),
            reference=None if self.reference is None else [of(each) for each in self.reference],
            tables={},
            moves=None if moves is None else {place: of(moves[place]) for place in moves},
        )

    def units(self, unit: Tensor, place: int) -> Units:
        """Rows of single units (N,) of a node."""
        one = torch.ones((), dtype=self.boxes[0].lower.dtype, device=unit.device)
        return Units(unit, self.graph.nodes[place].shape, one, self.memo)

    def bent(self, place: int) -> bool:
        """Whether all lower lines of a node go through zero, and none of the upper ones below it,
        as those of a ReLU."""
        lower, upper = self.lines[place].lower_intercept, self.lines[place].upper_intercept
        return bool(self.memo.crops(lower, "bent", lambda: ~(lower.any() | (upper < 0).any())))

    def selection(self, node: Node) -> Selection:
        """The lines of an order statistic."""
        if node.place not in self.selections:
            boxes = [self.boxes[index] for index in node.inputs]
            assert isinstance(node.op, OrderStatistic)
            self.selections[node.place] = selection_of(node.op, boxes)
        return self.selections[node.place]

    def steepest(self, place: int) -> Tensor:
        """The largest absolute slope of the lines of a node, (B,)."""
        lines = self.lines[place]
        return self.memo.crops(
            lines.upper_slope,
            "steepest",
            lambda: (
                torch.maximum(lines.lower_slope.abs(), lines.upper_slope.abs())
                .detach()
                .flatten(1)
                .amax(1)
                .double()
            ),
        )

    def moved(self, node: Node) -> Tensor:
        """What rounding may move at single units of a node, (B, *shape)."""
        if node.place not in self.tables:
            self.tables[node.place] = moved(self, node)
        return self.tables[node.place]

    def noise(self, node: Node) -> Tensor:
        """What rounding may move at a node, (B, 2); see `noise.py`."""
        if node.place not in self.sizes:
            self.sizes[node.place] = noise(self, node)
        return self.sizes[node.place]


@dataclass(frozen=True, eq=False)
class _Chosen:
    """A region around some of its images."""

    region: Region
    index: Tensor

    def ends(self, rows: Rows, image: Tensor, *, both: bool) -> tuple[Tensor, Tensor | None]:
        """The ends over the set of each row's image."""
        return self.region.ends(rows, self.index[image], both=both)
