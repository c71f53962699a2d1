"""The Square Attack: random search with square windows, by scores alone.

    x_hat = start(x);  l* = loss(f(x_hat))
    for i = 1 .. queries - 1 while x_hat is not adversarial:
        x_new = a point of the threat that differs from x_hat in a window of side h(i)
        if loss(f(x_new)) improves on l*: x_hat, l* = x_new, loss(f(x_new))

What x_new is depends on the norm: `square_linf` (signs in one window), `square_l2` (mass moved from
one window to another), `square_l1` (the same for l1). Sides are in `square_schedule`.

Source: Andriushchenko, Croce, Flammarion and Hein 2020, arXiv:1912.00049, Alg 1; targeted and
ablations: its sec 5 and supplement; Andriushchenko 2024, ch. 3; l1: Croce and Hein 2021,
arXiv:2103.01208, sec 4.
Departures: windows are drawn for each example in all norms (the released l2 code draws one for a
batch); a tie of the label with another class counts as misclassified; the targeted margin is
z_t - z_y.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Annotated

import torch
from torch import Tensor

from holdfast.attacks.attack import ScoreAttack
from holdfast.attacks.lanes import keep
from holdfast.attacks.protocol import Seen
from holdfast.attacks.rows import Rows
from holdfast.attacks.square_l1 import propose_l1, start_l1
from holdfast.attacks.square_l2 import propose_l2, start_l2
from holdfast.attacks.square_linf import propose_linf, start_linf
from holdfast.attacks.square_schedule import Plan, Schedule, plan
from holdfast.attacks.square_update import Draw, Update
from holdfast.core.errors import UnsupportedThreat
from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.core.recipes import Count, From, Range, hyperparameters
from holdfast.losses.catalogue import LOSSES
from holdfast.losses.cross_entropy import cross_entropy
from holdfast.losses.margin import Margin, margin_loss
from holdfast.losses.protocol import Loss
from holdfast.threats.protocol import Threat
from holdfast.threats.radius import per_feature

Look = tuple[Tensor, Tensor, Tensor | None]
Start = Callable[[Rows, Plan, Update], Tensor]
Propose = Callable[[Rows, Plan, Update, Draw, Tensor], Tensor]
_LINF = float("inf")
_AHEAD = 32
_MOVES: dict[float, tuple[Start, Propose]] = {
    _LINF: (start_linf, propose_linf),
    2: (start_l2, propose_l2),
    1: (start_l1, propose_l1),
}


@hyperparameters
class Square(ScoreAttack):
    """The Square Attack in l_inf, l2 and l1 balls; by name square-QUERIES.

    Inputs (C, H, W) or (H, W) are images; (n,) are one row of neighbours.

    Args:
        queries: of a run, the start included.
        p_init: the fraction of the image that the first proposals change; 0.8 suits robust
            networks, 0.05 ImageNet, 0.01 targeted runs.
        restarts: runs from fresh starts, until one succeeds.
        schedule: when the fraction is halved; `released` also halves at 500, and makes the sides of
            l2 and l1 odd.
        rescale: stretches the schedule, made for 10000 queries, to `queries`.
        loss: what is maximised; None is the margin, and cross-entropy where there are targets.
        update: how windows are placed and filled.

    Guarantee: asks for scores only; the best loss never falls; success is re-checked; robust
        accuracy never rises with `restarts`.
    Cost: per example at most restarts * queries + 2 forwards, no backwards. Where the loss is the
        margin, free places of a block ask ahead (see `foresight`); what is then not used counts as
        padding.
    Needs: scores; a ball with a finite radius, the same for all features where it is l2 or l1.

    Raises:
        UnsupportedThreat: another threat.
        InputError: inputs of more than three axes.

    Example:
        >>> from holdfast.threats import Linf
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(72, 3))
        >>> x, y = torch.full((2, 2, 6, 6), 0.5), torch.tensor([0, 1])
        >>> result = Square(queries=20).run(model, x, y, Linf(0.1))
        >>> int(result.backwards.sum()), bool((result.forwards <= 22).all())
        (0, True)
    """

    queries: Annotated[int, Range(ge=2)] = 5000
    p_init: Annotated[float, Range(gt=0, le=1)] = 0.8
    restarts: Count = 1
    schedule: Schedule = "thesis"
    rescale: bool = True
    loss: Annotated[Loss, From(LOSSES)] | None = None
    update: Update = Update()

    @property
    def steps(self) -> int:
        """One proposal for each query after the start's."""
        return self.queries - 1

    @property
    def objective(self) -> Loss:
        """The loss."""
        return self.loss or _margin_or_cross_entropy

    def runs(self, classes: int) -> int:
        """Restarts."""
        return self.restarts

    @property
    def foresees(self) -> bool:
        """Whether a proposal whose loss is no larger changes nothing at all: if it is the margin,
        by which points are ranked."""
        return self.loss is None or isinstance(self.loss, Margin)

    def look(self, model: FrozenModel, rows: Rows) -> Look:
        """Logits and objective at the proposals; rows with places ahead go on to the first that
        matters."""
        logits, loss, gradient = super().look(model, rows)
        if rows.fan is not None:
            rows.fan.skip(rows, loss <= rows.memory["best_loss"], self.steps, logits, loss)
        return logits, loss, gradient

    def begin(self, rows: Rows) -> Tensor:
        """The start of the threat's norm."""
        check(rows.threat)
        start, _ = _MOVES[rows.threat.p]
        memory = rows.memory
        memory["stream"] = rows.keys.fold("square").state
        memory["best"] = start(rows, self._plan(rows), self.update).contiguous()
        memory["best_loss"] = torch.full_like(rows.y, -torch.inf, dtype=rows.origin.dtype)
        self._look_ahead(rows)
        return memory["best"].clone()

    def advance(self, rows: Rows, seen: Seen) -> Tensor:
        """Keeps the last proposal if its loss is larger than the best one's, and makes the next."""
        best, best_loss = rows.memory["best"], rows.memory["best_loss"]
        better = seen.loss > best_loss
        keep(best, rows.point, better)
        keep(best_loss, seen.loss, better)
        if rows.fan is not None:
            rows.fan.follow(rows, best, best_loss)
        _, propose = _MOVES[rows.threat.p]
        return propose(rows, self._plan(rows), self.update, self._draw(rows), best.clone())

    def _draw(self, rows: Rows) -> Draw:
        """What the next proposals draw."""
        ahead = rows.step - rows.memory["drawn"]
        if int(ahead.amax()) >= _AHEAD:
            self._look_ahead(rows)
            ahead.zero_()
        draws = rows.memory["draws"]
        return Draw.unpacked(
            draws[_count(len(draws), draws.device), ahead], self._plan(rows).shape[0]
        )

    def _look_ahead(self, rows: Rows) -> None:
        """Draws for the next proposals of each row at once, which is cheaper; the same numbers."""
        step = rows.step[:, None] + torch.arange(_AHEAD, device=rows.step.device)
        keys = Keys(rows.memory["stream"].repeat_interleave(_AHEAD))
        count = 1 if rows.threat.p == _LINF else 2
        draw = self.update.draw(keys, step.flatten(), self._plan(rows), count)
        rows.memory["draws"] = draw.packed.view(len(rows), _AHEAD, -1)
        rows.memory["drawn"] = rows.step.clone()

    def _plan(self, rows: Rows) -> Plan:
        flat = rows.threat.p != _LINF
        return plan(
            rows.origin.shape[1:],
            rows.origin.device,
            queries=self.queries,
            p_init=self.p_init,
            schedule=self.schedule,
            rescale=self.rescale,
            least=3 if flat else 1,
            odd=flat and self.schedule == "released",
        )


def released_square(queries: int = 5000, p_init: float = 0.8, restarts: int = 1) -> Square:
    """The choices of AutoAttack's copy of the released code: it does not rescale the schedule, and
    does not draw again where a proposal changes nothing."""
    update = Update(positions="released", normalize_halves=True, skip_noop=False)
    return Square(
        queries=queries,
        p_init=p_init,
        restarts=restarts,
        schedule="released",
        rescale=False,
        update=update,
    )


def check(threat: Threat) -> None:
    """Raises UnsupportedThreat unless the attack works in the threat."""
    radius = threat.radius
    finite = isinstance(radius, Tensor) or radius < float("inf")
    known = threat.p in _MOVES and (threat.p == _LINF or not per_feature(radius))
    if not (finite and known):
        raise UnsupportedThreat(
            f"Square does not work in {threat}; use an linf, l2 or l1 ball with a finite radius, "
            "the same for all features where it is l2 or l1"
        )


def _margin_or_cross_entropy(logits: Tensor, y: Tensor, target: Tensor | None = None) -> Tensor:
    """The margin, or minus the cross-entropy of a target."""
    if target is None:
        return margin_loss(logits, y)
    return cross_entropy(logits, y, target)


@lru_cache(maxsize=32)
def _count(rows: int, device: torch.device) -> Tensor:
    return torch.arange(rows, device=device)
