"""Rules for the ONNX operators on images: convolution, pooling, batch norm, padding.

Their input has shape (1, channels, ...), the one being the batch. Pads are those of the file or
follow from `auto_pad`: for an axis of n numbers, stride s and a window that spans k, SAME pads
max(0, (ceil(n/s) - 1) s + k - n) in all.

Source: the ONNX operator specification, operator sets 7 to 21.
Departures: pads that differ from side to side are refused for pooling.
"""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from holdfast.certify.onnx_values import OnnxCall, Shape, Value, settled

_CONVOLUTIONS: dict[int, Callable[..., Tensor]] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
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
    """Input, kernel, stride, padding and dilation of a pooling."""
    kernel = tuple(int(each) for each in call.attribute("kernel_shape", ()))
    axes = len(kernel)
    x = _image(call, axes)
    stride, dilation = _per_axis(call, "strides", axes), _per_axis(call, "dilations", axes)
    pads = _pads(call, x, kernel, stride, dilation)
    if pads[:axes] != pads[axes:] or axes not in _MAX_POOLS:
        call.refuse(f"pads {pads} over {axes} axes are not supported")
    return x, kernel, stride, pads[:axes], dilation


def max_pool(call: OnnxCall) -> Value:
    """Rule of MaxPool."""
    x, kernel, stride, padding, dilation = _pool(call)
    ceil = bool(call.attribute("ceil_mode", 0))
    return Value(_MAX_POOLS[len(kernel)](x, kernel, stride, padding, dilation, ceil), True)


def average_pool(call: OnnxCall) -> Value:
    """Rule of AveragePool."""
    x, kernel, stride, padding, dilation = _pool(call)
    if any(each != 1 for each in dilation):
        call.refuse("dilated averages are not supported")
    ceil, counted = (bool(call.attribute(n, 0)) for n in ("ceil_mode", "count_include_pad"))
    return Value(_AVERAGE_POOLS[len(kernel)](x, kernel, stride, padding, ceil, counted), True)


def global_average_pool(call: OnnxCall) -> Value:
    """Rule of GlobalAveragePool."""
    x = _image(call, len(call.x.shape) - 2)
    return Value(x.mean(tuple(range(2, x.ndim)), keepdim=True), True)


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
