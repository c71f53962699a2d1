"""Rows over an image-shaped value that are zero outside of a crop.

A row that begins at one unit of a convolution sees a small part of the layers before it: `Window`
holds that crop, (N, C, h, w), and where it lies. All rows of a list begin at units of one node, so
that the corner of a row's crop is an affine function of its unit's position with coefficients that
all rows share:

    corner = position * stride - padding

A convolution with stride s, padding p, dilation d and kernel k pulls a crop back by a transposed
convolution without padding; h' = (h - 1) s + d (k - 1) + 1, stride' = s stride, padding' = s
padding + p. Small crops take the matrix of this map, which is the same for all rows: one product.
What lies outside the layer is multiplied with its zero padding, and is dropped. A crop that is as
large as the layer becomes dense, as it does before any operation that knows no windows.

Source: the pull is the transpose of Wong 2020, sec 3.4.2 (Cor. 3); the crops are ours.
"""

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from holdfast.certify.operators.affine import Convolution
from holdfast.certify.operators.constants import Values
from holdfast.certify.operators.ops import Node
from holdfast.certify.substitution.rows import (
    Dense,
    Memo,
    Rows,
    Shape,
    diagonal,
    lengths,
    product,
    sizes,
    transposed,
)

_MATRIX = 2**18


@dataclass(frozen=True, eq=False)
class Window:
    """Rows that are zero outside of a crop.

    Args:
        values: (N, C, h, w).
        position: (N,) the place of the row's unit in the lattice, row by row.
        lattice: the number of rows and columns of units.
        shape: (C, H, W) of the layer.
        stride: what the corner moves by from one unit to the next, in rows and columns.
        padding: how far the first crop begins before the layer.
        memo: matrices and crops that rows of the same network share, by what they belong to.
        inside: whether what lies outside of the layer has been dropped.
        kernels: where the rows are kernels of a convolution as they are: all kernels, one a row.
        channel: (N,) the kernel of each row.
    """

    values: Tensor
    position: Tensor
    lattice: tuple[int, int]
    shape: Shape
    memo: Memo
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    inside: bool = True
    kernels: Tensor | None = None
    channel: Tensor | None = None

    def of(self, values: Tensor) -> "Window":
        """Other coefficients in the same places, zero outside of the layer."""
        return replace(self, values=values, inside=True, kernels=None)

    def field(self, table: Tensor, image: Tensor) -> Tensor:
        """The crops of the table."""
        area = math.prod(self.lattice)
        image = image if len(table) > 1 else torch.zeros_like(image)
        count = len(table) * area * self.values[0].numel()
        if self.memo.room(table, self._geometry, count):
            flat = self.memo.laid_out(table, self._geometry, lambda: self._laid_out(table))
            found = flat.index_select(0, image * area + self.position)
        else:
            across = self.lattice[1]
            found = self._crops(table)[image, self.position // across, self.position % across]
        return found.view(self.values.shape)

    def times(self, table: Tensor, image: Tensor) -> Tensor:
        """The coefficients times the crops of the table."""
        return product(self.values, self.field(table, image))

    def twin(self, values: Tensor | None = None) -> "Window":
        """The rows twice."""
        own = torch.cat([self.values, -self.values]) if values is None else values
        position = torch.cat([self.position, self.position])
        inside = self.inside or values is not None
        return replace(self, values=own, position=position, inside=inside, kernels=None)

    def summed(self, table: Tensor, image: Tensor) -> Tensor:
        """The sum of c t over each row's coefficients; of kernels, all at once."""
        if not self._wide(table, image):
            return self.times(table, image).flatten(1).sum(1)
        return self._taken(table, image, absolute=False)

    def sized(self, table: Tensor, image: Tensor) -> Tensor:
        """The sum of |c| t; of kernels, all at once."""
        if not self._wide(table, image):
            return sizes(self.times(table, image))
        return self._taken(table, image, absolute=True)

    def _wide(self, table: Tensor, image: Tensor) -> bool:
        """Whether the rows are kernels, and enough to apply all of them everywhere."""
        every = len(table) * math.prod(self.lattice)
        return self.kernels is not None and 8 * len(image) >= every

    def _taken(self, table: Tensor, image: Tensor, *, absolute: bool) -> Tensor:
        """What the kernels give, or their absolute values."""
        kernels, area = self.kernels, math.prod(self.lattice)
        assert kernels is not None
        assert self.channel is not None
        weight = kernels.abs() if absolute else kernels
        key = self._geometry, id(kernels), absolute
        found = self.memo.crops(table, key, lambda: self._convolution(table, weight))
        image = image if len(table) > 1 else torch.zeros_like(image)
        return found.take((image * len(kernels) + self.channel) * area + self.position)

    def _convolution(self, table: Tensor, kernels: Tensor) -> Tensor:
        """The sums of all kernels over all crops of a table, (B, kernels, rows, columns)."""
        table = F.pad(table.expand(len(table), *self.shape), self._margin())
        weight = kernels.view(len(kernels), self.shape[0], *self.values.shape[2:])
        return F.conv2d(table, weight, None, self.stride)

    def length(self) -> Tensor:
        """The Euclidean length of each row; of kernels, those of all."""
        if self.kernels is None:
            return lengths(self.values)
        kernels = self.kernels
        assert self.channel is not None
        return self.memo.crops(kernels, "length", lambda: lengths(kernels))[self.channel]

    @property
    def _geometry(self) -> tuple[object, ...]:
        return self.values.shape[2:], self.lattice, self.stride, self.padding

    def _laid_out(self, table: Tensor) -> Tensor:
        """All crops of a table one after another, (B * units, C * h * w)."""
        return self._crops(table).flatten(3).flatten(0, 2)

    def _crops(self, table: Tensor) -> Tensor:
        """All crops of a table, (B, rows, columns, C, h, w), as a view."""
        size, margin = self.values.shape[2:], self._margin()
        table = F.pad(table.expand(len(table), *self.shape), margin)
        crops = table.unfold(2, size[0], self.stride[0]).unfold(3, size[1], self.stride[1])
        return crops.permute(0, 2, 3, 1, 4, 5)

    def _margin(self) -> list[int]:
        """What the crops of all units reach beyond the layer, for `pad`; the rest is cut off."""
        size, margin = self.values.shape[2:], []
        for axis in (1, 0):
            reach = (self.lattice[axis] - 1) * self.stride[axis] + size[axis]
            margin += [self.padding[axis], reach - self.padding[axis] - self.shape[1 + axis]]
        return margin

    def pulled(self, node: Node, shape: Shape, values: Values) -> Rows:
        """The rows over the input of a linear node; windows through convolutions and scales."""
        op, rows = node.op, self.clean()
        if isinstance(op, Convolution) and windowed(op, shape):
            return self._convolved(op, rows.values, shape, values)
        factor = diagonal(node, shape, rows.values, values)
        if factor is not None:
            return rows.of(rows.values * rows.field(factor, self.position))
        return rows.dense().pulled(node, shape, values)

    def _convolved(self, op: Convolution, rows: Tensor, shape: Shape, values: Values) -> Rows:
        weight = values[op.weight]
        size = rows.shape[1:]
        into = [
            (size[1 + axis] - 1) * op.stride[axis]
            + op.dilation[axis] * (weight.shape[2 + axis] - 1)
            + 1
            for axis in (0, 1)
        ]
        wide = math.prod(size) * shape[0] * math.prod(into)
        if wide <= min(_MATRIX, self.memo.most // 4) and len(rows) > math.prod(size):
            matrix = self.memo.matrix(weight, size, lambda: as_matrix(op, size, weight))
            pulled = (rows.flatten(1) @ matrix).view(-1, shape[0], *into)
        else:
            pulled = _spread(op, rows, weight)
        return self.moved(op, pulled, shape)

    def moved(self, op: Convolution, pulled: Tensor, shape: Shape) -> Rows:
        """Pulled crops in their place in the input, (*shape), of a convolution."""
        padding = op.padding
        assert not isinstance(padding, str)
        found = replace(
            self,
            values=pulled,
            shape=shape,
            stride=(self.stride[0] * op.stride[0], self.stride[1] * op.stride[1]),
            padding=(
                self.padding[0] * op.stride[0] + padding[0],
                self.padding[1] * op.stride[1] + padding[1],
            ),
            inside=False,
            kernels=None,
        )
        covers = pulled.shape[2] * pulled.shape[3] >= shape[1] * shape[2]
        return found.dense() if covers else found

    def clean(self) -> "Window":
        """The rows without what lies outside of the layer."""
        if self.inside:
            return self
        ones = self.memo.ones(self.values, self.shape)
        return self.of(self.values * self.field(ones, self.position))

    def dense(self) -> Dense:
        """The crops in whole layers of zeros."""
        found = self.values
        across = self.lattice[1]
        for axis, unit in enumerate((self.position // across, self.position % across)):
            size, length = found.shape[2 + axis], self.shape[1 + axis]
            corner = unit * self.stride[axis] - self.padding[axis]
            index = torch.arange(length, device=unit.device) - corner.unsqueeze(1)  # (N, length)
            index = torch.where((index < 0) | (index >= size), size, index)
            found = F.pad(found, (0, 0, 0, 1) if axis == 0 else (0, 1))
            index = index[:, None, :, None] if axis == 0 else index[:, None, None, :]
            wanted = list(found.shape)
            wanted[2 + axis] = length
            found = found.gather(2 + axis, index.expand(wanted))
        return Dense(found)


def added(first: Rows, second: Rows) -> Rows:
    """The sum of two lists of rows over one node: windows in their common window if they fit."""
    if isinstance(first, Window) and isinstance(second, Window) and first.stride == second.stride:
        return _joined(first.clean(), second.clean())
    return Dense(first.clean().dense().values + second.clean().dense().values)


def _joined(first: Window, second: Window) -> Rows:
    before = [max(first.padding[axis], second.padding[axis]) for axis in (0, 1)]
    after = [
        max(each.values.shape[2 + axis] - each.padding[axis] for each in (first, second))
        for axis in (0, 1)
    ]
    total = first.values.new_zeros(())
    for each in (first, second):
        margin: list[int] = []
        for axis in (1, 0):
            lead = before[axis] - each.padding[axis]
            reach = after[axis] + before[axis]
            margin += [lead, reach - lead - each.values.shape[2 + axis]]
        total = total + F.pad(each.values, margin)
    found = replace(first, values=total, padding=(before[0], before[1]))
    covers = total.shape[2] * total.shape[3] >= first.shape[1] * first.shape[2]
    return found.dense() if covers else found


def windowed(op: Convolution, shape: Shape) -> bool:
    """Whether windows pass a convolution from an input of this shape."""
    return len(shape) == 3 and not isinstance(op.padding, str)


def _spread(op: Convolution, rows: Tensor, weight: Tensor) -> Tensor:
    """The transposed convolution of crops, without padding."""
    reach = [
        (rows.shape[2 + axis] - 1) * op.stride[axis]
        + op.dilation[axis] * (weight.shape[2 + axis] - 1)
        + 1
        for axis in (0, 1)
    ]
    return transposed(op, rows, weight, (0, 0), tuple(reach))


def as_matrix(op: Convolution, size: Shape, weight: Tensor) -> Tensor:
    """The transposed convolution of crops of this size as a matrix, one row per coefficient."""
    count = math.prod(size)
    identity = torch.eye(count, dtype=weight.dtype, device=weight.device)
    return _spread(op, identity.view(count, *size), weight).flatten(1)
