"""Operations with weights: linear, convolutions, batch norm, product and sum with constants.

Weights are constants of the graph, looked up at every evaluation, so bounds are differentiable with
respect to the module's own parameters. Convolutions stay convolutions; nothing is made dense.

Source: Wong 2020, sec 3.4.2 (Cor. 3 and 7: linear layers, batch norm with fixed statistics); Gowal
    et al. 2018 for the interval rule.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from holdfast.certify.operators.constants import Constant, Values
from holdfast.certify.operators.ops import Affine


@dataclass(frozen=True)
class Linear(Affine):
    """A fully connected layer on the last axis; weight (out, in)."""

    weight: Constant
    bias: Constant | None = None

    def linear(self, x: Tensor, values: Values) -> Tensor:
        """W x."""
        return F.linear(x, values[self.weight])

    def absolute(self, x: Tensor, values: Values) -> Tensor:
        """|W| x."""
        return F.linear(x, values[self.weight].abs())

    def offset(self, values: Values) -> Tensor | None:
        """The bias (out,)."""
        return None if self.bias is None else values[self.bias]

    def terms(self, values: Values) -> int:
        """The number of inputs."""
        return values[self.weight].shape[1]

    def pull(self, rows: Tensor, values: Values, shape: tuple[int, ...]) -> Tensor:
        """Rows times W."""
        return rows @ values[self.weight]


_CONVOLUTIONS: dict[int, Callable[..., Tensor]] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_TRANSPOSED: dict[int, Callable[..., Tensor]] = {
    1: F.conv_transpose1d,
    2: F.conv_transpose2d,
    3: F.conv_transpose3d,
}


@dataclass(frozen=True)
class Convolution(Affine):
    """A convolution over one, two or three axes; weight (out, in/groups, *kernel)."""

    weight: Constant
    bias: Constant | None
    stride: tuple[int, ...]
    padding: tuple[int, ...] | str
    dilation: tuple[int, ...]
    groups: int

    def linear(self, x: Tensor, values: Values) -> Tensor:
        """W * x."""
        return self._convolve(x, values[self.weight])

    def absolute(self, x: Tensor, values: Values) -> Tensor:
        """|W| * x."""
        return self._convolve(x, values[self.weight].abs())

    def offset(self, values: Values) -> Tensor | None:
        """The bias (out, 1, ...)."""
        if self.bias is None:
            return None
        return values[self.bias].reshape(-1, *(1,) * self._axes(values))

    def terms(self, values: Values) -> int:
        """The number of weights of one output channel."""
        return values[self.weight][0].numel()

    def pull(self, rows: Tensor, values: Values, shape: tuple[int, ...]) -> Tensor:
        """The transposed convolution, up to the size of the input."""
        if isinstance(self.padding, str):
            return super().pull(rows, values, shape)
        weight = values[self.weight]
        sizes = zip(
            shape[1:],
            rows.shape[2:],
            weight.shape[2:],
            self.stride,
            self.padding,
            self.dilation,
            strict=True,
        )
        unread = [
            size - (out - 1) * stride + 2 * padding - dilation * (kernel - 1) - 1
            for size, out, kernel, stride, padding, dilation in sizes
        ]
        return _TRANSPOSED[len(unread)](
            rows, weight, None, self.stride, self.padding, unread, self.groups, self.dilation
        )

    def _axes(self, values: Values) -> int:
        return values[self.weight].ndim - 2

    def _convolve(self, x: Tensor, weight: Tensor) -> Tensor:
        convolve = _CONVOLUTIONS[weight.ndim - 2]
        return convolve(x, weight, None, self.stride, self.padding, self.dilation, self.groups)


@dataclass(frozen=True)
class TransposedConvolution(Affine):
    """The transpose of a convolution, plus a bias; weight (in, out/groups, *kernel)."""

    weight: Constant
    bias: Constant | None
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    output_padding: tuple[int, ...]
    groups: int
    dilation: tuple[int, ...]

    def linear(self, x: Tensor, values: Values) -> Tensor:
        """W^T * x."""
        return self._spread(x, values[self.weight])

    def absolute(self, x: Tensor, values: Values) -> Tensor:
        """|W|^T * x."""
        return self._spread(x, values[self.weight].abs())

    def offset(self, values: Values) -> Tensor | None:
        """The bias (out, 1, ...)."""
        if self.bias is None:
            return None
        return values[self.bias].reshape(-1, *(1,) * len(self.stride))

    def terms(self, values: Values) -> int:
        """At most the weights of one group that lead to one output channel."""
        return values[self.weight][:, 0].numel() // self.groups

    def _spread(self, x: Tensor, weight: Tensor) -> Tensor:
        spread = _TRANSPOSED[len(self.stride)]
        options = self.stride, self.padding, self.output_padding, self.groups, self.dilation
        return spread(x, weight, None, *options)


@dataclass(frozen=True)
class BatchNorm(Affine):
    """Batch norm with running statistics, axis 1: scale x + shift.

    scale = weight / sqrt(variance + eps) and shift = bias - mean scale are folded at every
    evaluation, from the live tensors.
    """

    weight: Constant | None
    bias: Constant | None
    mean: Constant
    variance: Constant
    eps: float
    axes: int

    def linear(self, x: Tensor, values: Values) -> Tensor:
        """The scaled input."""
        return x * self._scale(values)

    def absolute(self, x: Tensor, values: Values) -> Tensor:
        """The input times |scale|."""
        return x * self._scale(values).abs()

    def offset(self, values: Values) -> Tensor:
        """The shift (C, 1, ...)."""
        return self._bias(values) - self._column(values[self.mean]) * self._scale(values)

    def offset_size(self, values: Values) -> Tensor:
        """Both terms of the shift."""
        product = self._column(values[self.mean]) * self._scale(values)
        return self._bias(values).abs() + product.abs()

    def terms(self, values: Values) -> int:
        """Two products and a sum, each with up to four roundings of its factors."""
        return 12

    def pull(self, rows: Tensor, values: Values, shape: tuple[int, ...]) -> Tensor:
        """Rows times the scale."""
        return self.linear(rows, values)

    def _scale(self, values: Values) -> Tensor:
        deviation = (values[self.variance] + self.eps).sqrt()
        return self._column(_one(self.weight, values, deviation) / deviation)

    def _bias(self, values: Values) -> Tensor:
        mean = values[self.mean]
        return self._column(torch.zeros_like(mean) if self.bias is None else values[self.bias])

    def _column(self, vector: Tensor) -> Tensor:
        return vector.reshape(-1, *(1,) * self.axes)


def _one(weight: Constant | None, values: Values, like: Tensor) -> Tensor:
    return torch.ones_like(like) if weight is None else values[weight]


@dataclass(frozen=True)
class Scale(Affine):
    """Product with, or quotient by, a constant that broadcasts."""

    factor: Constant
    divide: bool = False

    def linear(self, x: Tensor, values: Values) -> Tensor:
        """The scaled input."""
        factor = values.floating(self.factor)
        return x / factor if self.divide else x * factor

    def absolute(self, x: Tensor, values: Values) -> Tensor:
        """The input scaled by the absolute value."""
        factor = values.floating(self.factor).abs()
        return x / factor if self.divide else x * factor

    def terms(self, values: Values) -> int:
        """One."""
        return 1


@dataclass(frozen=True)
class Shift(Affine):
    """Sum with, or difference from, a constant that broadcasts."""

    constant: Constant
    subtract: bool = False

    def linear(self, x: Tensor, values: Values) -> Tensor:
        """The input, in the shape of the sum."""
        shapes = x.shape, values[self.constant].shape
        return x.expand(torch.broadcast_shapes(*shapes))  # type: ignore[no-untyped-call]

    def absolute(self, x: Tensor, values: Values) -> Tensor:
        """The input, in the shape of the sum."""
        return self.linear(x, values)

    def offset(self, values: Values) -> Tensor:
        """The constant, with its sign."""
        constant = values.floating(self.constant)
        return -constant if self.subtract else constant

    def terms(self, values: Values) -> int:
        """One."""
        return 1


@dataclass(frozen=True)
class Padding(Affine):
    """Padding of the last axes by a constant number.

    Args:
        number: what stands in the padding.
        pads: before and after each axis, the last axis first; negative ones cut off.
        shape: of the input, without the batch axis.
    """

    number: Constant
    pads: tuple[int, ...]
    shape: tuple[int, ...]

    def linear(self, x: Tensor, values: Values) -> Tensor:
        """The input padded with zeros."""
        return F.pad(x, self.pads)

    def absolute(self, x: Tensor, values: Values) -> Tensor:
        """The same."""
        return F.pad(x, self.pads)

    def offset(self, values: Values) -> Tensor:
        """The number in the padding, zero elsewhere."""
        number = values.floating(self.number)
        return F.pad(number.new_zeros(self.shape), self.pads, value=1.0) * number

    def terms(self, values: Values) -> int:
        """One."""
        return 1
