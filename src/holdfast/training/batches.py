"""Batches of an epoch: which examples, in which order, augmented how.

All three are functions of the seed, the epoch and the examples' own indices, so any step can be
made again without those before it. The data lie on the device as they were stored; only the rows of
a batch become floats.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from holdfast.core.random import Keys
from holdfast.data.augment import Augment
from holdfast.data.images import ImageData
from holdfast.data.splits import epoch_order
from holdfast.training.distributed import World
from holdfast.training.resizing import random_resized_crop


@dataclass(frozen=True, eq=False)
class Batch:
    """One process's part of a batch.

    Args:
        x: (b, *E) inputs in [0, 1], augmented.
        y: (b,) labels.
        keys: of the examples in this epoch.
        places: (b,) their rows in the training set.
        params: of their augmentation.
        rows: how many of them count: b, or 0 where the part is a stand-in.
        factor: of their mean loss, see `World.part`.
    """

    x: Tensor
    y: Tensor
    keys: Keys
    places: Tensor
    params: tuple[Tensor, ...]
    rows: int
    factor: float


class Batches:
    """The batches of every epoch.

    Args:
        data: the training examples, on the device.
        size: examples of a batch over all processes; the last one of an epoch may be smaller.
        seed: of order and augmentation.
        augment: applied to images.
        world: whose part is taken.
        channels_last: memory layout of image batches.
        crop: side of squares that are cut at random before the augmentation, or None.
    """

    def __init__(
        self,
        data: ImageData,
        size: int,
        *,
        seed: int,
        augment: Augment,
        world: World,
        channels_last: bool = False,
        crop: int | None = None,
    ):
        self.data, self.size, self.seed, self.augment = data, size, seed, augment
        self.world, self.channels_last, self.crop = world, channels_last, crop
        self.per_epoch = -(-len(data) // size)
        self._order: tuple[int, Tensor] | None = None

    @property
    def count(self) -> int:
        """How many examples places are counted among."""
        return len(self.data)

    @property
    def examples(self) -> int:
        """How many an epoch shows."""
        return len(self.data)

    def rows(self, number: int) -> int:
        """How many batch `number` of an epoch holds, over all processes."""
        return min(self.size, len(self.data) - number * self.size)

    def batch(self, epoch: int, number: int) -> Batch:
        """Batch `number` of an epoch, both from 0."""
        order = self._epoch(epoch)
        rows, factor = self.world.part(order[number * self.size : (number + 1) * self.size])
        keys = Keys.of(self.seed, self.data.index[rows]).fold("train").fold(epoch)
        return self._made(inputs_of(self.data, rows), self.data.labels[rows], keys, rows, factor)

    def _made(self, x: Tensor, y: Tensor, keys: Keys, places: Tensor, factor: float) -> Batch:
        """The batch of examples as stored: cropped, augmented, laid out."""
        if self.crop is not None:
            x = random_resized_crop(x, keys, self.crop)
        params = self.augment.draw(keys.fold("augment"), x.shape[1:])
        if params:
            x = self.augment.apply(x, params)
        if self.channels_last and x.ndim == 4:
            x = x.contiguous(memory_format=torch.channels_last)
        counted = len(places) if factor else 0
        return Batch(x, y, keys.fold("objective"), places, params, counted, factor)

    def _epoch(self, epoch: int) -> Tensor:
        if self._order is None or self._order[0] != epoch:
            order = epoch_order(len(self.data), seed=self.seed, epoch=epoch)
            self._order = (epoch, order.to(self.data.device))
        return self._order[1]


def inputs_of(data: ImageData, rows: Tensor) -> Tensor:
    """As `ImageData.inputs`, without its check of rows, which would wait for the device."""
    images = data.images[rows]
    return images.to(torch.float32).div_(data.scale) if images.dtype == torch.uint8 else images
