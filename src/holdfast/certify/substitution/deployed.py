"""What the rounding of a float32 forward pass may move, operation by operation.

The deployed network is not the function over the real numbers that its weights describe: every
layer rounds. A sum of n products is computed with an error of at most gamma_n = n u / (1 - n u)
times the sum of the absolute terms, u = 2^-24, in any order, with or without fused multiply-add. A
bound that adds this to every node holds for all such passes: any batch size, thread count, machine.

It does not hold for arithmetic that is no such sum: convolutions by transforms (Winograd, FFT),
TF32, bfloat16, float16, autocast, quantisation.

    affine          gamma_(n+2) (|W| m + |b|), m the largest |input|: n products, the offset, and a
                    weight that float32 does not hold; batch norm counts 12 products
    mean, pooling   gamma_(n+8) of the same
    sum             two roundings
    leaky ReLU      two roundings; ReLU, maximum, moves of numbers: none
    sigmoid, tanh   eight units in the last place, which is what their implementations keep

Source: Higham 2002, sec 3.1; Jia and Rinard 2021, arXiv 2003.03021 (networks whose float32 pass
    breaks a certificate of the real one).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from holdfast.certify.operators.activations import LeakyReLU, SShaped
from holdfast.certify.operators.constants import Values
from holdfast.certify.operators.ops import LinearMap, Node, OrderStatistic
from holdfast.certify.operators.structural import (
    Add,
    Clamp,
    Concatenate,
    ReLU,
    Structural,
    Subtract,
)
from holdfast.certify.rounding import Box, tiny, unit
from holdfast.core.errors import CaptureError

_OWN = 2
_EXTRA = 8
_GAMMA = 1.02
_ULPS = 8.0


def float32_moves(node: Node, inputs: Sequence[Box], box: Box, values: Values) -> Tensor | None:
    """How far the float32 value of a node may lie from the exact one, (B, *shape); None: nowhere.

    Args:
        inputs: boxes of what it reads, as computed in float32.
        box: of its exact value on them.
        values: the constants.

    Raises:
        CaptureError: nothing is known of how the operation rounds.
    """
    op = node.op
    if isinstance(op, ReLU | OrderStatistic | Concatenate):
        return None
    if isinstance(op, LinearMap):
        count = op.terms(values) + (_EXTRA if isinstance(op, Structural) else _OWN)
        exact = not op.terms(values)
        return None if exact else _moved(count, op.size(inputs[0].magnitude, values))
    if isinstance(op, Add | Subtract):
        return _moved(2, inputs[0].magnitude + inputs[1].magnitude)
    if isinstance(op, Clamp):
        return _moved(2, torch.full_like(box.lower, max(abs(op.low or 0.0), abs(op.high or 0.0))))
    if isinstance(op, LeakyReLU):
        return _moved(2, (1.0 + abs(op.slope)) * inputs[0].magnitude)
    if isinstance(op, SShaped):
        return _moved(_ULPS, box.magnitude)
    raise CaptureError(
        f"{type(op).__name__} has no rule for its rounding in float32; use mode='rigorous'"
    )


def _moved(count: float, size: Tensor) -> Tensor:
    """The error of `count` roundings of this size, and as many underflows."""
    return _GAMMA * count * (unit(torch.float32) * size.detach() + tiny(torch.float32))
