"""Rules for the operators of an ONNX network: each operator as a call of torch.

`RULES` maps the name of an operator to a function of one call (`onnx_values.OnnxCall`); those on
images stand in `onnx_images.py`. Numbers that a rule needs in order to be built (axes, limits,
shapes) must be constants of the file.

Source: the ONNX operator specification, operator sets 7 to 21.
Departures: two values that depend on the input are combined only where their shapes are equal.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from holdfast.certify.onnx_images import (
    average_pool,
    batch_norm,
    convolution,
    global_average_pool,
    max_pool,
    pad,
)
from holdfast.certify.onnx_values import Known, OnnxCall, Value, settled, shaped

Rule = Callable[[OnnxCall], Value]


def _elementwise(function: Callable[[Tensor], Tensor]) -> Rule:
    return lambda call: Value(function(call.x.tensor), call.x.led)


def _scalar(function: Callable[..., Tensor], **defaults: float) -> Rule:
    """A function of one number with parameters from the attributes."""

    def rule(call: OnnxCall) -> Value:
        settings = [float(call.attribute(name, value)) for name, value in defaults.items()]
        return Value(function(call.x.tensor, *settings), call.x.led)

    return rule


def _arithmetic(function: Callable[[Tensor, Tensor], Tensor]) -> Rule:
    """A function of two numbers; constants broadcast, values must agree in shape."""

    def rule(call: OnnxCall) -> Value:
        first, second = call[0], call[1]
        if first is None or second is None or len(call.inputs) != 2:
            call.refuse("it needs two inputs")
        if isinstance(first, Value) and isinstance(second, Value):
            if first.shape != second.shape:
                call.refuse(f"shapes {first.shape} and {second.shape} differ")
            return Value(function(first.tensor, second.tensor), first.led)
        value = first if isinstance(first, Value) else call.x if second is None else second
        constant = second if isinstance(second, Known) else first
        if not (isinstance(value, Value) and isinstance(constant, Known)):
            call.refuse("both inputs are constants")
        shape = np.broadcast_shapes(value.shape, constant.tensor.shape)
        x, c = _aligned(value, constant.tensor, len(shape))
        return shaped(function(x, c) if value is first else function(c, x), tuple(shape))

    return rule


def _aligned(value: Value, constant: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """A value and a constant whose axes correspond from the right, apart from the batch."""
    inner = value.tensor.ndim - 1
    while constant.ndim > inner and constant.shape[0] == 1:
        constant = constant.reshape(constant.shape[1:])
    if constant.ndim <= inner:
        return value.tensor, constant
    ones = (1,) * (rank - len(value.shape))
    return value.tensor.reshape(value.tensor.shape[0], *ones, *value.shape), constant


def _sum(call: OnnxCall) -> Value:
    if len(call.inputs) == 1:
        return call.x
    return _arithmetic(torch.add)(call)


def _gemm(call: OnnxCall) -> Value:
    """alpha A B + beta C."""
    weight, alpha = call.known(1, "weight").tensor, float(call.attribute("alpha", 1.0))
    if call.attribute("transA", 0) or not call.x.led or len(call.x.shape) != 2:
        call.refuse("its first input must be one row, not transposed")
    weight = weight if call.attribute("transB", 0) else weight.T
    bias = None if call[2] is None else _bias(call, len(weight))
    if alpha == 1.0:
        return Value(F.linear(call.x.tensor, weight, bias), True)
    product = F.linear(call.x.tensor, weight) * alpha
    return Value(product if bias is None else product + bias, True)


def _bias(call: OnnxCall, units: int) -> Tensor:
    bias, beta = call.known(2, "bias").tensor, float(call.attribute("beta", 1.0))
    if bias.numel() not in (1, units):
        call.refuse(f"its bias has shape {tuple(bias.shape)} for {units} outputs")
    bias = bias.reshape(-1).expand(units)
    return bias if beta == 1.0 else bias * beta


def _matmul(call: OnnxCall) -> Value:
    if isinstance(call[0], Value) and isinstance(call[1], Value):
        call.refuse("both factors depend on the input")
    left = isinstance(call[0], Known)
    factor = call.known(0 if left else 1, "factor").tensor
    value = call[1 if left else 0]
    if not isinstance(value, Value) or factor.ndim not in (1, 2) or not value.shape:
        call.refuse("its factor must be a vector or a matrix, and its input no number")
    return _from_left(factor, value) if left else _from_right(value, factor)


def _from_right(value: Value, factor: Tensor) -> Value:
    """x W, over the last axis."""
    weight = factor.T if factor.ndim == 2 else factor.unsqueeze(0)
    outer = (*value.shape[:-1], *factor.shape[1:])
    return shaped(F.linear(value.tensor, weight), outer)


def _from_left(factor: Tensor, value: Value) -> Value:
    """W x, over the last axis but one; over the only axis of a vector."""
    weight = factor if factor.ndim == 2 else factor.unsqueeze(0)
    if len(value.shape) == 1:
        return shaped(F.linear(value.tensor, weight), tuple(factor.shape[:-1]))
    result = F.linear(value.whole.transpose(-1, -2), weight).transpose(-1, -2)
    outer = (*value.shape[:-2], *factor.shape[:-1], value.shape[-1])
    return shaped(result, outer)


def _flatten(call: OnnxCall) -> Value:
    shape, axis = call.x.shape, int(call.attribute("axis", 1))
    axis += len(shape) if axis < 0 else 0
    return shaped(call.x.tensor, (math.prod(shape[:axis]), math.prod(shape[axis:])))


def _reshape(call: OnnxCall) -> Value:
    wanted, shape = [int(each) for each in call.numbers("shape", 1) or []], call.x.shape
    if not call.attribute("allowzero", 0):
        wanted = [shape[i] if size == 0 else size for i, size in enumerate(wanted)]
    if wanted.count(-1) == 1:
        rest = -math.prod(wanted)
        wanted[wanted.index(-1)] = math.prod(shape) // rest if rest else 0
    if math.prod(wanted) != math.prod(shape) or min(wanted, default=0) < 0:
        call.refuse(f"shape {shape} cannot become {tuple(wanted)}")
    return shaped(call.x.tensor, tuple(wanted))


def _squeeze(call: OnnxCall) -> Value:
    shape, axes = call.x.shape, call.numbers("axes", 1)
    if axes is None:
        axes = [i for i, size in enumerate(shape) if size == 1]
    gone = {int(axis) % len(shape) for axis in axes}
    return shaped(call.x.tensor, tuple(n for i, n in enumerate(shape) if i not in gone))


def _unsqueeze(call: OnnxCall) -> Value:
    axes, rest = call.numbers("axes", 1) or [], list(call.x.shape)
    rank = len(rest) + len(axes)
    for axis in sorted(int(each) % rank for each in axes):
        rest.insert(axis, 1)
    return shaped(call.x.tensor, tuple(rest))


def _transpose(call: OnnxCall) -> Value:
    rank = len(call.x.shape)
    order = [int(each) for each in call.attribute("perm", range(rank)[::-1])]
    if call.x.led and order[0] == 0:
        return settled(call.x.tensor.permute(0, *order[1:]), True)
    return settled(call.x.whole.permute(0, *(each + 1 for each in order)), False)


def _along(call: OnnxCall, axes: Sequence[int]) -> tuple[Tensor, list[int], bool]:
    """The tensor on which these axes of the file can be worked on, its axes, and its layout."""
    places = [int(axis) % len(call.x.shape) for axis in axes]
    if call.x.led and 0 not in places:
        return call.x.tensor, places, True
    return call.x.whole, [place + 1 for place in places], False


def _reduction(function: Callable[..., Tensor]) -> Rule:
    def rule(call: OnnxCall) -> Value:
        axes = call.numbers("axes", 1) or list(range(len(call.x.shape)))
        keep = bool(call.attribute("keepdims", 1))
        tensor, places, led = _along(call, axes)
        return settled(function(tensor, tuple(places), keep), led)

    return rule


def _slice(call: OnnxCall) -> Value:
    starts, ends = call.numbers("starts", 1), call.numbers("ends", 2)
    if starts is None or ends is None:
        call.refuse("it has no starts or ends")
    axes, steps = call.numbers("axes", 3) or range(len(starts)), call.numbers("steps", 4)
    tensor, places, led = _along(call, list(axes))
    for i, place in enumerate(places):
        step = int(steps[i]) if steps else 1
        if step < 1:
            call.refuse("it steps backwards")
        start, end, _ = slice(int(starts[i]), int(ends[i])).indices(tensor.shape[place])
        tensor = torch.ops.aten.slice.Tensor(tensor, place, start, max(start, end), step)
    return settled(tensor, led)


def _concatenate(call: OnnxCall) -> Value:
    values = [each for each in call.inputs if isinstance(each, Value)]
    if len(values) != len(call.inputs):
        call.refuse("a constant is joined with values")
    axis = int(call.attribute("axis", 0)) % len(values[0].shape)
    if axis and all(value.led for value in values):
        return settled(torch.cat([value.tensor for value in values], axis), True)
    return settled(torch.cat([value.whole for value in values], axis + 1), False)


def _clip(call: OnnxCall) -> Value:
    low, high = call.numbers("min", 1), call.numbers("max", 2)
    limits = [float(each[0]) if each else None for each in (low, high)]
    if limits == [None, None]:
        return call.x
    return Value(call.x.tensor.clamp(*limits), call.x.led)


def _cast(call: OnnxCall) -> Value:
    if int(call.attribute("to", 1)) not in (1, 11):
        call.refuse("it casts to a type other than single or double precision")
    return call.x


RULES: dict[str, Rule] = {
    "Add": _arithmetic(torch.add),
    "AveragePool": average_pool,
    "BatchNormalization": batch_norm,
    "Cast": _cast,
    "Clip": _clip,
    "Concat": _concatenate,
    "Conv": convolution,
    "Div": _arithmetic(torch.div),
    "Dropout": lambda call: call.x,
    "Elu": _scalar(F.elu, alpha=1.0),
    "Flatten": _flatten,
    "Gemm": _gemm,
    "GlobalAveragePool": global_average_pool,
    "Identity": lambda call: call.x,
    "LeakyRelu": _scalar(F.leaky_relu, alpha=0.01),
    "MatMul": _matmul,
    "MaxPool": max_pool,
    "Mul": _arithmetic(torch.mul),
    "Neg": _elementwise(torch.neg),
    "Pad": pad,
    "ReduceMean": _reduction(torch.mean),
    "ReduceSum": _reduction(torch.sum),
    "Relu": _elementwise(torch.relu),
    "Reshape": _reshape,
    "Sigmoid": _elementwise(torch.sigmoid),
    "Slice": _slice,
    "Squeeze": _squeeze,
    "Sub": _arithmetic(torch.sub),
    "Sum": _sum,
    "Tanh": _elementwise(torch.tanh),
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
"""The operators that have a rule, by name; what a bound then supports, the capture decides."""
