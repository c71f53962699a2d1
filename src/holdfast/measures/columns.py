"""What measures of input gradients add up: values per example, and the look that fills them.

An example's values depend on the example, the model, the threat and its keys alone: examples are
looked at in blocks of one shape, and the rows that only fill the last block are dropped.

Source: none; bookkeeping.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from holdfast.core.errors import InputError, described
from holdfast.core.frozen import FrozenModel, Model, default_block, device_of
from holdfast.core.random import Keys
from holdfast.core.results import Estimate
from holdfast.data.checks import check_inputs
from holdfast.threats.protocol import Threat


@dataclass(frozen=True, eq=False)
class Columns:
    """Values of n examples by name, each (n, ...), in the order of the updates.

    Args:
        values: the columns; all have n rows.

    Raises:
        InputError: columns of different lengths, or sums of different columns.

    Example:
        >>> columns = Columns({"size": torch.tensor([1.0, 3.0])})
        >>> (columns + columns).mean("size").value
        2.0
    """

    values: Mapping[str, Tensor]

    def __post_init__(self) -> None:
        if len({len(column) for column in self.values.values()}) != 1:
            found = described(f"columns {sorted(self.values)}")
            raise InputError("values", found, "differ in length", "give n rows to each")

    def __len__(self) -> int:
        return len(next(iter(self.values.values())))

    def __getitem__(self, name: str) -> Tensor:
        """The column of this name."""
        return self.values[name]

    def __add__(self, other: "Columns") -> "Columns":
        if self.values.keys() != other.values.keys():
            found = described(f"columns {sorted(other.values)}")
            raise InputError("other", found, f"are not {sorted(self.values)}", "add like to like")
        joined = {name: torch.cat([self[name], other[name]]) for name in self.values}
        return Columns(joined)

    def mean(self, name: str) -> Estimate:
        """The mean of a column (n,), with its standard error; None for a single example."""
        column = self[name].double()
        stderr = float(column.std()) / len(self) ** 0.5 if len(self) > 1 else None
        return Estimate(float(column.mean()), stderr, len(self), self[name])


@dataclass(frozen=True, eq=False)
class Block:
    """Examples looked at together; the rows past `count` repeat another and are dropped.

    Args:
        x: (b, *E) inputs.
        y: (b,) labels.
        keys: of the examples.
        threat: of these rows, or None.
        count: how many rows are examples of their own.
    """

    x: Tensor
    y: Tensor
    keys: Keys
    threat: Threat | None
    count: int


Look = Callable[[FrozenModel, Block], Mapping[str, Tensor]]


def look_at(
    model: Model | FrozenModel,
    x: Tensor,
    y: Tensor,
    threat: Threat | None,
    keys: Keys | None,
    look: Look,
) -> Columns:
    """The columns that `look` gives for each block of the examples.

    Args:
        model: inputs (B, *E) to logits (B, K); a `FrozenModel` fixes block, mode and device.
        x: (B, *E) inputs.
        y: (B,) labels.
        threat: what the look needs of it, or None.
        keys: of the examples; None keys each by its own bytes.
        look: block -> columns (b, ...).

    Guarantee: in evaluation mode and in the model's own precision, never under autocast.

    Raises:
        InputError: no examples, inputs that are not finite, labels that do not fit.
    """
    if len(x) == 0:
        raise InputError("x", described("no examples"), "is empty", "give at least one")
    check_inputs(x, None)
    if len(y) != len(x):
        raise InputError("y", len(y), f"does not fit {len(x)} inputs", "give one each")
    frozen = model if isinstance(model, FrozenModel) else _freeze(model)
    x, y = x.to(frozen.device), y.to(frozen.device)
    keys = Keys.by_content(0, x) if keys is None else keys.to(frozen.device)
    parts = []
    with frozen, torch.no_grad(), torch.autocast(frozen.device.type, enabled=False):
        for block in _blocks(frozen, x, y, keys, threat):
            found = look(frozen, block)
            parts.append({name: column[: block.count] for name, column in found.items()})
    return Columns({name: torch.cat([part[name] for part in parts]) for name in parts[0]})


def needed(threat: Threat | None) -> Threat:
    """The threat, where there is one.

    Raises:
        InputError: None.
    """
    if threat is None:
        raise InputError("threat", None, "is missing", "give a threat, such as linf:8/255")
    return threat


def _freeze(model: Model) -> FrozenModel:
    return FrozenModel(model, block=default_block(device_of(model)))


def _blocks(
    frozen: FrozenModel, x: Tensor, y: Tensor, keys: Keys, threat: Threat | None
) -> Iterator[Block]:
    size = frozen.block or len(x)
    for start in range(0, len(x), size):
        index = torch.arange(start, start + size, device=x.device)
        count = min(size, len(x) - start)
        index = index.where(index < len(x), start)
        rows = None if threat is None else threat.rows(index)
        yield Block(x[index], y[index], keys[index], rows, count)
