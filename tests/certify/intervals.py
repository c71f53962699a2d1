"""Intervals at which lines are hard to get right, and operations in extended precision."""

from itertools import combinations_with_replacement

import numpy as np
import torch
from torch import Tensor

from holdfast.certify.operators.activations import Arctan, LeakyReLU, Sigmoid, Tanh
from holdfast.certify.operators.lines import Lines
from holdfast.certify.operators.ops import Op
from holdfast.certify.operators.structural import Clamp, ReLU
from holdfast.certify.rounding import Box
from holdfast.core.random import Keys

LONG = np.longdouble
SIZES = (5e-324, 1e-310, 1e-300, 1e-8, 0.3, 1.0, 5.0, 40.0, 800.0, 1e6, 1e15, 1e300)
ENDS = sorted({0.0, *SIZES, *(-size for size in SIZES)})
BENDS = (0.0, 1.0, -1.0, 6.0, 0.3, 0.7, -0.2)
OPS: dict[str, Op] = {
    "relu": ReLU(),
    "leaky": LeakyReLU(0.01),
    "abs": LeakyReLU(-1.0),
    "falling": LeakyReLU(-0.3),
    "concave": LeakyReLU(1.7),
    "straight": LeakyReLU(1.0),
    "hardtanh": Clamp(-1.0, 1.0),
    "relu6": Clamp(0.0, 6.0),
    "shifted": Clamp(0.3, 0.7),
    "floor": Clamp(0.3, None),
    "ceiling": Clamp(None, -0.2),
    "constant": Clamp(0.4, 0.4),
    "sigmoid": Sigmoid(),
    "tanh": Tanh(),
    "arctan": Arctan(),
}


def extended(op: Op, z: np.ndarray) -> np.ndarray:
    """The operation in the widest floats there are."""
    if isinstance(op, ReLU):
        return np.maximum(z, 0)
    if isinstance(op, LeakyReLU):
        return np.where(z > 0, z, LONG(op.slope) * z)
    if isinstance(op, Clamp):
        return np.clip(z, op.low, op.high)
    if isinstance(op, Sigmoid):
        return 1 / (1 + np.exp(-z))
    return np.tanh(z) if isinstance(op, Tanh) else np.arctan(z)


def hard() -> Box:
    """All pairs of ends from denormal to huge, and 300 random intervals around zero."""
    pairs = torch.tensor(list(combinations_with_replacement(ENDS, 2)), dtype=torch.float64)
    low, width = moderate(300)
    return Box(torch.cat([pairs[:, 0], low]), torch.cat([pairs[:, 1], low + width]))


def moderate(count: int) -> tuple[Tensor, Tensor]:
    """Lower ends in [-8, 8] and widths from 1e-9 to 16, mostly across zero."""
    u = Keys.of(3, range(3)).uniform((count,)).double()
    return (u[0] - 0.5) * 16 * u[2], 16 * torch.exp2(-34 * u[1] ** 3)


def grid(box: Box, count: int = 41) -> np.ndarray:
    """Points of each interval, (count + 9, B): evenly, both ends, and the bends."""
    low, high = (end.numpy().astype(LONG) for end in box)
    even = low + (high - low) * (np.arange(count, dtype=LONG) / (count - 1))[:, None]
    special = [np.full_like(low, at) for at in BENDS]
    points = np.concatenate([even, np.stack(special)])
    return np.clip(np.concatenate([points, low[None], high[None]]), low, high)


def gaps(op: Op, lines: Lines, z: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """op - lower line, upper line - op, and the rounding error of either, (points, B)."""
    a, b, c, d = (np.broadcast_to(each.numpy(), z.shape[1:]).astype(LONG) for each in lines)
    with np.errstate(over="ignore"):
        value = extended(op, z)
    size = np.abs(value) + np.maximum(np.abs(a * z) + np.abs(b), np.abs(c * z) + np.abs(d))
    return value - (a * z + b), c * z + d - value, 8 * np.finfo(LONG).eps * size
