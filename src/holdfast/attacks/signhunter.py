"""SignHunter: the signs of the gradient found by flipping halves, quarters, eighths of the input.

A vector s of signs is all +1. At depth d the features are cut into 2^d chunks; one chunk after the
other is flipped in s, and stays flipped where L(x + eps s) rises. Then the depth grows by one. No
hyperparameter, and no randomness. For L2 the perturbation is eps s / sqrt(n).

Source: Al-Dujaili and O'Reilly 2020, arXiv:1902.06894, algorithm 2. Thesis: Andriushchenko 2024,
sec 3.9 (probe = eps).
Departures: after single features the depth starts again at 0 with the signs found, instead of
around the point found; a warm start supplies the first signs. With a radius per feature each moves
by its own.
"""

import math
from functools import lru_cache
from typing import Annotated

import torch
from torch import Tensor

from holdfast.attacks.attack import ScoreAttack
from holdfast.attacks.lanes import wide
from holdfast.attacks.protocol import Seen
from holdfast.attacks.rows import Rows
from holdfast.attacks.tiles import check_ball
from holdfast.core.recipes import Count, From, hyperparameters
from holdfast.losses.catalogue import LOSSES
from holdfast.losses.margin import Margin
from holdfast.losses.protocol import Loss


@hyperparameters
class SignHunter(ScoreAttack):
    """Divide and conquer over the signs of the perturbation.

    Args:
        queries: forward passes of an example at most, besides the clean one and the final check.
        loss: what is maximised.

    Guarantee: every feature of every point stands at the radius (before box and rounding).
    Cost: per example at most `queries` + 2 forwards.
    Needs: a finite Linf or L2 ball.
    Source: Al-Dujaili and O'Reilly 2020, arXiv:1902.06894.

    Example:
        >>> from holdfast.threats import Linf
        >>> model = torch.nn.Linear(4, 3)
        >>> x, y = torch.full((2, 4), 0.5), torch.tensor([0, 1])
        >>> result = SignHunter(queries=20).run(model, x, y, Linf(0.1))
        >>> bool((result.forwards <= 22).all())
        True
    """

    queries: Count = 10_000
    loss: Annotated[Loss, From(LOSSES)] = Margin()

    @property
    def steps(self) -> int:
        """The queries after the first."""
        return self.queries - 1

    @property
    def objective(self) -> Loss:
        """The loss."""
        return self.loss

    def begin(self, rows: Rows) -> Tensor:
        """All signs +1."""
        check_ball(rows.threat, (math.inf, 2.0), "SignHunter")
        signs = torch.ones_like(rows.origin)
        rows.memory["signs"], rows.memory["loss"] = signs, torch.zeros_like(signs.flatten(1)[:, 0])
        return _at_corner(rows, signs)

    def advance(self, rows: Rows, seen: Seen) -> Tensor:
        """Keeps the last flip where the loss rose, and flips the next chunk."""
        memory, first = rows.memory, rows.step == 0
        given = torch.where(rows.point < rows.origin, -1.0, 1.0).to(rows.origin)
        tried = torch.where(wide(first, given), given, self._flipped(rows, rows.step - 1))
        better = first | (seen.loss > memory["loss"])
        memory["signs"] = torch.where(wide(better, tried), tried, memory["signs"])
        memory["loss"] = torch.where(better, seen.loss, memory["loss"])
        return _at_corner(rows, self._flipped(rows, rows.step))

    def _flipped(self, rows: Rows, flip: Tensor) -> Tensor:
        """The signs with the chunk of flip number `flip` (b,) turned."""
        signs = rows.memory["signs"]
        size = signs[0].numel()
        table = torch.tensor(chunks(size, min(self.queries, 4 * size)), device=flip.device)
        chunk = table[flip.clamp_min(0) % len(table)]
        place = torch.arange(size, device=flip.device)
        turned = (place >= chunk[:, :1]) & (place < chunk[:, 1:])
        return torch.where(turned.view(signs.shape), -signs, signs)


@lru_cache(maxsize=8)
def chunks(size: int, most: int) -> tuple[tuple[int, int], ...]:
    """(start, end) of the chunks of `size` features, depth by depth down to single ones, at most
    `most`."""
    found: list[tuple[int, int]] = []
    for depth in range(math.ceil(math.log2(size)) + 1):
        length = -(-size // 2**depth)
        found += [(at, min(at + length, size)) for at in range(0, size, length)]
        if len(found) >= most:
            break
    return tuple(found[:most])


def _at_corner(rows: Rows, signs: Tensor) -> Tensor:
    """The point of the threat in the direction of the signs."""
    step = rows.threat.steepest(signs, rows.threat.reach)
    return rows.threat.project(rows.origin + step, rows.origin)
