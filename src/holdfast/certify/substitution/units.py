"""Rows that are one unit of a node each: how the bounds of a layer begin.

Before their first pull they hold no coefficients: a pull only selects rows of weights.

Source: the identity that Wong 2020, Alg. 1 and Zhang et al. 2018 begin with, for some units only.
"""

import math
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from holdfast.certify.operators.affine import Convolution, Linear
from holdfast.certify.operators.constants import Values
from holdfast.certify.operators.ops import Node
from holdfast.certify.substitution.rows import Dense, Memo, Rows, Shape
from holdfast.certify.substitution.windows import Window, as_matrix, windowed


@dataclass(frozen=True, eq=False)
class Units:
    """Rows that are one unit each.

    Args:
        unit: (N,) the unit's place in the flat value of the node.
        shape: of the node's value.
        one: a tensor of the dtype that holds 1.
        memo: what the rows' windows share.
        sign: the coefficient of every unit, 1 or -1.
    """

    unit: Tensor
    shape: Shape
    one: Tensor
    memo: Memo
    sign: float = 1.0

    @property
    def values(self) -> Tensor:
        """The coefficients, (N, 1)."""
        return (self.sign * self.one).expand(len(self.unit), 1)

    def negated(self) -> "Units":
        """The rows with the opposite sign."""
        return replace(self, sign=-self.sign)

    def of(self, values: Tensor) -> Rows:
        """Other coefficients of the same units."""
        return self.opened(values)

    def field(self, table: Tensor, image: Tensor) -> Tensor:
        """The table at the units, (N, 1)."""
        flat = table.expand(len(table), *self.shape).flatten(1)
        return (flat[image, self.unit] if len(flat) > 1 else flat[0, self.unit]).unsqueeze(1)

    def times(self, table: Tensor, image: Tensor) -> Tensor:
        """The coefficients times the table at the units."""
        return self.values * self.field(table, image)

    def twin(self, values: Tensor | None = None) -> Rows:
        """The rows twice, opened."""
        if values is None:
            return self.opened(self.values).twin()
        return replace(self, unit=torch.cat([self.unit, self.unit])).opened(values)

    def summed(self, table: Tensor, image: Tensor) -> Tensor:
        """The table at the units, with their sign."""
        return self.times(table, image).squeeze(1)

    def sized(self, table: Tensor, image: Tensor) -> Tensor:
        """The absolute value of the table at the units."""
        return self.field(table, image).squeeze(1).abs()

    def length(self) -> Tensor:
        """1 each."""
        return self.one.expand(len(self.unit))

    def pulled(self, node: Node, shape: Shape, values: Values) -> Rows:
        """The rows over the input of a linear node: rows of its weights."""
        op = node.op
        if isinstance(op, Linear) and len(self.shape) == 1:
            return Dense(values[op.weight].index_select(0, self.unit) * self.sign)
        if isinstance(op, Convolution) and windowed(op, shape):
            return self._kernels(op, shape, values)
        return self.opened(self.values).pulled(node, shape, values)

    def _kernels(self, op: Convolution, shape: Shape, values: Values) -> Rows:
        weight, size = values[op.weight], (self.shape[0], 1, 1)
        kernels = self.memo.matrix(
            weight, (*size, self.sign), lambda: self.sign * as_matrix(op, size, weight)
        )
        channel = self.unit // math.prod(self.shape[1:])
        pulled = kernels.index_select(0, channel)
        into = [op.dilation[axis] * (weight.shape[2 + axis] - 1) + 1 for axis in (0, 1)]
        found = self._window(self.values).moved(op, pulled.view(-1, shape[0], *into), shape)
        return replace(found, kernels=kernels, channel=channel) if type(found) is Window else found

    def _window(self, values: Tensor) -> Window:
        lattice = self.shape[1:]
        position = self.unit % math.prod(lattice)
        return Window(values, position, (lattice[0], lattice[1]), self.shape, self.memo)

    def opened(self, values: Tensor) -> Rows:
        """The rows with these coefficients (N, 1) as windows of one place where the value is an
        image, else dense."""
        if len(self.shape) != 3:
            return self._whole(values)
        channel = (self.unit // math.prod(self.shape[1:])).unsqueeze(1)
        single = values.new_zeros(len(values), self.shape[0]).scatter(1, channel, values)
        return self._window(single.view(*single.shape, 1, 1))

    def clean(self) -> Self:
        """Itself."""
        return self

    def dense(self) -> Dense:
        """Whole tensors with a single coefficient each."""
        return self._whole(self.values)

    def _whole(self, values: Tensor) -> Dense:
        flat = values.new_zeros(len(values), math.prod(self.shape))
        return Dense(flat.scatter(1, self.unit.unsqueeze(1), values).view(-1, *self.shape))
