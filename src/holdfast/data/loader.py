"""A prefetching loader for data that do not fit into memory.

Threads decode whole batches ahead of the reader; a bounded number of batches is under way at any
time. Which rows a batch holds is fixed before the first is decoded, by seed and epoch, and batches
come out in that order, however fast the threads are. Decoding releases the interpreter lock, so
threads serve as well as processes and share the source.
"""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from holdfast.core.errors import InputError
from holdfast.data.images import Batch, cut
from holdfast.data.splits import epoch_order, whole


class Source(Protocol):
    """Examples by row; `scale` is the level that stands for 1.0 where pixels are uint8."""

    scale: int

    def __len__(self) -> int: ...

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        """The input (*E), uint8 levels or float32, and the label."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Prefetch:
    """Batches of a source, decoded ahead of their use.

    Args:
        source: such as a `StreamedFolder`; read from several threads.
        batch_size: examples per batch; the last may be smaller.
        seed: of the order of the epochs.
        shuffle: in stable order where false.
        drop_last: leave out a last batch that is smaller.
        rows: (M,) which rows of the source to use, as for a shard; None: all.
        workers: threads.
        ahead: batches under way beyond the one that is used.
        device: where batches are handed over; None: on the CPU.

    Guarantee: the order is a function of seed and epoch. An example's index is its row in the
        source. An exception in a thread is raised in its batch's place. No thread is left when
        the iteration ends, fails or is given up.
    Cost: memory for `ahead` + 1 batches.

    Raises:
        InputError: a number below 1, rows that are not there.
    """

    source: Source
    batch_size: int
    seed: int = 0
    shuffle: bool = False
    drop_last: bool = False
    rows: Tensor | None = None
    workers: int = 2
    ahead: int = 4
    device: torch.device | str | None = None

    def __post_init__(self) -> None:
        for argument in ("batch_size", "workers", "ahead"):
            value = getattr(self, argument)
            if value < 1:
                raise InputError(argument, value, "is below 1", "give a whole number from 1")
        if self.rows is not None and self.rows.numel():
            low, high = int(self.rows.amin()), int(self.rows.amax())
            if low < 0 or high >= len(self.source):
                problem = f"are not all in 0 to {len(self.source) - 1}"
                raise InputError("rows", (low, high), problem, "give rows of the source")

    def __len__(self) -> int:
        """How many batches an epoch has."""
        return len(cut(self._rows(), self.batch_size, drop_last=self.drop_last))

    def batches(self, epoch: int = 0, *, start: int = 0) -> Iterator[Batch]:
        """Batches (x (B, *E) float32 in [0, 1], y (B,), index (B,)) of one epoch.

        Args:
            start: how many batches to leave out at the beginning, to resume within an epoch.
        """
        rows = self._rows()
        if self.shuffle:
            rows = rows[epoch_order(len(rows), seed=self.seed, epoch=epoch)]
        plan = iter(cut(rows, self.batch_size, start=start, drop_last=self.drop_last))
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="holdfast-data")
        waiting: deque[Future[Batch]] = deque()
        try:
            for part in plan:
                waiting.append(pool.submit(self._load, part))
                if len(waiting) > self.ahead:
                    yield self._handed(waiting.popleft().result())
            while waiting:
                yield self._handed(waiting.popleft().result())
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _rows(self) -> Tensor:
        return whole(len(self.source)) if self.rows is None else self.rows.cpu()

    def _load(self, rows: Tensor) -> Batch:
        """One batch, on a thread."""
        examples = [self.source[int(row)] for row in rows]
        x = torch.stack([example for example, _ in examples])
        if x.dtype == torch.uint8:
            x = x.to(torch.float32).div_(self.source.scale)
        batch = x, torch.tensor([label for _, label in examples], dtype=torch.int64), rows
        return batch if not self._on_gpu() else (x.pin_memory(), *batch[1:])

    def _handed(self, batch: Batch) -> Batch:
        if self.device is None:
            return batch
        x, y, index = (part.to(self.device, non_blocking=True) for part in batch)
        return x, y, index

    def _on_gpu(self) -> bool:
        return self.device is not None and torch.device(self.device).type == "cuda"
