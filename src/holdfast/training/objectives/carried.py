"""The perturbation that is carried from batch to batch: one per slot, whoever sits there.

A smaller last batch uses the first slots and leaves the others as they were.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

_NAME = "previous"


def carried(state: Mapping[str, Any] | None, x: Tensor) -> Tensor:
    """The perturbation of the batch before, of the size of x (B, *E); zero where there is none, or
    images of another size."""
    start = torch.zeros_like(x)
    if state is not None and state[_NAME].shape[1:] == x.shape[1:]:
        previous = state[_NAME][: len(x)]
        start[: len(previous)] = previous
    return start


def kept(delta: Tensor, state: Mapping[str, Any] | None) -> dict[str, Tensor]:
    """The state to carry on; what a smaller batch does not overwrite stays."""
    other = state is None or state[_NAME].shape[1:] != delta.shape[1:]
    if other or state is None or len(state[_NAME]) <= len(delta):
        return {_NAME: delta}
    return {_NAME: torch.cat([delta, state[_NAME][len(delta) :]])}
