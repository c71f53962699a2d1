"""Rows of coefficients over the value of a node, and whole rows.

A row is a linear form <c, z> of the value z of a node; a backward substitution carries many at a
time, each of some image of the batch. `Rows` is what it asks of them, whatever they hold: `Dense`
holds c whole, (N, *shape); see `windows.py` for rows that see a small part of a layer, and
`units.py` for rows that are one unit. `Memo` keeps what the rows of a batch share.

Source: the pull is the transpose of Wong 2020, sec 3.4.2 (Cor. 3, 4 and 7).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, Self

import torch
from torch import Tensor

from holdfast.certify.affine import BatchNorm, Convolution, Scale, Shift
from holdfast.certify.constants import Values
from holdfast.certify.ops import LinearMap, Node
from holdfast.certify.structural import Negate, Reshape

DIAGONAL = (BatchNorm, Negate, Scale, Shift)

Shape = tuple[int, ...]


class Memo:
    """What rows over one network share: matrices of convolutions, and tables laid out as crops.

    Args:
        matrices: of the same constants, which may be shared by several batches.
    """

    def __init__(self, matrices: dict[object, tuple[Tensor, Tensor]] | None = None):
        self._matrices = {} if matrices is None else matrices
        self._crops: dict[object, tuple[Tensor, Tensor]] = {}
        self._ones: dict[Shape, Tensor] = {}

    def matrix(self, weight: Tensor, size: object, make: Callable[[], Tensor]) -> Tensor:
        """The matrix of a weight for crops of a size."""
        return self._found(self._matrices, weight, size, make)

    def crops(self, table: Tensor, key: object, make: Callable[[], Tensor]) -> Tensor:
        """What was made of a table."""
        return self._found(self._crops, table, key, make)

    def ones(self, like: Tensor, shape: Shape) -> Tensor:
        """A table of ones, (1, *shape)."""
        if shape not in self._ones:
            self._ones[shape] = like.new_ones(1, *shape)
        return self._ones[shape]

    @staticmethod
    def _found(
        store: dict[object, tuple[Tensor, Tensor]],
        source: Tensor,
        key: object,
        make: Callable[[], Tensor],
    ) -> Tensor:
        name = (id(source), key)
        if name not in store:
            store[name] = source, make()  # the source is kept, so that its id stays its own
        return store[name][1]


class Rows(Protocol):
    """Coefficients of N rows over a node's value."""

    @property
    def values(self) -> Tensor:
        """The coefficients that are held, (N, ...)."""
        ...

    def of(self, values: Tensor) -> "Rows":
        """Other coefficients in the same places."""
        ...

    def field(self, table: Tensor, image: Tensor) -> Tensor:
        """A table (B, *shape) at the places of each row; zero outside of the layer.

        Args:
            image: (N,) the row of the table that each row reads.
        """
        ...

    def weighed(self, table: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        """The sums of c t and of |c t| over each row's coefficients, (N,), for a table t."""
        ...

    def pulled(self, node: Node, shape: Shape, values: Values) -> "Rows":
        """The rows over the input, of this shape, of a linear node whose value they are over."""
        ...

    def clean(self) -> "Rows":
        """The rows without what lies outside of the layer."""
        ...

    def dense(self) -> "Dense":
        """The rows as whole tensors."""
        ...


@dataclass(frozen=True, eq=False)
class Dense:
    """Rows as they are, (N, *shape)."""

    values: Tensor

    def of(self, values: Tensor) -> "Dense":
        """Other coefficients in the same places."""
        return Dense(values)

    def field(self, table: Tensor, image: Tensor) -> Tensor:
        """The table of each row's image; itself where all share one."""
        return table if len(table) == 1 else table.index_select(0, image)

    def weighed(self, table: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        """The sums of c t and of |c t| over each row's coefficients."""
        return sums(self.values * self.field(table, image))

    def pulled(self, node: Node, shape: Shape, values: Values) -> "Dense":
        """The rows over the input of a linear node."""
        op = node.op
        if isinstance(op, Reshape):
            return Dense(self.values.reshape(-1, *shape))
        factor = diagonal(node, shape, self.values, values)
        if factor is not None:
            return Dense(self.values * factor)
        if isinstance(op, Convolution) and not isinstance(op.padding, str):
            return Dense(_transposed(op, self.values, shape, values))
        assert isinstance(op, LinearMap)
        return Dense(op.pull(self.values, values, shape))

    def clean(self) -> Self:
        """Itself."""
        return self

    def dense(self) -> Self:
        """Itself."""
        return self


def sums(products: Tensor) -> tuple[Tensor, Tensor]:
    """The sum of each row's products, and that of their absolute values, (N,)."""
    flat = products.flatten(1)
    return flat.sum(1), flat.abs().sum(1)


def diagonal(node: Node, shape: Shape, like: Tensor, values: Values) -> Tensor | None:
    """The factors (1, *shape) of a linear map that scales each number by itself; else None."""
    if not isinstance(node.op, DIAGONAL) or node.shape != shape:
        return None
    return node.op.linear(like.new_ones(1, *shape), values)


def _transposed(op: Convolution, rows: Tensor, shape: Shape, values: Values) -> Tensor:
    """W^T rows over an input of this shape, without a forward pass."""
    weight = values[op.weight]
    origin = rows.new_zeros(1).expand(len(rows), *shape)
    pulled: Tensor = torch.ops.aten.convolution_backward(
        rows,
        origin,
        weight,
        None,
        op.stride,
        op.padding,
        op.dilation,
        False,
        [0] * len(op.stride),
        op.groups,
        [True, False, False],
    )[0]
    return pulled
