"""Batches of an epoch: which examples, in which order, augmented how.

All three are functions of the seed, the epoch and the examples' own indices, so any step can be
made again without those before it. The data lie on the device as they were stored; only the rows of
a batch become floats. Images that stay in their files are decoded some batches ahead.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from holdfast.core.random import Keys
from holdfast.data.augment import Augment
from holdfast.data.images import ImageData
from holdfast.data.splits import epoch_order
from holdfast.data.streaming import Decoding, Files, StreamedData
from holdfast.training.distributed import World
from holdfast.training.resizing import random_resized_crop

AHEAD = 2
"""So many batches are decoded before they are asked for."""


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
        self._ahead = Ahead(data.images) if isinstance(data, StreamedData) else None

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
        rows, factor = self._part(epoch, number)
        keys = Keys.of(self.seed, self.data.index[rows]).fold("train").fold(epoch)
        x = self._inputs(epoch, number, rows)
        return self._made(x, self.data.labels[rows], keys, rows, factor)

    def _part(self, epoch: int, number: int) -> tuple[Tensor, float]:
        """The rows of a batch that are this process's, and the factor of their mean loss."""
        order = self._epoch(epoch)
        return self.world.part(order[number * self.size : (number + 1) * self.size])

    def _inputs(self, epoch: int, number: int, rows: Tensor) -> Tensor:
        """The inputs of these rows, which make a batch."""
        if self._ahead is None:
            return inputs_of(self.data, rows)
        coming = range(number + 1, min(number + 1 + AHEAD, self.per_epoch))
        plan = {(epoch, number): rows} | {(epoch, n): self._part(epoch, n)[0] for n in coming}
        return self._ahead.take((epoch, number), plan).to(torch.float32).div_(self.data.scale)

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


class Ahead:
    """Decodes the batches to come while the present one is trained on.

    Args:
        files: the images.

    Cost: memory for the present batch and those of the plan.
    """

    def __init__(self, files: Files):
        self._files = files
        self._coming: dict[tuple[int, int], Decoding] = {}
        self._last: tuple[tuple[int, int], Tensor] | None = None

    def take(self, place: tuple[int, int], plan: Mapping[tuple[int, int], Tensor]) -> Tensor:
        """The images of a batch, uint8 (b, C, H, W); a batch that is shown again is not decoded
        again.

        Args:
            plan: the rows of this batch and of those that follow, by place.
        """
        if self._last is None or self._last[0] != place:
            for other in self._coming.keys() - plan.keys():
                self._coming.pop(other).cancel()
            for each, rows in plan.items():
                if each not in self._coming:
                    self._coming[each] = self._files.begin(rows)
            self._last = place, self._coming.pop(place).result()
        return self._last[1]


def inputs_of(data: ImageData, rows: Tensor) -> Tensor:
    """As `ImageData.inputs`, without its check of rows, which would wait for the device."""
    images = data.images[rows]
    return images.to(torch.float32).div_(data.scale) if images.dtype == torch.uint8 else images
