"""Means over the examples of several steps, kept on the device until they are read."""

from collections.abc import Mapping

import torch
from torch import Tensor

from holdfast.training.distributed import World


class Means:
    """Running means of scalars, weighted by how many examples each stands for."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.rows = 0

    def add(self, logs: Mapping[str, Tensor], rows: int) -> None:
        """Adds the scalars of a step; no value is read."""
        for name, value in logs.items():
            share = value.detach().double() * rows
            self.sums[name] = self.sums[name] + share if name in self.sums else share
        self.rows += rows

    def read(self, world: World) -> dict[str, float]:
        """The means over all processes; waits for the device once."""
        if not self.sums:
            return {}
        names = sorted(self.sums)
        values = torch.stack([self.sums[name] for name in names])
        total = world.total(torch.cat([values, values.new_tensor([self.rows])])).tolist()
        return {name: value / total[-1] for name, value in zip(names, total[:-1], strict=True)}

    def reset(self) -> None:
        """Begins anew."""
        self.sums, self.rows = {}, 0

    def restore(self, sums: Mapping[str, Tensor], rows: int, device: torch.device) -> None:
        """Goes on from saved sums."""
        self.sums = {name: value.to(device) for name, value in sums.items()}
        self.rows = rows
