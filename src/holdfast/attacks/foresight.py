"""Moves further ahead in the free places of a block.

A random search makes one proposal after the other, and most change nothing: the next is then made
from the same point. So where a block has more places than rows that walk, the free ones hold each
row's next proposals as if none before were taken,

    row at move i:   i, i + 1, ..., i + k - 1,

and the row goes on to the first that matters, or past all of them. What lies behind that one was
asked for nothing and counts as padding, like the copies of rows that fill a block otherwise. The
walk is the same to the bit: draws are functions of a row's move, and rows of one block do not
change each other.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from holdfast.attacks.rows import Rows


@dataclass(frozen=True, eq=False)
class Fan:
    """Which places of a block look ahead for which row.

    Args:
        places: (a, k) the places of each walking row, itself first, then those for its next moves.
    """

    places: Tensor

    @staticmethod
    def over(active: Tensor) -> "Fan | None":
        """The free places dealt to the `active` (b,) rows; None where there are too few."""
        walking = active.nonzero()[:, 0]
        count = len(walking)
        if not 0 < 2 * count <= len(active):
            return None
        ahead = len(active) // count - 1
        free = (~active).nonzero()[: count * ahead, 0]
        return Fan(torch.cat([walking[:, None], free.view(ahead, count).T], dim=1))

    def open(self, rows: "Rows") -> None:
        """Copies each row to its places; they have moved nowhere yet."""
        rows.put(self._followers, rows, self._leaders)

    def skip(self, rows: "Rows", idle: Tensor, steps: int, *seen: Tensor) -> None:
        """Takes each row past proposals that change nothing, in place.

        Args:
            idle: (b,) bool, places whose point changes nothing.
            steps: moves of a run, the last of which is looked at elsewhere.
            seen: what the model answered, (b, ...) each; moves along.
        """
        step = rows.step[self.places]
        ready = (step[:, 1:] == step[:, :1] + self._ahead) & (step[:, 1:] < steps)
        jump = (idle[self.places[:, :-1]] & ready).long().cumprod(dim=1).sum(dim=1)
        at, leaders = self.places.gather(1, jump[:, None])[:, 0], self.places[:, 0]
        for column in (rows.point, rows.step, *seen):
            column[leaders] = column[at]
        rows.looks[leaders] += jump

    def follow(self, rows: "Rows", *columns: Tensor) -> None:
        """Sets the places for next moves to what their row is at, in place.

        Args:
            columns: (b, ...) each, what a row's next proposals depend on.
        """
        followers, leaders = self._followers, self._leaders
        for column in columns:
            column[followers] = column[leaders]
        ahead = self._ahead.expand(len(self.places), -1)
        rows.step[followers] = rows.step[leaders] + ahead.flatten()

    @property
    def _followers(self) -> Tensor:
        return self.places[:, 1:].flatten()

    @property
    def _leaders(self) -> Tensor:
        return self.places[:, :1].expand(-1, self.places.shape[1] - 1).flatten()

    @property
    def _ahead(self) -> Tensor:
        return torch.arange(1, self.places.shape[1], device=self.places.device)
