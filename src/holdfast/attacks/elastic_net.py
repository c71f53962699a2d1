"""Elastic-net attack (EAD): iterative shrinkage of a small L1 perturbation.

With f(x') = max(kappa - lead(x'), 0), a search with constant c minimises

    c f(x') + ||x' - x||_2^2 + beta ||x' - x||_1

by FISTA: a gradient step on the smooth part at y_k, then shrinkage towards x, then momentum,

    x_{k+1} = S_beta( y_k - a_k grad ),   y_{k+1} = x_{k+1} + k / (k + 3) (x_{k+1} - x_k),

where S_beta(z)_i is x_i if |z_i - x_i| <= beta, else z_i moved by beta towards x_i and clipped to
the box; a_k = `learning_rate` * sqrt(1 - k / iterations). c is searched for as in the L2 attack of
Carlini and Wagner.

Symbols: kappa = `confidence`, beta = `beta`, c_0 = `initial_const`.
Source: Chen et al. 2018, arXiv:1709.04114, alg 1 and the settings of its experiments.
Departures: a search ends where its own example's lowest loss stands still, not the batch's,
and not at all by default, as that makes perturbations larger; `fista=False` leaves the momentum
out, y_k = x_k.
"""

from dataclasses import replace
from typing import Any, ClassVar, Literal, Self, cast

import torch
from torch import Tensor

from holdfast.attacks.carlini_wagner import PenaltyAttack, lead
from holdfast.attacks.ddn import check_norm
from holdfast.attacks.lanes import wide
from holdfast.attacks.protocol import Finished, Listener, Seen, Tick
from holdfast.attacks.rows import Rows
from holdfast.core.frozen import FrozenModel, Model
from holdfast.core.random import Keys
from holdfast.core.recipes import NonNegative, hyperparameters
from holdfast.core.results import AttackResult
from holdfast.core.tensors import norm, per_example
from holdfast.threats.box import Box
from holdfast.threats.protocol import Threat


@hyperparameters
class EAD(PenaltyAttack):
    """The elastic-net attack for L1.

    Args:
        beta: weight of the L1 norm, and the threshold of the shrinkage, in input units.
        rule: which success is kept: of the smallest L1 norm (`l1`), or of the smallest elastic net
            ||d||_2^2 + beta ||d||_1 (`en`).
        fista: whether steps carry momentum; without, they are those of ISTA.

    Guarantee: the smallest success of all points by `rule`, with `confidence` of those that have it
        (unless the radius is finite); with a finite radius it ends at one inside.
    Cost: per example at most binary_steps * iterations backwards, and two forwards for each, at
        x_k and y_k, and 3 more.
    Needs: input gradients; an L1 ball. Searches begin at a `start`.

    Example:
        >>> import torch
        >>> from holdfast.threats import L1
        >>> model = torch.nn.Linear(4, 2)
        >>> x, y = torch.full((1, 4), 0.5), torch.tensor([0])
        >>> attack = EAD(binary_steps=2, iterations=10)
        >>> attack.run(model, x, y, L1("inf")).x_adv.shape
        torch.Size([1, 4])
    """

    beta: NonNegative = 1e-3
    rule: Literal["l1", "en"] = "l1"
    fista: bool = True
    abort_early: bool = False
    cost: ClassVar[tuple[int, int]] = (2, 1)

    def run(
        self,
        model: Model | FrozenModel,
        x: Tensor,
        y: Tensor,
        threat: Threat,
        *,
        keys: Keys | None = None,
        start: Tensor | None = None,
        targets: Tensor | None = None,
        on_event: Listener | None = None,
    ) -> AttackResult:
        """Searches as `GradientAttack.run`; by the rule `en`, successes are ranked by the elastic
        net, and results still report their L1 size."""
        options: dict[str, Any] = {"keys": keys, "start": start, "targets": targets}
        if self.rule == "l1":
            return super().run(model, x, y, threat, on_event=on_event, **options)

        def measured(result: AttackResult, origin: Tensor) -> AttackResult:
            size = threat.size(result.x_adv, origin.to(result.x_adv))
            return replace(result, size=size)

        def forward(event: Finished | Tick) -> None:
            assert on_event is not None
            if isinstance(event, Finished):
                origin = x[event.rows.to(x.device)]
                event = replace(event, result=measured(event.result, origin))
            on_event(event)

        net = cast(Threat, ElasticNet(threat, self.beta))
        listener = None if on_event is None else forward
        return measured(super().run(model, x, y, net, on_event=listener, **options), x)

    def begin(self, rows: Rows) -> Tensor:
        """The clean input."""
        check_norm(rows.threat, (1.0,), "elastic-net")
        self.prepare(rows, 1e-3)
        zero = torch.zeros_like(rows.origin)
        rows.memory |= {"first": zero, "pushed": zero, "ahead": rows.memory["lower"].clone()}
        return rows.origin

    def look(self, model: FrozenModel, rows: Rows) -> tuple[Tensor, Tensor, Tensor | None]:
        """Logits and lead at x_k, and the gradient of the lead at y_k."""
        memory, begins = rows.memory, wide(rows.step == 0, rows.point)
        for name in ("first", "pushed"):
            memory[name] = torch.where(begins, rows.point, memory[name])
        _, memory["ahead"], gradient = model.value_and_grad(
            memory["pushed"], lambda logits: lead(logits, rows.y, rows.target)
        )
        logits = model.logits(rows.point)
        ahead = lead(logits, rows.y, rows.target)
        return self.counted(logits, ahead, rows), ahead, gradient

    def advance(self, rows: Rows, seen: Seen) -> Tensor:
        """A step of FISTA, or the start of the next search."""
        memory, last = rows.memory, rows.step >= self.steps - 1
        pushed, inner = memory["pushed"], memory["inner"].to(rows.point)
        memory["hit"] = memory["hit"] | ((seen.loss >= self.confidence) & ~(seen.margin > 0))
        move, short = pushed - rows.origin, (self.confidence - memory["ahead"]).clamp_min(0.0)
        loss = memory["const"] * short + move.square().flatten(1).sum(dim=1)
        gradient = 2 * move - per_example(memory["const"] * (short > 0), move) * seen.slope
        rate = self.learning_rate * (1 - inner / self.iterations).clamp_min(0.0).sqrt()
        stepped = pushed - per_example(rate, move) * gradient
        shrunk = shrink(stepped, rows.origin, self.beta, rows.threat.box)
        momentum = per_example(inner / (inner + 3) * self.fista, move)
        ended = self.stalled(memory, loss + self.beta * norm(move, 1))
        ended = ended | (memory["inner"] >= self.iterations - 1)
        self.close(rows, ended)
        again = wide(ended & ~last, move)
        pushed = shrunk + momentum * (shrunk - rows.point)
        memory["pushed"] = torch.where(again, memory["first"], pushed)
        shrunk = torch.where(again, memory["first"], shrunk)
        return torch.where(wide(last, move), rows.origin, shrunk) if self.confidence else shrunk


class ElasticNet:
    """A threat that measures ||d||_2^2 + beta ||d||_1 instead of its own size.

    Args:
        threat: whose set this is.
        beta: weight of the L1 norm.
    """

    def __init__(self, threat: Threat, beta: float):
        self.threat, self.beta = threat, beta

    def __getattr__(self, name: str) -> Any:
        return getattr(self.threat, name)

    def size(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """The elastic net of the perturbation, (B,)."""
        move = x_adv.to(torch.float64) - x.to(torch.float64)
        return (norm(move, 2).square() + self.beta * norm(move, 1)).to(x.dtype)

    def rows(self, which: Tensor) -> Self:
        """The same of selected examples."""
        return type(self)(self.threat.rows(which), self.beta)


def shrink(z: Tensor, x: Tensor, beta: float, box: Box | None) -> Tensor:
    """S_beta(z), (b, *E): moves from x shortened by beta and clipped to the box; x itself where
    they are no longer than that."""
    move = z - x
    short = x + (move.abs() - beta).copysign(move)
    if box is not None:
        short = short.clamp(*box)
    return torch.where(move.abs() > beta, short, x)
