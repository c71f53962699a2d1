"""Order statistics: max pooling, and the larger or the smaller of two values.

Each output is one of its candidates, which are shown side by side, so that one rule of relaxation
serves all (`maximum_lines.py`). A window of a pool is read as strided slices of the padded input,
one per tap of the kernel.

Source: Liu 2022, sec 3.1.2 (monotone operations); Singh et al. 2019 (DeepPoly), sec 4.4.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from holdfast.certify.operators.constants import Values
from holdfast.certify.operators.ops import OrderStatistic

_AXES: dict[Callable[..., Tensor], int] = {F.max_pool1d: 1, F.max_pool2d: 2, F.max_pool3d: 3}


@dataclass(frozen=True)
class MaxPool(OrderStatistic):
    """The maximum over windows.

    Args:
        function: `max_pool1d`, `max_pool2d` or `max_pool3d`.
        arguments: kernel size, stride (None means the kernel size), padding, dilation, ceil mode.
    """

    function: Callable[..., Tensor]
    arguments: tuple[Any, ...]

    def forward(self, inputs: Sequence[Tensor], values: Values) -> Tensor:
        """The maxima."""
        return self.function(inputs[0], *self.arguments)

    def candidates(self, inputs: Sequence[Tensor], fill: float) -> Tensor:
        """The numbers of each window."""
        x = inputs[0]
        axes = _AXES[self.function]
        counts = self.function(x[:1], *self.arguments).shape[-axes:]
        return torch.stack(list(self._taps(x, counts, fill)), 1)

    def _taps(self, x: Tensor, counts: Sequence[int], fill: float) -> Iterator[Tensor]:
        """The padded input at each tap of the kernel, (B, *out)."""
        axes, (size, step, *rest) = len(counts), self.arguments[:4]
        kernel, stride, padding, dilation = (
            _repeated(each, axes) for each in (size, step or size, *rest)
        )
        spans = [(count - 1) * far + 1 for count, far in zip(counts, stride, strict=True)]
        pads: list[int] = []
        for i in reversed(range(axes)):
            missing = spans[i] + dilation[i] * (kernel[i] - 1) - x.shape[i - axes] - padding[i]
            pads += [padding[i], max(0, missing)]
        padded = F.pad(x, pads, value=fill)
        for tap in product(*map(range, kernel)):
            starts = [at * dilated for at, dilated in zip(tap, dilation, strict=True)]
            sides = zip(starts, spans, stride, strict=True)
            window: list[Any] = [slice(start, start + span, far) for start, span, far in sides]
            yield padded[(..., *window)]


def _repeated(value: int | tuple[int, ...], axes: int) -> tuple[int, ...]:
    values = (value,) if isinstance(value, int) else value
    return values * axes if len(values) == 1 else values


@dataclass(frozen=True)
class Maximum(OrderStatistic):
    """The larger of two inputs, elementwise."""

    def forward(self, inputs: Sequence[Tensor], values: Values) -> Tensor:
        """max(x, x')."""
        return torch.maximum(inputs[0], inputs[1])

    def candidates(self, inputs: Sequence[Tensor], fill: float) -> Tensor:
        """Both."""
        return _side_by_side(inputs)


@dataclass(frozen=True)
class Minimum(OrderStatistic):
    """The smaller of two inputs, elementwise."""

    least = True

    def forward(self, inputs: Sequence[Tensor], values: Values) -> Tensor:
        """min(x, x')."""
        return torch.minimum(inputs[0], inputs[1])

    def candidates(self, inputs: Sequence[Tensor], fill: float) -> Tensor:
        """Both."""
        return _side_by_side(inputs)


def _side_by_side(inputs: Sequence[Tensor]) -> Tensor:
    shape = torch.broadcast_shapes(*(each.shape for each in inputs))  # type: ignore[no-untyped-call]
    return torch.stack([torch.broadcast_to(each, shape) for each in inputs], 1)
