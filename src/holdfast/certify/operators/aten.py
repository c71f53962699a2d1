"""The rules of linear, piecewise linear and moving operations, entered into `rules.RULES`.

A rule reads a call of an exported program and returns the chain of operations that it stands for.
The smooth and bent activations have theirs beside their classes (`activations.py`).

Source: the schemas of ATen.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

import holdfast.certify.operators.activations  # noqa: F401  (enters its rules)
from holdfast.certify.operators.affine import (
    BatchNorm,
    Convolution,
    Linear,
    Padding,
    Scale,
    Shift,
    TransposedConvolution,
)
from holdfast.certify.operators.calls import Call, Data
from holdfast.certify.operators.constants import Constant
from holdfast.certify.operators.rules import RULES, Chain, Rule, captured
from holdfast.certify.operators.selections import Maximum, MaxPool, Minimum
from holdfast.certify.operators.structural import (
    Add,
    Clamp,
    Concatenate,
    Negate,
    ReLU,
    Reshape,
    Structural,
    Subtract,
)

__all__ = ["CASTS", "RULES", "VIEWS"]

_AVERAGE: dict[int, Any] = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
_ADAPTIVE = {1: F.adaptive_avg_pool1d, 2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d}
_LARGEST: dict[int, Any] = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}


def _linear(call: Call) -> Chain:
    return (Linear(call.constant("weight"), call.optional("bias")),)


def _convolution(axes: int) -> Rule:
    def rule(call: Call) -> Chain:
        padding = call["padding"]
        return (
            Convolution(
                call.constant("weight"),
                call.optional("bias"),
                _axes(call["stride"], axes),
                padding if isinstance(padding, str) else _axes(padding, axes),
                _axes(call["dilation"], axes),
                call["groups"],
            ),
        )

    return rule


def _transposed_convolution(axes: int) -> Rule:
    names = ("stride", "padding", "output_padding")

    def rule(call: Call) -> Chain:
        stride, padding, output_padding = (_axes(call[name], axes) for name in names)
        return (
            TransposedConvolution(
                call.constant("weight"),
                call.optional("bias"),
                stride,
                padding,
                output_padding,
                call["groups"],
                _axes(call["dilation"], axes),
            ),
        )

    return rule


def _axes(value: Any, axes: int) -> tuple[int, ...]:
    values = tuple(value) if isinstance(value, list | tuple) else (value,)
    return values * axes if len(values) == 1 else values


def _batch_norm(call: Call) -> Chain:
    if call["training"] or call["running_mean"] is None:
        call.refuse("it normalises with batch statistics; give it running statistics")
    return (
        BatchNorm(
            call.optional("weight"),
            call.optional("bias"),
            call.constant("running_mean"),
            call.constant("running_var"),
            call["eps"],
            len(call.shape) - 1,
        ),
    )


def _sum_of_two(call: Call) -> Chain:
    _plain_alpha(call)
    if len(call.operands) == 2:
        return (Add(),)
    name = "other" if isinstance(call["self"], Data) else "self"
    return (Shift(call.constant(name)),)


def _difference(call: Call) -> Chain:
    _plain_alpha(call)
    if len(call.operands) == 2:
        return (Subtract(),)
    if isinstance(call["self"], Data):
        return (Shift(call.constant("other"), subtract=True),)
    return Negate(), Shift(call.constant("self"))


def _reversed_difference(call: Call) -> Chain:
    _plain_alpha(call)
    if len(call.operands) == 2:
        call.refuse("write it as a difference")
    if isinstance(call["self"], Data):
        return Negate(), Shift(call.constant("other"))
    return (Shift(call.constant("self"), subtract=True),)


def _plain_alpha(call: Call) -> None:
    if call["alpha"] != 1:
        call.refuse("alpha must be 1")


def _product(call: Call) -> Chain:
    name = "other" if isinstance(call["self"], Data) else "self"
    return (Scale(call.constant(name)),)


def _quotient(call: Call) -> Chain:
    if call.arguments.get("rounding_mode") is not None:
        call.refuse("rounding_mode is not supported")
    return (Scale(call.constant("other"), divide=True),)


def _reshape(call: Call) -> Chain:
    return (Reshape(call.shape),)


def _pass_on(call: Call) -> Chain:
    return ()


def _dropout(call: Call) -> Chain:
    if call["train"]:
        call.refuse("it drops also in evaluation mode; pass training=self.training")
    return ()


def _mean(call: Call) -> Chain:
    dims = call["dim"] if "dim" in call.arguments else None
    if not dims or call.arguments.get("dtype") is not None:
        call.refuse("name the dimensions to average over, without the batch axis")
    return (Structural(torch.mean, (tuple(dims), call["keepdim"]), added=_extent(call, dims)),)


def _sum(call: Call) -> Chain:
    dims = call["dim"] if "dim" in call.arguments else None
    if not dims or call.arguments.get("dtype") is not None:
        call.refuse("name the dimensions to sum over, without the batch axis")
    return (Structural(torch.sum, (tuple(dims), call["keepdim"]), added=_extent(call, dims)),)


def _extent(call: Call, dims: Any) -> int:
    shape = call.operands[0].shape
    return math.prod(shape[dim if dim < 0 else dim - 1] for dim in dims)


def _average_pool(axes: int) -> Rule:
    function: Callable[..., torch.Tensor] = _AVERAGE[axes]

    def rule(call: Call) -> Chain:
        names = ["kernel_size", "stride", "padding", "ceil_mode", "count_include_pad"]
        arguments = [_hashable(call[name]) for name in names]
        arguments[1] = arguments[1] or None
        if (divisor := call.arguments.get("divisor_override")) is not None:
            if divisor < 0:
                call.refuse("divisor_override is negative")
            arguments.append(divisor)
        added = math.prod(_axes(call["kernel_size"], axes))
        return (Structural(function, tuple(arguments), added=added),)

    return rule


def _adaptive_average_pool(axes: int) -> Rule:
    function: Callable[..., torch.Tensor] = _ADAPTIVE[axes]

    def rule(call: Call) -> Chain:
        sizes = zip(call.operands[0].shape[-axes:], call.shape[-axes:], strict=True)
        added = math.prod(size // out + 2 for size, out in sizes)
        return (Structural(function, (call.shape[-axes:],), added=added),)

    return rule


def _max_pool(axes: int) -> Rule:
    function: Callable[..., torch.Tensor] = _LARGEST[axes]

    def rule(call: Call) -> Chain:
        names = ["kernel_size", "stride", "padding", "dilation", "ceil_mode"]
        arguments = [_hashable(call[name]) for name in names]
        arguments[1] = arguments[1] or None
        return (MaxPool(function, tuple(arguments)),)

    return rule


def _moves(function: Callable[..., torch.Tensor], *names: str) -> Rule:
    def rule(call: Call) -> Chain:
        return (Structural(function, tuple(_hashable(call[name]) for name in names)),)

    return rule


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _slice(call: Call) -> Chain:
    names = ["dim", "start", "end", "step"]
    return (Structural(torch.ops.aten.slice.Tensor, tuple(call[name] for name in names)),)


def _concatenate(call: Call) -> Chain:
    if len(call.operands) != len(call["tensors"]):
        call.refuse("a constant is joined with data")
    return (Concatenate(call["dim"]),)


def _pad(call: Call) -> Chain:
    value = call["value"] or 0.0
    if call.arguments.get("mode", "constant") != "constant" or not math.isfinite(value):
        call.refuse("only padding by a finite number is supported")
    pads = tuple(call["pad"])
    if value:
        return (Padding(call.intern(float(value)), pads, call.operands[0].shape),)
    return (Structural(F.pad, (pads,)),)


def _relu(call: Call) -> Chain:
    return (ReLU(),)


def _clamp(call: Call) -> Chain:
    low, high = call["min"], call["max"]
    if not all(value is None or isinstance(value, int | float) for value in (low, high)):
        call.refuse("its limits must be numbers")
    if low is not None and high is not None and low > high:
        call.refuse("its lower limit is above the upper one")
    return (Clamp(low, high),)


def _hardtanh(call: Call) -> Chain:
    return (Clamp(call["min_val"], call["max_val"]),)


def _hard_sigmoid(call: Call) -> Chain:
    return Shift(call.intern(3.0)), Clamp(0.0, 6.0), Scale(call.intern(6.0), divide=True)


def _larger(call: Call) -> Chain:
    """max(x, x'), or relu(x - c) + c with a constant."""
    if len(call.operands) == 2:
        return (Maximum(),)
    limit = _limit(call)
    return Shift(limit, subtract=True), ReLU(), Shift(limit)


def _smaller(call: Call) -> Chain:
    """min(x, x'), or c - relu(c - x) with a constant."""
    if len(call.operands) == 2:
        return (Minimum(),)
    limit = _limit(call)
    return Negate(), Shift(limit), ReLU(), Negate(), Shift(limit)


def _limit(call: Call) -> Constant:
    if call.shape != call.operands[0].shape:
        call.refuse("its constant has more numbers than the input; expand the input first")
    return call.constant("other" if isinstance(call["self"], Data) else "self")


CASTS = ("to", "_to_copy", "type_as")
"""Operations that only change a type; the walk refuses types of less than single precision."""

_TABLE: dict[str, Rule] = {
    "linear": _linear,
    "conv1d": _convolution(1),
    "conv2d": _convolution(2),
    "conv3d": _convolution(3),
    "conv_transpose1d": _transposed_convolution(1),
    "conv_transpose2d": _transposed_convolution(2),
    "conv_transpose3d": _transposed_convolution(3),
    "batch_norm": _batch_norm,
    "add": _sum_of_two,
    "sub": _difference,
    "subtract": _difference,
    "rsub": _reversed_difference,
    "mul": _product,
    "multiply": _product,
    "div": _quotient,
    "divide": _quotient,
    "neg": lambda call: (Negate(),),
    "relu": _relu,
    "relu6": lambda call: (Clamp(0.0, 6.0),),
    "hardsigmoid": _hard_sigmoid,
    "hardtanh": _hardtanh,
    "clamp": _clamp,
    "clamp_min": lambda call: (Clamp(call["min"], None),),
    "clamp_max": lambda call: (Clamp(None, call["max"]),),
    "maximum": _larger,
    "minimum": _smaller,
    "mean": _mean,
    "sum": _sum,
    "avg_pool1d": _average_pool(1),
    "avg_pool2d": _average_pool(2),
    "avg_pool3d": _average_pool(3),
    "adaptive_avg_pool1d": _adaptive_average_pool(1),
    "adaptive_avg_pool2d": _adaptive_average_pool(2),
    "adaptive_avg_pool3d": _adaptive_average_pool(3),
    "max_pool1d": _max_pool(1),
    "max_pool2d": _max_pool(2),
    "max_pool3d": _max_pool(3),
    "permute": _moves(torch.permute, "dims"),
    "transpose": _moves(torch.transpose, "dim0", "dim1"),
    "slice": _slice,
    "select": _moves(torch.select, "dim", "index"),
    "cat": _concatenate,
    "concat": _concatenate,
    "pad": _pad,
    "constant_pad_nd": _pad,
    **dict.fromkeys(
        ("view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze", "_unsafe_view"),
        _reshape,
    ),
    **dict.fromkeys(("contiguous", "clone", "alias", "detach"), _pass_on),
    **dict.fromkeys(CASTS, _pass_on),
    **dict.fromkeys(("dropout", "feature_dropout", "alpha_dropout"), _dropout),
}
for _name, _made in _TABLE.items():
    captured(_name)(_made)

VIEWS = frozenset(
    ("view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze", "permute", "transpose")
) | frozenset(
    (
        "slice",
        "select",
        "contiguous",
        "alias",
        "detach",
        "dropout",
        "feature_dropout",
        "to",
        "_unsafe_view",
    )
)
"""Operations whose result may share memory with their input."""
