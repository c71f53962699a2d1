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
import torch.nn.functional as F
from torch import Tensor

from holdfast.certify.operators.affine import BatchNorm, Convolution, Scale, Shift
from holdfast.certify.operators.constants import Values
from holdfast.certify.operators.ops import LinearMap, Node
from holdfast.certify.operators.structural import Negate, Reshape

_CHANNELS = 16
DIAGONAL = (BatchNorm, Negate, Scale, Shift)

Shape = tuple[int, ...]


class Memo:
    """What rows over one network share: matrices of convolutions, and tables laid out as crops.

    Args:
        matrices: of the same constants, which may be shared by several batches.
        most: how many numbers the tables laid out as crops may hold, in all.
    """

    def __init__(
        self,
        matrices: dict[object, tuple[Tensor, Tensor]] | None = None,
        most: int = 2**22,
    ):
        self.most, self._laid_out = most, 0
        self._matrices = {} if matrices is None else matrices
        self._crops: dict[object, tuple[Tensor, Tensor]] = {}
        self._ones: dict[Shape, Tensor] = {}

    def matrix(self, weight: Tensor, size: object, make: Callable[[], Tensor]) -> Tensor:
        """The matrix of a weight for crops of a size."""
        return self._found(self._matrices, weight, size, make)

    def crops(self, table: Tensor, key: object, make: Callable[[], Tensor]) -> Tensor:
        """What was made of a table."""
        return self._found(self._crops, table, key, make)

    def laid_out(self, table: Tensor, key: object, make: Callable[[], Tensor]) -> Tensor:
        """A table laid out as crops; `room` says whether there is room for it."""
        before = len(self._crops)
        found = self._found(self._crops, table, key, make)
        self._laid_out += found.numel() if len(self._crops) > before else 0
        return found

    def room(self, table: Tensor, key: object, count: int) -> bool:
        """Whether a table is laid out, or may be with this many numbers."""
        return (id(table), key) in self._crops or self._laid_out + count <= self.most

    def forget(self) -> None:
        """Drops what was made of tables."""
        self._crops.clear()
        self._laid_out = 0

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

    def times(self, table: Tensor, image: Tensor) -> Tensor:
        """The coefficients times a table."""
        ...

    def twin(self, values: Tensor | None = None) -> "Rows":
        """The rows twice, with these coefficients (2 N, ...), or their own and these negated."""
        ...

    def summed(self, table: Tensor, image: Tensor) -> Tensor:
        """The sum of c t over each row's coefficients, (N,), for a table t."""
        ...

    def sized(self, table: Tensor, image: Tensor) -> Tensor:
        """The sum of |c| t, for a table that is not negative."""
        ...

    def length(self) -> Tensor:
        """The Euclidean length of each row, (N,), without a gradient."""
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

    def times(self, table: Tensor, image: Tensor) -> Tensor:
        """The coefficients times the table."""
        if len(table) == 1:
            return self.values * table
        return product(self.values, table.index_select(0, image))

    def twin(self, values: Tensor | None = None) -> "Dense":
        """The rows twice."""
        return Dense(torch.cat([self.values, -self.values]) if values is None else values)

    def summed(self, table: Tensor, image: Tensor) -> Tensor:
        """The sum of c t over each row's coefficients."""
        return self.times(table, image).flatten(1).sum(1)

    def sized(self, table: Tensor, image: Tensor) -> Tensor:
        """The sum of |c| t."""
        return sizes(self.times(table, image))

    def length(self) -> Tensor:
        """The Euclidean length of each row."""
        return lengths(self.values)

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


def product(values: Tensor, fresh: Tensor) -> Tensor:
    """The product of coefficients and a tensor that nothing else refers to."""
    return values * fresh if torch.is_grad_enabled() else fresh.mul_(values)


def sizes(products: Tensor) -> Tensor:
    """The sum of the absolute values of each row, (N,)."""
    return torch.linalg.vector_norm(products.flatten(1), ord=1, dim=1)


def lengths(values: Tensor) -> Tensor:
    """The Euclidean length of each row, (N,), without a gradient."""
    return torch.linalg.vector_norm(values.detach().flatten(1), dim=1)


def diagonal(node: Node, shape: Shape, like: Tensor, values: Values) -> Tensor | None:
    """The factors (1, *shape) of a linear map that scales each number by itself; else None."""
    if not isinstance(node.op, DIAGONAL) or node.shape != shape:
        return None
    return node.op.linear(like.new_ones(1, *shape), values)


def _transposed(op: Convolution, rows: Tensor, shape: Shape, values: Values) -> Tensor:
    """W^T rows over an input of this shape, without a forward pass."""
    if len(op.stride) != 2:
        return op.pull(rows, values, shape)
    weight, padding = values[op.weight], op.padding
    assert not isinstance(padding, str)
    return transposed(op, rows, weight, padding, shape[1:])


def transposed(
    op: Convolution, rows: Tensor, weight: Tensor, padding: tuple[int, ...], size: Shape
) -> Tensor:
    """The transposed convolution of rows (N, C, h, w), up to an image of this size.

    On a CPU the kernels for float32 are slow where channels are few: with one or two, a product
    and a sum over the overlapping patches are faster, with less than sixteen, channels that lie
    side by side.
    """
    few = min(weight.shape[0], weight.shape[1] * op.groups)
    if rows.device.type == "cpu" and rows.dtype == torch.float32 and few < _CHANNELS:
        if few <= 2 and op.groups == 1:
            patches = weight.flatten(1).T @ rows.flatten(2)
            taps = weight.shape[2:]
            return F.fold(patches, size, taps, op.dilation, padding, op.stride)
        rows = rows.contiguous(memory_format=torch.channels_last)
    if rows.dtype == torch.float64:
        return _by_backward(op, rows, weight, padding, size)
    unread = [
        size[axis]
        - (rows.shape[2 + axis] - 1) * op.stride[axis]
        + 2 * padding[axis]
        - op.dilation[axis] * (weight.shape[2 + axis] - 1)
        - 1
        for axis in (0, 1)
    ]
    found = F.conv_transpose2d(
        rows, weight, None, op.stride, padding, unread, op.groups, op.dilation
    )
    return found.contiguous()


def _by_backward(
    op: Convolution, rows: Tensor, weight: Tensor, padding: tuple[int, ...], size: Shape
) -> Tensor:
    """The same as the gradient of a convolution, the faster kernel in float64."""
    origin = rows.new_zeros(1).expand(len(rows), weight.shape[1] * op.groups, *size)
    kernel = torch.ops.aten.convolution_backward
    wanted, none = [True, False, False], [0, 0]
    stride, dilation = op.stride, op.dilation
    pulled: Tensor = kernel(
        rows, origin, weight, None, stride, padding, dilation, False, none, op.groups, wanted
    )[0]
    return pulled
