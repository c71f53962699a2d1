"""Gradient estimation from scores by random directions: SPSA and NES.

Both estimate the gradient of the loss at x_t by central differences along n random directions,

    g = (1 / n) sum_i (L(x_t + d u_i) - L(x_t - d u_i)) / (2 d) u_i,   E[u u'] = I,

with signs (SPSA) or normals (NES), which has mean grad L where L is linear, and a variance that
falls as 1/n. SPSA moves by Adam, NES by signed steps with momentum; both project onto the threat.

Symbols: n = `samples`, d = `delta` of SPSA and `sigma` of NES.
Source: Uesato et al. 2018, arXiv:1802.05666, sec 4 (SPSA; Spall 1992); Ilyas et al. 2018,
arXiv:1804.08598, sec 2 (NES, antithetic).
Departures: the new point of each step is a query of its own; a probe that fools within the threat
ends the search; steps are relative to the radius; NES keeps its step size. For other balls than
Linf the signed step is the threat's steepest one.
"""

import math
from typing import Annotated

import torch
from torch import Tensor

from holdfast.attacks.attack import parse_step, step_length
from holdfast.attacks.lockstep import LockstepAttack, Oracle
from holdfast.attacks.tiles import check_ball
from holdfast.core.random import Keys
from holdfast.core.recipes import Count, From, Positive, Range, hyperparameters
from holdfast.core.tensors import per_example
from holdfast.losses.catalogue import LOSSES
from holdfast.losses.margin import Margin
from holdfast.losses.protocol import Loss
from holdfast.threats.protocol import Threat

Momentum = Annotated[float, Range(ge=0, lt=1)]


class _Estimating(LockstepAttack):
    """The loop of both: estimate, move, look."""

    queries: int
    samples: int
    step_size: float | str
    loss: Loss

    @property
    def objective(self) -> Loss:
        """The loss."""
        return self.loss

    def check(self, threat: Threat) -> None:
        """Refuses what is no ball, and an infinite radius."""
        check_ball(threat, (math.inf, 2.0, 1.0), type(self).__name__)

    def walk(self, oracle: Oracle) -> None:
        """Steps along estimated gradients until the budget is spent."""
        point = oracle.x if oracle.start is None else oracle.start
        memory = torch.zeros_like(point), torch.zeros_like(point)
        length = step_length(self.step_size, oracle.threat, self.queries)
        for step in range(self.queries // (2 * self.samples + 1)):
            gradient = self.estimate(oracle, point, step)
            move, memory = self.move(oracle.threat, gradient, memory, length, step)
            point = oracle.threat.project(point + move, oracle.x)
            oracle.ask(point)
            if not bool(oracle.open.any()):
                return

    def estimate(self, oracle: Oracle, point: Tensor, step: int) -> Tensor:
        """The estimate of the loss's gradient at points (b, *E), from 2 `samples` queries; zero
        for rows that are done."""
        keys, width = oracle.keys.fold("directions"), self.width
        total = torch.zeros_like(point)
        for sample in range(self.samples):
            u = self.direction(keys, point, step * self.samples + sample)
            ahead = oracle.ask(point + width * u).loss
            behind = oracle.ask(point - width * u).loss
            slope = torch.nan_to_num((ahead - behind) / (2 * width), 0.0, 0.0, 0.0)
            total += per_example(slope, u) * u
        return total / self.samples

    @property
    def width(self) -> float:
        """How far the probes stand from the point, per coordinate."""
        raise NotImplementedError

    def direction(self, keys: Keys, like: Tensor, draw: int) -> Tensor:
        """A random direction for each example, (b, *E), of unit covariance."""
        raise NotImplementedError

    def move(
        self,
        threat: Threat,
        gradient: Tensor,
        memory: tuple[Tensor, Tensor],
        length: float | Tensor,
        step: int,
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """The step (b, *E) and what is carried on."""
        raise NotImplementedError


@hyperparameters
class SPSA(_Estimating):
    """Simultaneous perturbation: directions of random signs, steps by Adam.

    Args:
        queries: forward passes of an example at most, besides the clean one and the final check.
        samples: pairs of probes per step.
        delta: distance of the probes in every coordinate.
        step_size: Adam's rate, a number or a text such as `eps/5`.
        betas: Adam's two forgetting factors.
        loss: what is maximised.

    Guarantee: points are in the threat; the estimate is unbiased where the loss is linear.
    Cost: per example 2 samples + 1 forwards a step, at most `queries` + 2.
    Source: Uesato et al. 2018, arXiv:1802.05666, sec 4.
    """

    queries: Count = 10_000
    samples: Count = 32
    delta: Positive = 0.01
    step_size: float | str = "eps/2"
    betas: tuple[Momentum, Momentum] = (0.9, 0.999)
    loss: Annotated[Loss, From(LOSSES)] = Margin()

    def __post_init__(self) -> None:
        parse_step(self.step_size, self.queries)

    @property
    def width(self) -> float:
        """Delta."""
        return self.delta

    def direction(self, keys: Keys, like: Tensor, draw: int) -> Tensor:
        """Random signs."""
        return keys.sign(like.shape[1:], draw).to(like)

    def move(
        self,
        threat: Threat,
        gradient: Tensor,
        memory: tuple[Tensor, Tensor],
        length: float | Tensor,
        step: int,
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """A step of Adam, uphill."""
        first, second = self.betas
        mean = first * memory[0] + (1 - first) * gradient
        square = second * memory[1] + (1 - second) * gradient**2
        rise = mean / (1 - first ** (step + 1))
        scale = (square / (1 - second ** (step + 1))).sqrt() + 1e-8
        return per_example(length, rise) * rise / scale, (mean, square)


@hyperparameters
class NES(_Estimating):
    """Natural evolution strategies: normal directions in pairs, signed steps with momentum.

    Args:
        queries: forward passes of an example at most, besides the clean one and the final check.
        samples: pairs of probes per step.
        sigma: standard deviation of the probes.
        step_size: a number in input units or a text such as `eps/5`.
        momentum: weight of the past estimates.
        loss: what is maximised.

    Guarantee: points are in the threat; the estimate is unbiased where the loss is linear.
    Cost: per example 2 samples + 1 forwards a step, at most `queries` + 2.
    Source: Ilyas et al. 2018, arXiv:1804.08598, sec 2.
    """

    queries: Count = 10_000
    samples: Count = 25
    sigma: Positive = 0.001
    step_size: float | str = "eps/5"
    momentum: Momentum = 0.9
    loss: Annotated[Loss, From(LOSSES)] = Margin()

    def __post_init__(self) -> None:
        parse_step(self.step_size, self.queries)

    @property
    def width(self) -> float:
        """Sigma."""
        return self.sigma

    def direction(self, keys: Keys, like: Tensor, draw: int) -> Tensor:
        """Normal directions."""
        return keys.normal(like.shape[1:], draw).to(like)

    def move(
        self,
        threat: Threat,
        gradient: Tensor,
        memory: tuple[Tensor, Tensor],
        length: float | Tensor,
        step: int,
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """The threat's steepest step along the averaged estimates."""
        mean = self.momentum * memory[0] + (1 - self.momentum) * gradient
        return threat.steepest(mean, length), (mean, memory[1])
