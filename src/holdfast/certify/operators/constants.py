"""What does not depend on the input: parameters, buffers and what a model computes from them.

A graph refers to its constants by number. `Constants.bind` looks each one up in the user's module,
by name, at every evaluation: an optimiser step, a loaded checkpoint or a move to another device is
seen at once, and gradients flow into the module's own parameters.

What a model computes from them is computed in their own dtype, as the model does it, and cast last:
the sign of a float32 weight less 0.1 may be another one in float64.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map_only


@dataclass(frozen=True)
class Constant:
    """The place of one constant in the table of its graph."""

    index: int


@dataclass(frozen=True)
class Named:
    """A parameter or buffer of the module, looked up by its qualified name."""

    name: str


@dataclass(frozen=True, eq=False)
class Fixed:
    """A tensor or number that the model's code holds by itself."""

    value: Tensor | float


@dataclass(frozen=True, eq=False)
class Folded:
    """An operation on constants only, such as the weight of a weight-normalised layer."""

    target: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]


Source = Named | Fixed | Folded


@dataclass(frozen=True, eq=False)
class Constants:
    """The constants of a graph and the module that they live in.

    Args:
        model: the user's module.
        sources: where each constant comes from; a folded one refers to earlier ones.
    """

    model: nn.Module
    sources: tuple[Source, ...]

    def bind(self, dtype: torch.dtype, device: torch.device) -> "Values":
        """The constants for one evaluation, floating ones cast to `dtype`, all on `device`."""
        return Values(self, dtype, device)

    def named(self, name: str) -> Tensor:
        """The module's own tensor of this qualified name."""
        value: Tensor = reduce(getattr, name.split("."), self.model)  # type: ignore[assignment]
        return value

    def names(self, used: Iterable[Constant]) -> list[str]:
        """The qualified names of the module's tensors that these constants are made of."""
        found: dict[str, None] = {}
        for constant in used:
            source = self.sources[constant.index]
            if isinstance(source, Named):
                found[source.name] = None
            elif isinstance(source, Folded):
                leaves = tree_leaves((source.args, dict(source.kwargs)))
                parts = [leaf for leaf in leaves if isinstance(leaf, Constant)]
                found |= dict.fromkeys(self.names(parts))
        return list(found)


class Values:
    """The constants of one evaluation, each computed when it is first asked for."""

    def __init__(self, constants: Constants, dtype: torch.dtype, device: torch.device):
        self._constants, self._dtype, self._device = constants, dtype, device
        self._stored: dict[int, Tensor] = {}
        self._cast: dict[int, Tensor] = {}

    def __getitem__(self, constant: Constant) -> Tensor:
        if constant.index not in self._cast:
            value = self._own(constant)
            dtype = self._dtype if value.is_floating_point() else value.dtype
            self._cast[constant.index] = value.to(dtype)
        return self._cast[constant.index]

    def floating(self, constant: Constant) -> Tensor:
        """The constant in the dtype of the evaluation, also where it is whole numbers or a mask."""
        return self[constant].to(self._dtype)

    def _own(self, constant: Constant) -> Tensor:
        """The constant in its own dtype."""
        if constant.index not in self._stored:
            value = self._evaluated(self._constants.sources[constant.index])
            self._stored[constant.index] = value.to(self._device)
        return self._stored[constant.index]

    def _evaluated(self, source: Source) -> Tensor:
        if isinstance(source, Named):
            return self._constants.named(source.name)
        if isinstance(source, Fixed):
            fixed = source.value
            return fixed if isinstance(fixed, Tensor) else torch.tensor(fixed, dtype=self._dtype)
        args, kwargs = tree_map_only(Constant, self._own, (source.args, dict(source.kwargs)))
        value: Tensor = source.target(*args, **kwargs)
        return value
