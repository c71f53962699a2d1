"""Splits and orders: functions of a seed and a size, and of nothing else.

Departures: where a published split is the first 1,000 of a permutation drawn from a global
generator (Rice 2023, ch. 2), ours is the first 1,000 of a keyed one.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from holdfast.core.errors import InputError
from holdfast.core.random import permutation

if TYPE_CHECKING:
    from holdfast.data.images import ImageData


def split(
    n: int,
    *,
    seed: int,
    fractions: Sequence[float] | None = None,
    counts: Sequence[int] | None = None,
) -> tuple[Tensor, ...]:
    """Cuts 0 .. n - 1 into parts at random; give either `fractions` or `counts`.

    Args:
        fractions: of n, adding up to 1; the parts' ends are rounded.
        counts: adding up to n.

    Returns:
        One ascending int64 tensor of rows for each part.

    Guarantee: the parts are disjoint, cover all rows, and depend on (n, seed, sizes) only.

    Raises:
        InputError: both or neither given, a negative size, a wrong total.

    Example:
        >>> [len(part) for part in split(10, seed=0, fractions=(0.7, 0.3))]
        [7, 3]
    """
    if (fractions is None) == (counts is None):
        raise InputError("counts", counts, "is not the one size given", "fractions or counts")
    sizes = _sizes(n, fractions) if fractions is not None else list(counts or ())
    if sum(sizes) != n or min(sizes) < 0:
        raise InputError("counts", counts, f"does not add up to {n}", f"give parts of {n}")
    parts = torch.split(permutation(seed, "split", size=n), sizes)
    return tuple(part.sort().values for part in parts)


def train_validation(
    data: "ImageData", *, validation: int | float = 1000, seed: int = 0
) -> tuple["ImageData", "ImageData"]:
    """The training examples without, and then those held out for, validation.

    Args:
        validation: how many examples (a whole number), or which fraction of them (below 1).

    Guarantee: disjoint and covering; indices stay those of the original split.

    Raises:
        InputError: nothing left for training or for validation.
    """
    n = len(data)
    held = round(validation * n) if isinstance(validation, float) and validation < 1 else validation
    if held != int(held) or not 1 <= held < n:
        raise InputError(
            "validation", validation, f"leaves a part of {n} empty", f"give 1 to {n - 1}"
        )
    chosen, rest = split(n, seed=seed, counts=(int(held), n - int(held)))
    return data.select(rest), data.select(chosen)


def epoch_order(n: int, *, seed: int, epoch: int) -> Tensor:
    """The order in which an epoch meets n examples, (n,) int64 row numbers."""
    return permutation(seed, "epoch", epoch, size=n)


def stratified(strata: Tensor, count: int, *, seed: int) -> Tensor:
    """So many rows at random, of each stratum its share, (count,) int64 in ascending order.

    A share is rounded down; rows that are then missing come from the strata that lost most.

    Args:
        strata: (N,) int64, which one each row belongs to; all equal: a plain random sample.

    Guarantee: a stratum of m rows gives count m / N of them, up to one.

    Raises:
        InputError: a count below 1 or above N.

    Example:
        >>> strata = torch.tensor([0, 0, 0, 0, 1, 1])
        >>> strata[stratified(strata, 3, seed=0)].tolist()
        [0, 0, 1]
    """
    n = len(strata)
    if not 1 <= count <= n:
        raise InputError("count", count, f"is no part of {n} rows", f"give 1 to {n}")
    strata = strata.cpu()
    found, sizes = torch.unique(strata, return_counts=True)
    quotas, rest = sizes * count // n, sizes * count % n
    quotas[rest.argsort(descending=True, stable=True)[: count - int(quotas.sum())]] += 1
    order = permutation(seed, "sample", size=n)
    own = strata[order]
    parts = [order[own == each][:quota] for each, quota in zip(found, quotas, strict=True)]
    return torch.cat(parts).sort().values


def _sizes(n: int, fractions: Sequence[float]) -> list[int]:
    if not fractions or min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-9:
        raise InputError("fractions", fractions, "does not add up to 1", "give parts of 1")
    ends = [round(n * sum(fractions[: i + 1])) for i in range(len(fractions))]
    ends[-1] = n
    starts = [0, *ends[:-1]]
    return [end - start for start, end in zip(starts, ends, strict=True)]


def whole(n: int) -> Tensor:
    """The rows 0 .. n - 1, the index of data that are a split of their own."""
    return torch.arange(n, dtype=torch.int64)


def evenly(size: int, count: int) -> Tensor:
    """So many rows at equal distances in a set, (count,) int64 on the CPU: floor(i size / count).

    Example:
        >>> evenly(10, 4).tolist()
        [0, 2, 5, 7]
    """
    return torch.arange(count) * size // count
