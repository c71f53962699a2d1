"""Rules for the operators of an ONNX network: each operator as a call of torch.

`RULES` maps the name of an operator to a function of one call (`onnx_values.OnnxCall`); those on
images stand in `onnx_images.py`, those that move numbers in `onnx_moves.py`. Numbers that a rule
needs in order to be built (axes, limits, shapes) must be constants of the file.

Source: the ONNX operator specification, operator sets 7 to 21.
Departures: two values that depend on the input are combined only where their ranks are equal.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from holdfast.certify.formats.onnx_images import (
    average_pool,
    batch_norm,
    convolution,
    global_average_pool,
    global_max_pool,
    max_pool,
    pad,
    transposed_convolution,
)
from holdfast.certify.formats.onnx_moves import (
    concatenate,
    depth_to_space,
    expand,
    flatten,
    gather,
    reduction,
    reshape,
    resize,
    slices,
    space_to_depth,
    split,
    squeeze,
    transpose,
    unsqueeze,
)
from holdfast.certify.formats.onnx_values import Known, OnnxCall, Value, shaped

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
    """A function of two numbers; constants broadcast, and so do values of one rank."""

    def rule(call: OnnxCall) -> Value:
        first, second = call[0], call[1]
        if first is None or second is None or len(call.inputs) != 2:
            call.refuse("it needs two inputs")
        if isinstance(first, Value) and isinstance(second, Value):
            return _of_values(function, first, second, call)
        value = first if isinstance(first, Value) else call.x if second is None else second
        constant = second if isinstance(second, Known) else first
        if not (isinstance(value, Value) and isinstance(constant, Known)):
            call.refuse("both inputs are constants")
        shape = np.broadcast_shapes(value.shape, constant.tensor.shape)
        x, c = _aligned(value, constant.tensor, len(shape))
        return shaped(function(x, c) if value is first else function(c, x), tuple(shape))

    return rule


def _of_values(
    function: Callable[[Tensor, Tensor], Tensor], first: Value, second: Value, call: OnnxCall
) -> Value:
    """The function of two values that depend on the input."""
    if first.shape == second.shape:
        return Value(function(first.tensor, second.tensor), first.led)
    shapes = f"shapes {first.shape} and {second.shape}"
    if len(first.shape) != len(second.shape):
        call.refuse(f"{shapes} differ in rank")
    shape = tuple(np.broadcast_shapes(first.shape, second.shape))
    if call.operator not in ("Add", "Sub", "Sum"):
        call.refuse(f"{shapes} differ")
    return shaped(function(first.whole, second.whole), shape)


def _several(function: Callable[[Tensor, Tensor], Tensor]) -> Rule:
    """A function of any number of numbers, two by two."""
    pair = _arithmetic(function)

    def rule(call: OnnxCall) -> Value:
        if len(call.inputs) == 1:
            return call.x
        result = call.inputs[0]
        for each in call.inputs[1:]:
            result = pair(replace(call, inputs=[result, each]))
        return result if isinstance(result, Value) else call.x

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


def _gemm(call: OnnxCall) -> Value:
    """alpha A B + beta C."""
    weight, alpha = call.known(1, "weight").tensor, float(call.attribute("alpha", 1.0))
    if call.attribute("transA", 0) or not call.x.led or len(call.x.shape) != 2:
        call.refuse("its first input must be one row, not transposed")
    if weight.ndim != 2:
        call.refuse(f"its weight of shape {tuple(weight.shape)} is no matrix")
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


def _power(call: OnnxCall) -> Value:
    exponent = call.known(1, "exponent")
    if exponent.array.size != 1:
        call.refuse("its exponent is not one number")
    power = float(exponent.array.reshape(-1)[0])
    if power == 1.0:
        return call.x
    return Value(call.x.tensor**power, call.x.led)


def _hard_sigmoid(call: OnnxCall) -> Value:
    alpha, beta = float(call.attribute("alpha", 0.2)), float(call.attribute("beta", 0.5))
    return Value((call.x.tensor * alpha + beta).clamp(0.0, 1.0), call.x.led)


def _parametric_relu(call: OnnxCall) -> Value:
    """x above zero, slope x below."""
    slope = call.known(1, "slope")
    if slope.array.size == 1:
        return Value(F.leaky_relu(call.x.tensor, float(slope.array.reshape(-1)[0])), call.x.led)
    x, c = _aligned(call.x, slope.tensor, len(call.x.shape))
    if x is not call.x.tensor or tuple(np.broadcast_shapes(x.shape[1:], c.shape)) != x.shape[1:]:
        call.refuse(f"its slope of shape {slope.array.shape} is not one number per channel")
    return Value(torch.relu(x) - torch.relu(-x) * c, call.x.led)


def _softmax(function: Callable[..., Tensor]) -> Rule:
    """Over one axis; sets before 13 flatten all that follow it."""

    def rule(call: OnnxCall) -> Value:
        rank = len(call.x.shape)
        axis = call.place(call.attribute("axis", -1), rank)
        if not call.x.led or axis == 0:
            return Value(function(call.x.tensor, axis + (not call.x.led)), call.x.led)
        return Value(function(call.x.tensor, axis), True)

    return rule


RULES: dict[str, Rule] = {
    "Abs": _elementwise(torch.abs),
    "Add": _arithmetic(torch.add),
    "Atan": _elementwise(torch.atan),
    "AveragePool": average_pool,
    "BatchNormalization": batch_norm,
    "Cast": _cast,
    "Celu": _scalar(F.celu, alpha=1.0),
    "Clip": _clip,
    "Concat": concatenate,
    "Conv": convolution,
    "ConvTranspose": transposed_convolution,
    "DepthToSpace": depth_to_space,
    "Div": _arithmetic(torch.div),
    "Dropout": lambda call: call.x,
    "Elu": _scalar(F.elu, alpha=1.0),
    "Erf": _elementwise(torch.erf),
    "Exp": _elementwise(torch.exp),
    "Expand": expand,
    "Flatten": flatten,
    "Gather": gather,
    "Gemm": _gemm,
    "GlobalAveragePool": global_average_pool,
    "GlobalMaxPool": global_max_pool,
    "HardSigmoid": _hard_sigmoid,
    "Identity": lambda call: call.x,
    "LeakyRelu": _scalar(F.leaky_relu, alpha=0.01),
    "Log": _elementwise(torch.log),
    "LogSoftmax": _softmax(torch.log_softmax),
    "MatMul": _matmul,
    "Max": _several(torch.maximum),
    "MaxPool": max_pool,
    "Min": _several(torch.minimum),
    "Mul": _arithmetic(torch.mul),
    "Neg": _elementwise(torch.neg),
    "PRelu": _parametric_relu,
    "Pad": pad,
    "Pow": _power,
    "Reciprocal": _elementwise(torch.reciprocal),
    "ReduceMean": reduction(torch.mean),
    "ReduceSum": reduction(torch.sum),
    "Relu": _elementwise(torch.relu),
    "Reshape": reshape,
    "Resize": resize,
    "Selu": _elementwise(F.selu),
    "Sigmoid": _elementwise(torch.sigmoid),
    "Sin": _elementwise(torch.sin),
    "Cos": _elementwise(torch.cos),
    "Slice": slices,
    "Softmax": _softmax(torch.softmax),
    "Softplus": _elementwise(F.softplus),
    "Softsign": _elementwise(F.softsign),
    "SpaceToDepth": space_to_depth,
    "Split": split,
    "Sqrt": _elementwise(torch.sqrt),
    "Squeeze": squeeze,
    "Sub": _arithmetic(torch.sub),
    "Sum": _several(torch.add),
    "Tanh": _elementwise(torch.tanh),
    "Transpose": transpose,
    "Unsqueeze": unsqueeze,
    "Upsample": resize,
}
"""The operators that have a rule, by name; what a bound then supports, the capture decides."""
