"""How far rounding can move a bound, known before it is computed.

What a rigorous bound covers: the network as a function over the real numbers, with the stored
parameters and constants as they are. Batch norm is folded inside the analysis; other constants that
a model computes from its parameters (a weight-normalised, rounded or binarised weight) count as
stored, at the value that the model itself computes in their own dtype. It does not cover the
rounding of the forward pass in float32 (that is mode `deployed`, see `deployed.py`); an overflow
gives a bound that is not finite, which proves nothing.

The model of arithmetic is the standard one: every +, -, *, / and square root has a relative error
of at most u = 2^-53 (2^-24 in float32, which `centred.py` and `noise.py` use), a product or
quotient that underflows an absolute error below 2^-1022 (2^-126), flushed to zero or not. A sum
of n products, in any order, with or without fused multiply-add, is then off by at most gamma_n =
n u / (1 - n u) times the sum of the absolute terms, plus n underflows (Higham 2002, sec 3.1).

An affine node maps the box [l, u] by W and b. Write c for the computed midpoint (any number in [l,
u] will do), r for the computed max(u - c, c - l), m for max(|l|, |u|), and T = |W| m + |b|:

- the computed W c + b is off by at most gamma_(n+1) (|W| |c| + |b|), the computed |W| r by at most
  gamma_n |W| r, and r itself by u r; since |c| + r <= (1 + 2u) m, together by gamma_(n+4) T;
- subtracting |W| r, and then the radius, rounds twice more: at most 3 u T;
- T, as computed, is at least (1 - gamma_(n+1)) T, and the radius made of it rounds a few times.

So `2 (n + 8) u T` and `(n + 8) 2^-1022` are enough while n u < 1/100, with a factor of almost two
to spare. A structural node (mean, pooling, sum) satisfies the same inequality with T its own image
of m. A monotone node (ReLU, clamp, maximum) only selects, and has no error. Each node widens its
own interval; the next nodes carry the radius on, multiplied by |W|, because it is in the interval.

Source: Higham 2002, Accuracy and Stability of Numerical Algorithms, sec 3.1; Neumaier and
    Shcherbina 2004 (safe bounds of linear programmes) for the idea of paying once at the end.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor

UNIT = 2.0**-53
FLOOR = 2.0**-900  # keeps sums of absolute terms above what underflows
_UNITS = {torch.float64: (UNIT, 2.0**-1022), torch.float32: (2.0**-24, 2.0**-126)}
_TINY = 2.0**-1022
_BACKENDS: Any = torch.backends
_PRECISIONS = (_BACKENDS.mkldnn.matmul, _BACKENDS.mkldnn.conv, _BACKENDS.cuda.matmul)
_EXTRA = 8
_SAFETY = 2.0


class Box(NamedTuple):
    """Lower and upper bounds of the same shape (B, *E)."""

    lower: Tensor
    upper: Tensor

    @property
    def magnitude(self) -> Tensor:
        """The largest absolute value inside, elementwise."""
        return torch.maximum(self.lower.abs(), self.upper.abs())


def radius(terms: int, magnitude: Tensor) -> Tensor:
    """A bound on the rounding error of a sum of `terms` products, and of the bound made of it.

    Args:
        terms: how many products and constants are added up for one output.
        magnitude: float64, the computed sum of their absolute values.
    """
    count = terms + _EXTRA
    return _SAFETY * count * UNIT * magnitude + count * _TINY


def unit(dtype: torch.dtype) -> float:
    """The largest relative error of one operation, in float32 or float64."""
    return _UNITS[dtype][0]


def tiny(dtype: torch.dtype) -> float:
    """The smallest normal number, below which a product may lose its digits."""
    return _UNITS[dtype][1]


def widened(box: Box, terms: int, magnitude: Tensor) -> Box:
    """The box, moved outwards by the rounding radius."""
    slack = radius(terms, magnitude)
    return Box(box.lower - slack, box.upper + slack)


def widened_hull(box: Box, x: Tensor) -> Box:
    """The hull of a threat around x, moved outwards by what its own arithmetic may have rounded.

    A hull costs a few operations on x and a radius; sixteen roundings of the largest number
    involved are allowed for.
    """
    return widened(box, _EXTRA, torch.maximum(box.magnitude, x.abs()))


@contextmanager
def plain_kernels(wanted: bool) -> Iterator[None]:
    """Arithmetic that obeys the error bound of a sum for the while, if wanted.

    cuDNN is switched off, for its convolutions by transforms; so is what rounds the factors of a
    float32 product to fewer digits, by TF32 or bfloat16 and by autocast.
    """
    if not wanted:
        yield
        return
    enabled, before = torch.backends.cudnn.enabled, [each.fp32_precision for each in _PRECISIONS]
    with ExitStack() as stack:
        for kind in ("cpu", "cuda"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        try:
            torch.backends.cudnn.enabled = False
            for each in _PRECISIONS:
                each.fp32_precision = "ieee"
            yield
        finally:
            torch.backends.cudnn.enabled = enabled
            for each, precision in zip(_PRECISIONS, before, strict=True):
                each.fp32_precision = precision
