"""Parsimonious attack: local search for the features at +eps, block by block.

Perturbations are vertices of the ball: each block of features stands at -eps or +eps. For the set S
of blocks at +eps, the loss F(S) is maximised by local search: blocks are added while one raises F,
then taken away while that raises F. Gains are cached, and, as F is treated as submodular, a cached
gain counts as an upper bound: only the block of the largest one is asked again (lazy greedy). Then
blocks are split in four, down to single features.

Source: Moon, An and Song 2019, arXiv:1905.06635, algorithms 1 to 3; Minoux 1978 (lazy greedy).
Thesis: Andriushchenko 2024, sec 3.9.
Departures: a phase ends, without a further query, when no cached gain is positive; with single
features the search goes on in new random groups; a warm start supplies the first signs.
"""

import math
from typing import Annotated

import torch
from torch import Tensor

from holdfast.attacks.attack import ScoreAttack
from holdfast.attacks.lanes import wide
from holdfast.attacks.protocol import Seen
from holdfast.attacks.rows import Rows
from holdfast.attacks.tiles import (
    block_corners,
    block_count,
    block_numbers,
    check_ball,
    image_shape,
)
from holdfast.core.recipes import Count, From, hyperparameters
from holdfast.losses.catalogue import LOSSES
from holdfast.losses.cross_entropy import CrossEntropy
from holdfast.losses.protocol import Loss

_DONE = -math.inf


@hyperparameters
class Parsimonious(ScoreAttack):
    """Lazy greedy local search over the vertices of the ball.

    Args:
        queries: forward passes of an example at most, besides the clean one and the final check.
        block: side of the first blocks; None is the power of two nearest to an eighth of the
            image's longer side.
        group: how many blocks are searched together, in random order.
        loss: what is maximised.

    Guarantee: every feature of every point stands at the radius (before the box); the loss never
        falls from one accepted point to the next.
    Cost: per example at most `queries` + 2 forwards.
    Needs: a finite Linf ball.
    Source: Moon, An and Song 2019, arXiv:1905.06635.
    """

    queries: Count = 10_000
    block: Count | None = None
    group: Count = 64
    loss: Annotated[Loss, From(LOSSES)] = CrossEntropy()

    @property
    def steps(self) -> int:
        """The queries after the first."""
        return self.queries - 1

    @property
    def objective(self) -> Loss:
        """The loss."""
        return self.loss

    def begin(self, rows: Rows) -> Tensor:
        """All features at -eps, nothing asked yet."""
        check_ball(rows.threat, (math.inf,), "Parsimonious")
        zero, event = torch.zeros_like(rows.step), rows.origin.shape[1:]
        group = min(self.group, event.numel())
        blank = torch.full_like(rows.origin.flatten(1)[:, :1], _DONE).repeat(1, group)
        rows.memory.update(
            signs=torch.full_like(rows.origin, -1.0),
            loss=torch.zeros_like(blank[:, 0]),
            side=torch.full_like(zero, self.block or first_side(event)),
            level=zero,
            at=zero.clone(),
            removing=zero.clone(),
            lazy=zero.clone(),
            slot=zero - 1,
            gains=blank,
        )
        rows.memory["order"] = self._shuffled(rows)
        return _at_corner(rows, rows.memory["signs"])

    def advance(self, rows: Rows, seen: Seen) -> Tensor:
        """Books the gain of the block just asked about, and chooses the next."""
        memory, first = rows.memory, rows.step == 0
        given = torch.where(rows.point > rows.origin, 1.0, -1.0).to(rows.origin)
        memory["signs"] = torch.where(wide(first, given), given, memory["signs"])
        memory["loss"] = torch.where(first, seen.loss, memory["loss"])
        gain = seen.loss - memory["loss"]
        asked = memory["slot"].clamp_min(0)[:, None]
        booked = memory["gains"].scatter(1, asked, gain[:, None])
        memory["gains"] = torch.where(first[:, None], memory["gains"], booked)
        top = memory["gains"].amax(dim=1)
        self._accept(rows, ~first & (memory["lazy"] == 1) & (gain >= top) & (gain > 0), gain)
        self._choose(rows)
        return _at_corner(rows, self._flipped(rows, torch.ones_like(first)))

    def _accept(self, rows: Rows, which: Tensor, gain: Tensor) -> None:
        """Flips the block at hand for good in the rows `which`, and strikes it from the list."""
        memory = rows.memory
        memory["signs"] = self._flipped(rows, which)
        memory["loss"] = torch.where(which, memory["loss"] + gain, memory["loss"])
        slot = memory["slot"].clamp_min(0)[:, None]
        struck = memory["gains"].scatter(1, slot, _DONE)
        memory["gains"] = torch.where(which[:, None], struck, memory["gains"])

    def _choose(self, rows: Rows) -> None:
        """Moves every row on to its next block to ask about, through as many phases as it takes."""
        memory = rows.memory
        open_ = torch.ones_like(rows.step, dtype=torch.bool)
        slots = torch.arange(memory["gains"].shape[1], device=open_.device)
        while bool(open_.any()):
            scanning = open_ & (memory["lazy"] == 0)
            fit = self._eligible(rows) & (slots > memory["slot"][:, None])
            found = scanning & fit.any(dim=1)
            memory["slot"] = torch.where(found, fit.int().argmax(dim=1), memory["slot"])
            top, best = memory["gains"].max(dim=1)
            scanned = scanning & ~found
            memory["slot"] = torch.where(open_ & ~found, best, memory["slot"])
            memory["lazy"] = torch.where(scanned, 1, memory["lazy"])
            self._accept(rows, scanned & (top > 0), top)
            asking = open_ & ~scanning & (top > 0)
            self._end_phase(rows, open_ & ~scanning & ~asking)
            open_ = open_ & ~found & ~asking

    def _eligible(self, rows: Rows) -> Tensor:
        """Which blocks of the group the phase may flip, (b, group)."""
        memory = rows.memory
        number, real = self._members(rows)
        corner = block_corners(rows.origin.shape[1:], memory["side"], number)
        raised = memory["signs"].flatten(1).gather(1, corner) > 0
        return real & (raised == (memory["removing"] == 1)[:, None])

    def _end_phase(self, rows: Rows, which: Tensor) -> None:
        """After adding comes taking away, then the next group, then smaller blocks."""
        memory = rows.memory
        memory["gains"] = memory["gains"].masked_fill(which[:, None], _DONE)
        memory["slot"] = torch.where(which, -1, memory["slot"])
        memory["lazy"] = torch.where(which, 0, memory["lazy"])
        over = which & (memory["removing"] == 1)
        memory["removing"] = torch.where(which, 1 - memory["removing"], memory["removing"])
        memory["at"] = torch.where(over, memory["at"] + self._group(rows), memory["at"])
        count = block_count(rows.origin.shape[1:], memory["side"])
        deeper = over & (memory["at"] >= count)
        if bool(deeper.any()):
            memory["at"] = torch.where(deeper, 0, memory["at"])
            memory["level"] = memory["level"] + deeper
            halved = (memory["side"] // 2).clamp_min(1)
            memory["side"] = torch.where(deeper, halved, memory["side"])
            memory["order"] = torch.where(deeper[:, None], self._shuffled(rows), memory["order"])

    def _group(self, rows: Rows) -> int:
        return rows.memory["gains"].shape[1]

    def _shuffled(self, rows: Rows) -> Tensor:
        """The order of the level's blocks, (b, n) for n features; the rest is no block."""
        size = rows.origin[0].numel()
        word = rows.keys.fold("order").uniform((size,), rows.memory["level"])
        count = block_count(rows.origin.shape[1:], rows.memory["side"])[:, None]
        beyond = torch.arange(size, device=count.device) >= count
        return (word + beyond).argsort(dim=1, stable=True)

    def _members(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """Numbers of the blocks in the group, (b, group), and which places of it are filled."""
        memory = rows.memory
        place = memory["at"][:, None] + torch.arange(self._group(rows), device=rows.step.device)
        real = place < block_count(rows.origin.shape[1:], memory["side"])[:, None]
        return memory["order"].gather(1, torch.where(real, place, 0)), real

    def _flipped(self, rows: Rows, which: Tensor) -> Tensor:
        """The signs with the block at hand turned, in the rows `which`."""
        memory, event = rows.memory, rows.origin.shape[1:]
        number, _ = self._members(rows)
        chosen = number.gather(1, memory["slot"].clamp_min(0)[:, None])[:, 0]
        turned = block_numbers(event, memory["side"]) == chosen.view(-1, 1, 1, 1)
        turned = turned.reshape(rows.origin.shape) & wide(which, rows.origin)
        return torch.where(turned, -memory["signs"], memory["signs"])


def first_side(event: torch.Size) -> int:
    """The power of two nearest, in ratio, to an eighth of the image's longer side."""
    return int(2 ** max(0, round(math.log2(max(image_shape(event)[1:]) / 8))))


def _at_corner(rows: Rows, signs: Tensor) -> Tensor:
    """The vertex of the ball with these signs, in the box."""
    step = rows.threat.steepest(signs, rows.threat.reach)
    return rows.threat.project(rows.origin + step, rows.origin)
