"""Projected gradient descent, for any threat with a steepest step and a projection.

    x_0 random in the threat;   x_{t+1} = P( x_t + a_t v(g_t) ),   g_t the loss gradient at x_t,

with v the steepest ascent direction of the threat's geometry (sign of g for Linf, g/||g||_2 for L2,
one coordinate for L1). With momentum mu, g_t is replaced by m_t = mu m_{t-1} + g_t / ||g_t||_1.

Symbols: a = `step_size`, mu = `momentum`; the factor of step t is `schedule(t / steps)`.
Source: Madry et al. 2018, arXiv:1706.06083; momentum: Dong et al. 2018, arXiv:1710.06081;
multi-targeted: Gowal et al. 2019, arXiv:1910.09338. Theses: Wong 2020, sec 2.1.2 and 4.1.1; Rice
2023, sec 2.1; Liu 2022, sec 2.1.
Departures: an example leaves at its first success (best per example over restarts), and the last
iterate is evaluated.
"""

from typing import Annotated, Literal

import torch
from torch import Tensor

from holdfast.attacks.attack import GradientAttack, parse_step, step_length
from holdfast.attacks.protocol import Seen
from holdfast.attacks.rows import Rows
from holdfast.attacks.targets import likely
from holdfast.core.recipes import Count, From, Range, hyperparameters
from holdfast.core.tensors import norm, per_example
from holdfast.losses.catalogue import LOSSES
from holdfast.losses.cross_entropy import CrossEntropy
from holdfast.losses.protocol import Loss
from holdfast.schedules.catalogue import SCHEDULES
from holdfast.schedules.constant import Constant
from holdfast.schedules.protocol import Schedule

_STEADY = Constant(value=1.0)


@hyperparameters
class PGD(GradientAttack):
    """Projected gradient descent with restarts.

    Args:
        steps: gradient steps of a run.
        restarts: runs from fresh starts, until one succeeds.
        step_size: a number in input units, or `auto` (2.5 eps / steps), `eps/4`, `1.25*eps`.
        start: `random` (the threat's published random start) or `clean`.
        loss: what is maximised.
        momentum: weight of the past gradients, 0 for none, 1 as published (MI-FGSM).
        schedule: factor of the step size, a function of t / steps.
        targeting: `multi` aims each run at one wrong class after the other, nearest logit first.
        most_targets: how many wrong classes `multi` aims at; None for all.

    Guarantee: success is re-checked; robust accuracy never rises with `restarts`.
    Cost: per example at most r (steps + 1) + 2 forwards and r steps backwards, with r = restarts,
        times the classes aimed at for `multi`.
    Needs: input gradients.

    Example:
        >>> import torch
        >>> from holdfast.threats import Linf
        >>> model = torch.nn.Linear(4, 3)
        >>> x, y = torch.full((2, 4), 0.5), torch.tensor([0, 1])
        >>> result = PGD(steps=5, restarts=2).run(model, x, y, Linf(0.1))
        >>> bool((result.size <= 0.1 + 1e-6).all())
        True
    """

    steps: Count = 50
    restarts: Count = 10
    step_size: float | str = "auto"
    start: Literal["random", "clean"] = "random"
    loss: Annotated[Loss, From(LOSSES)] = CrossEntropy()
    momentum: Annotated[float, Range(ge=0, le=1)] = 0.0
    schedule: Annotated[Schedule, From(SCHEDULES)] = _STEADY
    targeting: Literal["none", "multi"] = "none"
    most_targets: Count | None = None

    def __post_init__(self) -> None:
        parse_step(self.step_size, self.steps)

    @property
    def objective(self) -> Loss:
        """The loss."""
        return self.loss

    def runs(self, classes: int) -> int:
        """Restarts, times the classes aimed at."""
        return self.restarts * self._targets(classes)

    def target(self, run: Tensor, y: Tensor, logits: Tensor) -> Tensor | None:
        """For `multi`, the wrong class whose turn it is, from the largest clean logit down."""
        if self.targeting == "none":
            return None
        return likely(run % self._targets(logits.shape[1]), y, logits)

    def begin(self, rows: Rows) -> Tensor:
        """A random point of the threat, or the clean input."""
        if self.momentum:
            rows.memory["momentum"] = torch.zeros_like(rows.origin)
        if self.start == "clean":
            return rows.origin
        return rows.threat.sample(rows.origin, keys=rows.keys.fold("start"))

    def advance(self, rows: Rows, seen: Seen) -> Tensor:
        """A steepest step, projected."""
        gradient = seen.slope
        if self.momentum:
            scale = per_example(norm(gradient, 1).clamp_min(1e-30), gradient)
            gradient = rows.memory["momentum"].mul_(self.momentum).add_(gradient / scale)
        length = step_length(self.step_size, rows.threat, self.steps)
        if self.schedule != _STEADY:
            length = length * self._factors(rows.point)[rows.step.clamp(max=self.steps - 1)]
        step = rows.threat.steepest(gradient, length)
        return rows.threat.project(step.add_(rows.point), rows.origin)

    def _targets(self, classes: int) -> int:
        if self.targeting == "none":
            return 1
        return min(classes - 1, self.most_targets or classes)

    def _factors(self, like: Tensor) -> Tensor:
        factors = [self.schedule(step / self.steps) for step in range(self.steps)]
        return torch.tensor(factors, dtype=like.dtype, device=like.device)
