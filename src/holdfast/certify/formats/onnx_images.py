"""Rules for the ONNX operators on images: convolution, pooling, batch norm, padding.

Their input has shape (1, channels, ...), the one being the batch. Pads are those of the file or
follow from `auto_pad`: for an axis of n numbers, stride s and a window that spans k, SAME pads
max(0, (ceil(n/s) - 1) s + k - n) in all.

Source: the ONNX operator specification, operator sets 7 to 21.
Departures: pads of a MaxPool that differ from side to side only where they make a shorter window.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from holdfast.certify.formats.onnx_values import OnnxCall, Shape, Value, settled

_CONVOLUTIONS: dict[int, Callable[..., Tensor]] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_TRANSPOSED: dict[int, Callable[..., Tensor]] = {
    1: F.conv_transpose1d,
    2: F.conv_transpose2d,
    3: F.conv_transpose3d,
}
_MAX_POOLS: dict[int, Callable[..., Tensor]] = {1: F.max_pool1d, 2: F.max_pool2d}
_AVERAGE_POOLS: dict[int, Callable[..., Tensor]] = {1: F.avg_pool1d, 2: F.avg_pool2d}


def convolution(call: OnnxCall) -> Value:
    """Rule of Conv."""
    weight = call.known(1, "weight").tensor
    bias = None if call[2] is None else call.known(2, "bias").tensor
    axes = weight.ndim - 2
    x, convolve = _image(call, axes), _CONVOLUTIONS[axes]
    stride, dilation = _per_axis(call, "strides", axes), _per_axis(call, "dilations", axes)
    pads = _pads(call, x, tuple(weight.shape[2:]), stride, dilation)
    padding = pads[:axes]
    if pads[axes:] != padding:
        x, padding = F.pad(x, _torch_pads(pads)), (0,) * axes
    groups = int(call.attribute("group", 1))
    return Value(convolve(x, weight, bias, stride, padding, dilation, groups), True)


def transposed_convolution(call: OnnxCall) -> Value:
    """Rule of ConvTranspose: computed without pads, which are then cut off."""
    weight = call.known(1, "weight").tensor
    bias = None if call[2] is None else call.known(2, "bias").tensor
    axes = weight.ndim - 2
    x = _image(call, axes)
    if axes not in _TRANSPOSED or call.attribute("output_shape", None):
        call.refuse("an output shape, or more than three axes, are not supported")
    if call.attribute("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID", b""):
        call.refuse("its pads must be numbers")
    stride, dilation = _per_axis(call, "strides", axes), _per_axis(call, "dilations", axes)
    more = tuple(int(each) for each in call.attribute("output_padding", (0,) * axes))
    pads = tuple(int(each) for each in call.attribute("pads", (0,) * (2 * axes)))
    groups = int(call.attribute("group", 1))
    padding = pads[:axes] if pads[:axes] == pads[axes:] else (0,) * axes
    result = _TRANSPOSED[axes](x, weight, bias, stride, padding, more, groups, dilation)
    if padding != pads[:axes]:
        for axis in range(axes):
            end = result.shape[2 + axis] - pads[axes + axis]
            result = torch.ops.aten.slice.Tensor(result, 2 + axis, pads[axis], end, 1)
    return Value(result, True)


def _image(call: OnnxCall, axes: int) -> Tensor:
    """The input (B, C, ...) of a convolution or pooling over some axes."""
    if not call.x.led or len(call.x.shape) != axes + 2 or axes not in _CONVOLUTIONS:
        call.refuse(f"its input has shape {call.x.shape}, not (1, channels, ...)")
    return call.x.tensor


def _per_axis(call: OnnxCall, name: str, axes: int) -> Shape:
    return tuple(int(each) for each in call.attribute(name, (1,) * axes))


def _pads(call: OnnxCall, x: Tensor, kernel: Shape, stride: Shape, dilation: Shape) -> Shape:
    """Padding of each axis, all the beginnings first, then all the ends."""
    mode, axes = call.attribute("auto_pad", b"NOTSET"), len(kernel)
    if mode in (b"NOTSET", b""):
        return tuple(int(each) for each in call.attribute("pads", (0,) * (2 * axes)))
    if mode == b"VALID":
        return (0,) * (2 * axes)
    spans = zip(x.shape[2:], kernel, stride, dilation, strict=True)
    total = [max(0, (-(-n // s) - 1) * s + (k - 1) * d + 1 - n) for n, k, s, d in spans]
    small, large = tuple(t // 2 for t in total), tuple(t - t // 2 for t in total)
    return small + large if mode == b"SAME_UPPER" else large + small


def _torch_pads(pads: Shape) -> list[int]:
    """Begins and ends of ONNX in torch's order: the last axis first, begin and end together."""
    half = len(pads) // 2
    pairs = list(zip(pads[:half], pads[half:], strict=True))
    return [each for pair in reversed(pairs) for each in pair]


def _pool(call: OnnxCall) -> tuple[Tensor, Shape, Shape, Shape, Shape]:
    """Input, kernel, stride, pads (all the beginnings, then all the ends) and dilation."""
    kernel = tuple(int(each) for each in call.attribute("kernel_shape", ()))
    axes = len(kernel)
    x = _image(call, axes)
    stride, dilation = _per_axis(call, "strides", axes), _per_axis(call, "dilations", axes)
    if axes not in _MAX_POOLS:
        call.refuse(f"pooling over {axes} axes is not supported")
    return x, kernel, stride, _pads(call, x, kernel, stride, dilation), dilation


def max_pool(call: OnnxCall) -> Value:
    """Rule of MaxPool; pads that only the ends have are a last, shorter window."""
    x, kernel, stride, pads, dilation = _pool(call)
    axes, ceil = len(kernel), bool(call.attribute("ceil_mode", 0))
    if call.attribute("storage_order", 0):
        call.refuse("only row-major order is supported")
    begins, ends = pads[:axes], pads[axes:]
    if begins != ends:
        spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
        sizes = zip(x.shape[2:], spans, stride, begins, ends, strict=True)
        fits = all(
            _windows(n + b + e - k, s) == _windows(n + 2 * b - k, s, True)
            for n, k, s, b, e in sizes
        )
        if ceil or not fits:
            call.refuse(f"pads {pads} are not supported")
        ceil = True
    return Value(_MAX_POOLS[axes](x, kernel, stride, begins, dilation, ceil), True)


def _windows(room: int, stride: int, ceil: bool = False) -> int:
    """How many steps a window makes in this room."""
    return -(-room // stride) if ceil else room // stride


def average_pool(call: OnnxCall) -> Value:
    """Rule of AveragePool; pads that differ are zeros, and weights undo what they add."""
    x, kernel, stride, pads, dilation = _pool(call)
    axes = len(kernel)
    if any(each != 1 for each in dilation):
        call.refuse("dilated averages are not supported")
    ceil, counted = (bool(call.attribute(n, 0)) for n in ("ceil_mode", "count_include_pad"))
    if pads[:axes] == pads[axes:] and not (ceil and counted):
        found = _AVERAGE_POOLS[axes](x, kernel, stride, pads[:axes], ceil, counted)
        return Value(found, True)
    if ceil:
        call.refuse(f"pads {pads} with ceil_mode are not supported")
    flat = _torch_pads(pads)
    found = _AVERAGE_POOLS[axes](F.pad(x, flat), kernel, stride)
    if not counted:
        ones = F.pad(torch.ones(1, *x.shape[1:], dtype=x.dtype, device=x.device), flat)
        found = found * (1.0 / _AVERAGE_POOLS[axes](ones, kernel, stride))[0]
    return Value(found, True)


def global_average_pool(call: OnnxCall) -> Value:
    """Rule of GlobalAveragePool."""
    x = _image(call, len(call.x.shape) - 2)
    return Value(x.mean(tuple(range(2, x.ndim)), keepdim=True), True)


def global_max_pool(call: OnnxCall) -> Value:
    """Rule of GlobalMaxPool."""
    axes = len(call.x.shape) - 2
    x = _image(call, axes)
    if axes not in _MAX_POOLS:
        call.refuse(f"pooling over {axes} axes is not supported")
    return Value(_MAX_POOLS[axes](x, tuple(x.shape[2:])), True)


def batch_norm(call: OnnxCall) -> Value:
    """Rule of BatchNormalization."""
    names = ("scale", "bias", "mean", "variance")
    scale, bias, mean, variance = (call.known(i + 1, n).tensor for i, n in enumerate(names))
    if call.attribute("training_mode", 0) or not call.x.led:
        call.refuse("it normalises with batch statistics, or its input has no batch axis")
    eps = float(call.attribute("epsilon", 1e-5))
    return Value(F.batch_norm(call.x.tensor, mean, variance, scale, bias, False, 0.0, eps), True)


def pad(call: OnnxCall) -> Value:
    """Rule of Pad, with zeros."""
    pads, fill = call.numbers("pads", 1), call.numbers("value", 2)
    if pads is None or call.attribute("mode", b"constant") != b"constant" or any(fill or ()):
        call.refuse("only padding with zeros is supported")
    sides = tuple(int(each) for each in pads)
    half = len(sides) // 2
    if call[3] is not None or half != len(call.x.shape) or not call.x.led or sides[0] | sides[half]:
        call.refuse("it must name all axes, and none of them the batch")
    inner = sides[1:half] + sides[half + 1 :]
    return settled(F.pad(call.x.tensor, _torch_pads(inner)), True)
