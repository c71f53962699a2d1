"""Blocks in flight, and the last iterates that wait for a forward pass of their own."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from holdfast.attacks.foresight import Fan
from holdfast.attacks.rows import Rows


class Lane:
    """One block in flight: its rows, which of them are walking, and the best iterate of each.

    Args:
        block: how many rows.
    """

    def __init__(self, block: int):
        self.rows: Rows | None = None
        self.settled, self.busy = -1, False
        self.active = torch.zeros(block, dtype=torch.bool)

    def place(self, slots: Tensor, source: Rows, picks: Tensor) -> None:
        """Puts prepared rows into free places."""
        if self.rows is None:
            self.rows = source.clone()
            self.active = self.active.to(source.y.device)
            self.best_point = source.point.clone()
            self.best_rank = torch.full_like(source.y, math.inf, dtype=source.origin.dtype)
            self.best_margin = torch.full_like(self.best_rank, math.inf)
            self.best_loss = torch.zeros_like(self.best_rank)
        self.rows.put(slots, source, picks)
        self.best_rank[slots] = math.inf
        self.active[slots] = True

    def look_ahead(self) -> None:
        """Deals the free places to the rows that walk."""
        assert self.rows is not None
        fan = Fan.over(self.active)
        if fan is not None:
            fan.open(self.rows)
        self.rows.fan = fan

    def note(self, rank: Tensor, margin: Tensor, loss: Tensor) -> None:
        """Keeps the points just looked at where they rank lowest of their run so far."""
        assert self.rows is not None
        better = ~(rank >= self.best_rank)
        self.best_rank = torch.where(better, rank, self.best_rank)
        self.best_margin = torch.where(better, margin, self.best_margin)
        self.best_loss = torch.where(better, loss, self.best_loss)
        keep(self.best_point, self.rows.point, better)

    def best(self, at: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Point, rank, margin and loss of the best of the rows `at`."""
        columns = (self.best_point, self.best_rank, self.best_margin, self.best_loss)
        point, rank, margin, loss = (column[at] for column in columns)
        return point, rank, margin, loss


@dataclass(frozen=True, eq=False)
class Final:
    """Last points that await their evaluation."""

    example: Tensor
    run: Tensor
    point: Tensor
    y: Tensor
    looks: Tensor
    target: Tensor | None

    @staticmethod
    def join(parts: list["Final"]) -> "Final":
        """Several as one."""
        targets = [part.target for part in parts if part.target is not None]
        return Final(
            torch.cat([part.example for part in parts]),
            torch.cat([part.run for part in parts]),
            torch.cat([part.point for part in parts]),
            torch.cat([part.y for part in parts]),
            torch.cat([part.looks for part in parts]),
            torch.cat(targets) if targets else None,
        )


def keep(kept: Tensor, new: Tensor, which: Tensor) -> None:
    """Overwrites the rows `which` (b,) of `kept` (b, *E) by those of `new`. On a CPU those
    rows alone are copied, as they are commonly few; elsewhere counting them would wait."""
    if kept.device.type != "cpu":
        kept.copy_(torch.where(wide(which, kept), new, kept))
        return
    rows = which.nonzero()[:, 0]
    kept.index_copy_(0, rows, new.index_select(0, rows))


def wide(mask: Tensor, like: Tensor) -> Tensor:
    """A (b,) mask that broadcasts over (b, *E)."""
    return mask.view(-1, *(1,) * (like.ndim - 1))
