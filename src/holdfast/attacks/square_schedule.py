"""How large the windows of the Square Attack are, proposal by proposal.

A proposal changes a fraction p of the image, a square of side h = sqrt(p H W) rounded. p starts at
`p_init` and is halved each time the proposal's number i passes one of fixed numbers:

    thesis     10, 50, 200,      1000, 2000, 4000, 6000, 8000     (of 10000 queries)
    released   10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000

With another number N of queries, i' = floor(10000 i / N) is compared instead, if `rescale`d.

Source: Andriushchenko, Croce, Flammarion and Hein 2020, arXiv:1912.00049, sec 3.1; Andriushchenko
2024, sec 3.4.2. The published figures come from code that also halves at 500.
Departures: images with one row or column, such as feature vectors, keep the fraction, by a window
of round(p n) neighbours; in images that are not square the side is at most the shorter one.
"""

import math
from bisect import bisect_left
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

from holdfast.core.errors import InputError, described

Schedule = Literal["thesis", "released"]

_SCALE = 10_000
_HALVINGS = {
    "thesis": (10, 50, 200, 1000, 2000, 4000, 6000, 8000),
    "released": (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000),
}


@dataclass(frozen=True, eq=False)
class Plan:
    """The windows of all proposals on images of one shape.

    Args:
        shape: (C, H, W).
        sizes: (height, width) of the windows after no, one, two... halvings.
        table: (queries - 1, 3) int64: how many halvings, height and width of each proposal.
    """

    shape: tuple[int, int, int]
    sizes: tuple[tuple[int, int], ...]
    table: Tensor

    def at(self, step: Tensor) -> tuple[Tensor, Tensor]:
        """Halvings (b,), height and width (b, 2), of the proposal that follows `step` (b,)
        others."""
        row = self.table[step.clamp(max=len(self.table) - 1)]
        return row[:, 0], row[:, 1:]


@lru_cache(maxsize=64)
def plan(
    shape: tuple[int, ...],
    device: torch.device,
    *,
    queries: int,
    p_init: float,
    schedule: Schedule,
    rescale: bool,
    least: int,
    odd: bool,
) -> Plan:
    """The plan of a run; computed once for each shape and setting.

    Args:
        shape: E of the inputs, see `planes`.
        least: the smallest side.
        odd: adds 1 to even sides.
    """
    channels, height, width = planes(shape)
    sizes = tuple(
        window(p_init / 2**halvings, height, width, least, odd)
        for halvings in range(len(_HALVINGS[schedule]) + 1)
    )
    passed = halvings_of(queries, schedule, rescale)
    table = torch.tensor([(each, *sizes[each]) for each in passed], device=device)
    return Plan((channels, height, width), sizes, table)


def halvings_of(queries: int, schedule: Schedule, rescale: bool) -> list[int]:
    """How often p has been halved at proposals 1 .. queries - 1.

    Example:
        >>> halvings_of(1000, "thesis", rescale=True)[:6]
        [0, 1, 1, 1, 1, 2]
    """
    scaled = [i * _SCALE // queries if rescale else i for i in range(1, queries)]
    return [bisect_left(_HALVINGS[schedule], i) for i in scaled]


def window(p: float, height: int, width: int, least: int = 1, odd: bool = False) -> tuple[int, int]:
    """Height and width of a window of a fraction p of an image.

    Example:
        >>> window(0.05, 224, 224)
        (50, 50)
    """
    line = min(height, width) == 1
    side = max(round(p * height * width if line else math.sqrt(p * height * width)), least)
    if odd and side % 2 == 0:
        side += 1
    if not line:
        side = min(side, height, width)
    return min(side, height), min(side, width)


def planes(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """(C, H, W) of inputs of shape E: (C, H, W), (H, W), or n features as one row.

    Raises:
        InputError: an input with more axes, or none.
    """
    if not 1 <= len(shape) <= 3:
        problem = "is no image and no row of features"
        raise InputError("x", described(f"inputs of shape {shape}"), problem, "reshape to (C,H,W)")
    channels, height, width = (1,) * (3 - len(shape)) + tuple(shape)
    return channels, height, width
