"""Batches from two sources: labelled examples, and extra ones with labels that a model gave them.

Every batch has the same share of extra examples. An epoch is one pass over the labelled ones; the
extra ones go on from epoch to epoch, pass after pass, so that none is shown again before all were
shown. Each source has an order of its own, and its examples are keyed by their own indices.

Source: Wong 2020, sec 4.4.3; Rice 2023, sec 2.3.6: batches of 64 images of CIFAR-10 and 64
    pseudo-labelled ones of 500,000, so that an epoch costs two; Carmon et al. 2019,
    arXiv:1905.13736.
"""

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from holdfast.core.errors import InputError, described
from holdfast.core.random import Keys, permutation
from holdfast.data.augment import Augment
from holdfast.data.images import ImageData
from holdfast.data.load import load_data
from holdfast.training.batches import Batch, Batches, inputs_of
from holdfast.training.distributed import World


class MixedBatches(Batches):
    """The batches of every epoch, of two sources.

    Rows of a batch: the labelled ones, then the extra ones. Places: rows of `data`, then those of
    `extra` behind them.

    Args:
        data: the labelled examples, on the device.
        extra: the others, likewise, see `fitted`.
        size: examples of a batch over all processes; the last one of an epoch may be smaller.
        fraction: of a batch that is extra.
        seed: of orders and augmentation.
        augment: applied to images of both.
        world: whose part is taken.
        channels_last: memory layout of image batches.
        crop: side of the square that is cut from every image at random, or None.

    Guarantee: a batch has size - m labelled examples and m = round(size fraction) extra ones, the
        smaller last one the same share up to rounding; any batch can be made without those before.

    Raises:
        InputError: sources that do not fit each other, a share that leaves one of them out.
    """

    def __init__(
        self,
        data: ImageData,
        extra: ImageData,
        size: int,
        *,
        fraction: float = 0.5,
        seed: int,
        augment: Augment,
        world: World,
        channels_last: bool = False,
        crop: int | None = None,
    ):
        super().__init__(
            data,
            size,
            seed=seed,
            augment=augment,
            world=world,
            channels_last=channels_last,
            crop=crop,
        )
        self.extra = fitted(extra, data)
        self.labelled = size - round(size * fraction)
        if not 1 <= self.labelled < size:
            problem = f"leaves a source out of batches of {size}"
            raise InputError("fraction", fraction, problem, "give one between 0 and 1, such as 0.5")
        self.per_epoch = -(-len(data) // self.labelled)
        self._passes: dict[int, Tensor] = {}

    @property
    def count(self) -> int:
        """How many examples places are counted among: both sources."""
        return len(self.data) + len(self.extra)

    @property
    def examples(self) -> int:
        """How many an epoch shows, of both sources."""
        return len(self.data) + self._added(len(self.data))

    def rows(self, number: int) -> int:
        """How many batch `number` of an epoch holds, over all processes."""
        begin, end = self._span(number)
        return end - begin + self._added(end) - self._added(begin)

    def batch(self, epoch: int, number: int) -> Batch:
        """Batch `number` of an epoch, both from 0."""
        begin, end = self._span(number)
        start = epoch * self._added(len(self.data)) + self._added(begin)
        rows, passes = self._stream(start, self._added(end) - self._added(begin))
        chosen = torch.cat([self._epoch(epoch)[begin:end], rows + len(self.data)])
        places, factor = self.world.part(chosen)
        passes = self.world.part(torch.cat([torch.zeros_like(chosen[: end - begin]), passes]))[0]
        own = len(range(self.world.rank, end - begin, self.world.size)) if factor else 1
        mine, others = places[:own], places[own:] - len(self.data)
        keys = Keys.of(self.seed, self.data.index[mine]).fold("train").fold(epoch)
        added = Keys.of(self.seed, self.extra.index[others]).fold("extra").fold(passes[own:])
        return self._made(
            torch.cat([inputs_of(self.data, mine), inputs_of(self.extra, others)]),
            torch.cat([self.data.labels[mine], self.extra.labels[others]]),
            Keys(torch.cat([keys.state, added.state])),
            places,
            factor,
        )

    def _span(self, number: int) -> tuple[int, int]:
        """The part of an epoch's labelled examples that is in a batch."""
        begin = number * self.labelled
        return begin, min(begin + self.labelled, len(self.data))

    def _added(self, labelled: int) -> int:
        """Extra examples beside the first so many labelled ones of an epoch."""
        whole, rest = divmod(labelled, self.labelled)
        each = self.size - self.labelled
        return whole * each + round(rest * each / self.labelled)

    def _stream(self, start: int, count: int) -> tuple[Tensor, Tensor]:
        """The next rows of the extra examples after so many, and their passes, (count,) each."""
        size, device = len(self.extra), self.data.device
        rows, passes = [], []
        while count > 0:
            turn, begin = divmod(start, size)
            rows.append(self._pass(turn)[begin : begin + count])
            passes.append(torch.full_like(rows[-1], turn))
            start, count = start + len(rows[-1]), count - len(rows[-1])
        none = torch.zeros(0, dtype=torch.int64, device=device)
        return torch.cat([none, *rows]), torch.cat([none, *passes])

    def _pass(self, turn: int) -> Tensor:
        """The order of a pass over the extra examples; the last two used are remembered."""
        if turn not in self._passes:
            order = permutation(self.seed, "extra", turn, size=len(self.extra))
            kept = {each: self._passes[each] for each in list(self._passes)[-1:]}
            self._passes = {**kept, turn: order.to(self.data.device)}
        return self._passes[turn]


def load_extra(
    name_or_path: str | Path, data: ImageData, *, data_dir: Path | str | None = None
) -> ImageData:
    """Extra examples with their labels, by the name of a set or a path, fitted to `data`.

    Raises:
        InputError: unknown or damaged, see `load_data`; or not of the same task, see `fitted`.
    """
    extra = load_data(name_or_path, "train", data_dir=data_dir)
    return fitted(extra, data).to(data.device)


def fitted(extra: ImageData, data: ImageData) -> ImageData:
    """The extra examples, with labels that mean what those of `data` mean.

    Classes that have names, rather than numbers, are matched by them.

    Raises:
        InputError: none, or inputs of another shape, or classes that `data` does not have.
    """
    if extra.shape != data.shape or len(extra) == 0:
        shown = described(f"{len(extra)} inputs of shape {extra.shape}")
        remedy = f"give inputs of shape {data.shape}"
        raise InputError("extra", shown, "do not fit the labelled ones", remedy)
    labels = extra.labels
    if extra.names != data.names and not all(name.isdigit() for name in extra.names):
        unknown = sorted(set(extra.names) - set(data.names))
        if unknown:
            remedy = f"name them as {data.name} does, or by number"
            raise InputError("extra", unknown, "are no classes of the labelled ones", remedy)
        places = [data.names.index(name) for name in extra.names]
        labels = torch.tensor(places, device=labels.device)[labels]
    if int(labels.amin()) < 0 or int(labels.amax()) >= data.classes:
        shown = described(f"labels from {int(labels.amin())} to {int(labels.amax())}")
        remedy = f"give labels from 0 to {data.classes - 1}"
        raise InputError("extra", shown, "are not those of the labelled ones", remedy)
    return replace(extra, labels=labels, classes=data.classes, names=data.names)
