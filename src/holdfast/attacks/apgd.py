"""Auto-PGD: projected gradient ascent with momentum whose step size follows the loss.

    u       = P( x_k + eta v(g_k) )
    x_{k+1} = P( x_k + 0.75 (u - x_k) + 0.25 (x_k - x_{k-1}) )

eta starts at twice the radius. At checkpoints a row goes back to its best point with half the step
where the loss rose in at most a share rho of the steps since the last checkpoint, or where neither
the step nor the best loss changed. In L1 steps are sparse instead: see `apgd_l1`.

Symbols: windows between checkpoints are 22 %, 19 %, 16 %, ... of all steps, at least 6 %.
Source: Croce and Hein 2020, arXiv:2003.01690. Thesis: Andriushchenko 2024, sec 4.4.1.
Departures: a row leaves at its first success. As in the released code the loss of the first step is
compared with 0, and L2 projects onto the ball and then clips to the box.
"""

from functools import lru_cache
from typing import Annotated

import torch
from torch import Tensor

from holdfast.attacks import apgd_l1
from holdfast.attacks.attack import GradientAttack
from holdfast.attacks.lanes import keep, wide
from holdfast.attacks.protocol import Seen
from holdfast.attacks.rows import Rows
from holdfast.attacks.targets import likely
from holdfast.core.errors import UnsupportedThreat
from holdfast.core.frozen import FrozenModel
from holdfast.core.recipes import Count, Fraction, From, NonNegative, hyperparameters
from holdfast.core.tensors import norm, per_example
from holdfast.losses.catalogue import LOSSES
from holdfast.losses.cross_entropy import CrossEntropy
from holdfast.losses.dlr import DLR
from holdfast.losses.margin import Margin
from holdfast.losses.protocol import Loss
from holdfast.threats.protocol import Threat


@hyperparameters
class APGD(GradientAttack):
    """Auto-PGD, untargeted or towards the most likely wrong classes in turn.

    Args:
        steps: gradient steps of a run.
        restarts: runs from fresh starts (for each target).
        loss: what is maximised.
        most_targets: 0 for untargeted; else how many wrong classes are aimed at, the likeliest
            first.
        rho: share of rising steps at or below which the step is halved.
        floor: added to the norm of L2 gradients; the released code has 1e-12, which stops rows
            whose gradients are smaller.
        eot: gradients averaged at each point, for randomised models.
        widening: in L1 only, radii of the stages of a run as multiples of the radius.

    Guarantee: success is re-checked; robust accuracy never rises with `restarts`.
    Cost: per run at most steps + 1 looks of `eot` forwards and backwards (2 looks more in L1), and
        1 forward; clean input and confirmation 1 forward each.
    Needs: input gradients; a finite Linf, L2 or L1 ball; 3 classes for DLR, 4 where targeted.
    """

    steps: Count = 100
    restarts: Count = 1
    loss: Annotated[Loss, From(LOSSES)] = CrossEntropy()
    most_targets: int = 0
    rho: Fraction = 0.75
    floor: NonNegative = 0.0
    eot: Count = 1
    widening: tuple[float, ...] = (3.0, 2.0, 1.0)

    @property
    def objective(self) -> Loss:
        """The loss."""
        return self.loss

    @property
    def cost(self) -> tuple[int, int]:  # type: ignore[override]
        """`eot` forwards and backwards."""
        return self.eot, self.eot

    def runs(self, classes: int) -> int:
        """Restarts, times the classes aimed at."""
        return self.restarts * max(1, min(classes - 1, self.most_targets))

    def target(self, run: Tensor, y: Tensor, logits: Tensor) -> Tensor | None:
        """The wrong class whose turn it is, from the largest clean logit down."""
        return likely(run // self.restarts, y, logits) if self.most_targets else None

    def check(self, threat: Threat) -> None:
        """Refuses what is not a finite ball with one radius for all features."""
        check_ball(threat, "APGD")

    def look(self, model: FrozenModel, rows: Rows) -> tuple[Tensor, Tensor, Tensor | None]:
        """Logits and objective of the last of `eot` passes, and the mean of their gradients."""
        gradients = []
        for _ in range(self.eot):
            logits, loss, gradient = super().look(model, rows)
            gradients += [] if gradient is None else [gradient]
        mean = gradients[0] if self.eot == 1 else torch.stack(gradients).mean(dim=0)
        return logits, loss, mean

    def begin(self, rows: Rows) -> Tensor:
        """A random point on the surface of the ball, clipped to the box."""
        if rows.threat.p == 1:
            return apgd_l1.begin(self, rows)
        blank = torch.zeros_like(rows.origin)
        rows.memory.update(best=blank, best_gradient=blank.clone(), previous=blank.clone())
        zero = torch.zeros_like(blank.flatten(1)[:, 0])
        for name in ("best_loss", "last_loss", "checked_loss", "rises", "reduced", "eta"):
            rows.memory[name] = zero.clone()
        shape, keys = rows.origin.shape[1:], rows.keys.fold("start")
        if rows.threat.p == 2:
            noise = keys.normal(shape).to(rows.origin)
        else:
            noise = keys.uniform(shape, low=-1.0, high=1.0).to(rows.origin)
        length = per_example(rows.threat.radius, noise)
        scale = per_example(norm(noise, rows.threat.p) + 1e-12, noise)
        return _project(rows.origin + length * (noise / scale), rows)

    def advance(self, rows: Rows, seen: Seen) -> Tensor:
        """Keeps the best point, adapts the step at checkpoints, and moves."""
        if rows.threat.p == 1:
            return apgd_l1.advance(self, rows, seen)
        memory, point, gradient = rows.memory, rows.point, seen.slope
        first = rows.step == 0
        _remember(memory, point, seen, first)
        memory["eta"] = torch.where(first, _reach(rows, 2.0), memory["eta"])
        window = _windows(self.steps).to(point)[rows.step.clamp(max=self.steps)]
        back = (window > 0) & self._stalls(memory, window)
        if bool((window > 0).any()):
            _start_window(memory, window > 0, back)
        if bool(back.any()):
            point = torch.where(wide(back, point), memory["best"], point)
            gradient = torch.where(wide(back, point), memory["best_gradient"], gradient)
        momentum = (point - memory["previous"]).mul_(wide(~first, point))
        memory["previous"] = point
        step = self._step(rows, gradient, memory["eta"])
        onward = _project(step.add_(point), rows)
        share = torch.where(first, 1.0, 0.75).to(point)
        onward = onward.sub_(point).mul_(per_example(share, point)).add_(point)
        return _project(onward.add_(momentum, alpha=0.25), rows)

    def _step(self, rows: Rows, gradient: Tensor, eta: Tensor) -> Tensor:
        """The steepest step, shortened by `floor` where a gradient is tiny."""
        if self.floor and rows.threat.p == 2:
            scale = norm(gradient, 2) + self.floor
            return gradient * per_example(eta / scale, gradient)
        return rows.threat.steepest(gradient, eta)

    def _stalls(self, memory: dict[str, Tensor], window: Tensor) -> Tensor:
        """Whether too few steps rose, or neither step nor best loss changed, (b,) bool."""
        few = memory["rises"] <= window * self.rho
        still = (memory["reduced"] == 0) & (memory["checked_loss"] >= memory["best_loss"])
        return few | still


def apgd_ce() -> APGD:
    """APGD on the cross-entropy."""
    return APGD()


def apgd_t(steps: int = 100, most_targets: int = 9) -> APGD:
    """APGD on the targeted DLR loss, towards the most likely wrong classes in turn."""
    return APGD(steps=steps, most_targets=most_targets, loss=DLR())


def apgd_dlr() -> APGD:
    """APGD on the untargeted DLR loss."""
    return APGD(loss=DLR())


def apgd_margin() -> APGD:
    """APGD on the margin, for any number of classes."""
    return APGD(loss=Margin())


def check_ball(threat: Threat, attack: str) -> None:
    """Raises UnsupportedThreat unless the threat is an Linf, L2 or L1 ball of finite radius."""
    radius = getattr(threat, "radius", float("inf"))
    finite = radius.ndim <= 1 if isinstance(radius, Tensor) else radius != float("inf")
    if getattr(threat, "p", None) not in (1, 2, float("inf")) or not finite:
        raise UnsupportedThreat(
            f"{attack} needs an Linf, L2 or L1 ball with a finite radius for all features, "
            f"not {threat}; use linf:0.1 or the like"
        )


def _remember(memory: dict[str, Tensor], point: Tensor, seen: Seen, first: Tensor) -> None:
    """Updates the best point and the count of steps on which the loss rose."""
    better = first | (seen.loss > memory["best_loss"])
    keep(memory["best"], point, better)
    keep(memory["best_gradient"], seen.slope, better)
    memory["best_loss"] = torch.where(better, seen.loss, memory["best_loss"])
    memory["checked_loss"] = torch.where(first, seen.loss, memory["checked_loss"])
    rises = memory["rises"] + (seen.loss > memory["last_loss"])
    memory["rises"] = torch.where(first, 0.0, rises)
    memory["last_loss"] = torch.where(first, 0.0, seen.loss)
    memory["reduced"] = torch.where(first, 1.0, memory["reduced"])


def _start_window(memory: dict[str, Tensor], ends: Tensor, back: Tensor) -> None:
    """Closes the windows that end here; halves the step of rows that go back."""
    memory["eta"] = torch.where(back, memory["eta"] / 2, memory["eta"])
    memory["reduced"] = torch.where(ends, back.to(memory["eta"]), memory["reduced"])
    memory["checked_loss"] = torch.where(ends, memory["best_loss"], memory["checked_loss"])
    memory["rises"] = torch.where(ends, 0.0, memory["rises"])


def _project(point: Tensor, rows: Rows) -> Tensor:
    """Onto the ball, then the box; for Linf that is the nearest point of both."""
    threat = rows.threat
    if threat.p != 2:
        return threat.project(point, rows.origin)
    move = point - rows.origin
    length = per_example(norm(move, 2), move)
    reach = per_example(threat.radius, move)
    inside = rows.origin + move * (torch.minimum(reach, length) / (length + 1e-12))
    return inside if threat.box is None else inside.clamp_(*threat.box)


def _reach(rows: Rows, factor: float) -> Tensor:
    radius = torch.as_tensor(rows.threat.radius, device=rows.origin.device)
    return (factor * radius.to(rows.origin)).expand(len(rows))


@lru_cache
def _windows(steps: int) -> Tensor:
    """At each look, the length of the window that ends there; 0 where none does, (steps + 1,)."""
    ends = torch.zeros(steps + 1)
    window, least = max(int(0.22 * steps), 1), max(int(0.06 * steps), 1)
    at = window
    while at <= steps:
        ends[at] = window
        window = max(window - max(int(0.03 * steps), 1), least)
        at += window
    return ends
