"""Training by several processes under `torchrun`: each takes its part of every batch.

The loss of a process is scaled by its share of the batch, so that the averaged gradient is that of
the whole batch also where the shares differ; without batch norm, training equals that of one
process up to rounding, since orders, augmentations and attacks are keyed by example. Only rank 0
writes. Processes meet once and stay together until they end: a second meeting would find the
addresses of the first. Batch norm is `local` (each process normalises its own part, the statistics
of rank 0 are kept) or `sync` (all together).
"""

import atexit
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import Literal

import torch
import torch.distributed as dist
import torch.distributed.nn.functional  # before processes meet, see `leave`
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from holdfast.core.errors import InputError
from holdfast.runs.executors import Shard

BatchNormPolicy = Literal["local", "sync"]


@dataclass(frozen=True)
class World:
    """The processes that train together.

    Args:
        rank: of this one.
        size: how many there are.
        device: of this one.
    """

    rank: int
    size: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes and tells."""
        return self.rank == 0

    def part(self, rows: Tensor) -> tuple[Tensor, float]:
        """The rows of a batch that are this process's, and the factor of their mean loss.

        Where there are fewer rows than processes, one is computed and counted for nothing.
        """
        if self.size == 1:
            return rows, 1.0
        mine = rows[self.rank :: self.size]
        if len(mine) == 0:
            return rows[:1], 0.0
        return mine, self.size * len(mine) / len(rows)

    def total(self, values: Tensor) -> Tensor:
        """The sum of a tensor over all processes."""
        if self.size > 1:
            values = values.clone()
            dist.all_reduce(values)
        return values

    def wrapped(self, model: nn.Module) -> nn.Module:
        """The model whose weight gradients are averaged over all processes."""
        if self.size == 1:
            return model
        ids = [self.device.index] if self.device.type == "cuda" else None
        return DistributedDataParallel(model, device_ids=ids)


@contextmanager
def joined(device: torch.device) -> Iterator[World]:
    """The place of this process among those that `torchrun` started; alone without them.

    Raises:
        InputError: several processes without a launcher that lets them meet.
    """
    shard = Shard.current()
    if shard.world == 1:
        yield World(0, 1, device)
        return
    if "MASTER_ADDR" not in os.environ:
        remedy = "start training with torchrun --nproc-per-node N"
        raise InputError("WORLD_SIZE", shard.world, "has no launcher to meet in", remedy)
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    if not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        atexit.register(leave)
    yield World(shard.rank, shard.world, device)


def leave() -> None:
    """Parts from the other processes, if they have met, and waits for the threads that served this.

    Called when the process ends, while the interpreter is whole: a thread of the library that is
    still about to give back a tensor then aborts the process. The threads end with the last
    reference to the group. `torch.distributed.nn.functional`, which training imports, keeps the
    group of the time as the default of its arguments, and so for good, unless it is imported
    before processes meet.
    """
    if dist.is_initialized():
        dist.destroy_process_group()


def has_batch_norm(network: nn.Module) -> bool:
    """Whether any module keeps batch statistics."""
    return any(isinstance(module, _BatchNorm) for module in network.modules())


def batch_norm_note(network: nn.Module, policy: BatchNormPolicy, world: World) -> str:
    """What is recorded about batch norm: `none`, `one process`, `local` or `sync`."""
    if not has_batch_norm(network):
        return "none"
    return "one process" if world.size == 1 else policy


def synchronised(network: nn.Module, policy: BatchNormPolicy, world: World) -> nn.Module:
    """The network to train: itself, or for `sync` a copy whose batch norms work together.

    Raises:
        InputError: `sync` without CUDA.
    """
    if policy != "sync" or world.size == 1 or not has_batch_norm(network):
        return network
    if world.device.type != "cuda":
        remedy = "use training.batch_norm = 'local'"
        raise InputError("training.batch_norm", policy, "needs CUDA", remedy)
    convert: Callable[[nn.Module], nn.Module] = nn.SyncBatchNorm.convert_sync_batchnorm
    return convert(deepcopy(network))
