"""What training keeps for every example from epoch to epoch: perturbations, averages, soft targets.

A memory is a set of tensors with one row per training example, addressed by the examples' places in
the training set. Shuffling and augmentation cannot mix rows up, and a checkpoint holds all of them.
Under several processes each example is shown by one process per epoch; `share` makes what each has
written known to all.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from holdfast.training.distributed import World


class Memory:
    """One row per training example, for every name.

    Args:
        count: N, the training examples.
        device: where the rows lie.

    Cost: N rows of every name; nothing before the first read or write of it.

    Example:
        >>> memory = Memory(4, torch.device("cpu"))
        >>> memory.write("weight", torch.tensor([2]), torch.tensor([0.5]))
        >>> memory.read("weight", torch.tensor([1, 2]))
        tensor([0.0000, 0.5000])
    """

    def __init__(self, count: int, device: torch.device):
        self.count, self.device = count, device
        self.tensors: dict[str, Tensor] = {}
        self.recording = True
        self._written: dict[str, Tensor] = {}

    def read(
        self,
        name: str,
        places: Tensor,
        *,
        shape: Sequence[int] = (),
        fill: float = 0.0,
        dtype: torch.dtype = torch.float32,
    ) -> Tensor:
        """The rows of a name, (B, *shape); all are `fill` before they are written.

        What was kept in another shape is forgotten: the images have another size now.
        """
        if name not in self.tensors or self.tensors[name].shape[1:] != torch.Size(shape):
            size = (self.count, *shape)
            self.tensors[name] = torch.full(size, fill, dtype=dtype, device=self.device)
            self._written.pop(name, None)
        return self.tensors[name][places]

    def write(self, name: str, places: Tensor, values: Tensor) -> None:
        """Replaces rows of a name by values (B, *shape); their type is the first write's or the
        read's before it. Nothing happens while `recording` is off."""
        if not self.recording:
            return
        if name not in self.tensors:
            self.read(name, places[:0], shape=values.shape[1:], dtype=values.dtype)
        kept = self.tensors[name]
        kept[places] = values.detach().to(kept.dtype)
        self._marks(name)[places] = True

    def share(self, world: World) -> None:
        """Makes what each process has written since the last time known to all.

        Every process calls it, having worked with the same names.
        """
        if world.size > 1:
            for name in sorted(self.tensors):
                kept, mine = self.tensors[name], self._marks(name)
                rows = mine.view(-1, *[1] * (kept.ndim - 1))
                total = world.total(torch.where(rows, kept, torch.zeros_like(kept)))
                written = world.total(mine.to(torch.int32)).view_as(rows) > 0
                kept.copy_(torch.where(written, total, kept))
        self._written.clear()

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Takes up the rows of a checkpoint."""
        self.tensors = {name: each.to(self.device).clone() for name, each in tensors.items()}
        self._written.clear()

    def _marks(self, name: str) -> Tensor:
        """Which rows of a name were written since the last time, (N,) bool."""
        if name not in self._written:
            marks = torch.zeros(self.count, dtype=torch.bool, device=self.device)
            self._written[name] = marks
        return self._written[name]
