"""Bandits with time and data priors: gradient estimates that remember, on tiles.

A latent prior v, one value per tile, is an estimate of the gradient that is carried from step to
step. A step asks at two points on either side of it, along a random direction u,

    q_+- = normalised(up(v +- e u)),   D = (L(x_t + f q_+) - L(x_t + f q_-)) / (f e),   g = D u,

improves the prior by g, and moves the input along it: x_{t+1} = P(x_t + a step(up(v))). For Linf
the prior lives in (-1, 1) and takes an exponentiated gradient step, p <- p e^{hg} / (p e^{hg} +
(1 - p) e^{-hg}) with p = (v + 1) / 2; otherwise v <- v + h g. `up` copies tiles to pixels; u is
normal of length about 1.

Symbols: f = `probe`, e = `exploration`, h = `prior_rate`, a = `step_size`.
Source: Ilyas, Engstrom and Madry 2019, arXiv:1807.07978 (Bandits_TD), algorithms 1 to 3.
Thesis: Andriushchenko 2024, sec 3.9.
Departures: the new point of every step is a query and is counted, which makes three per step; a
probe that fools within the threat ends the search as well; the step is relative to the radius; the
loss is the margin, as differences of cross-entropy drown in its tail on confident models, and the
default rate of the prior and exploration fit it.
"""

import math
from typing import Annotated

import torch
from torch import Tensor

from holdfast.attacks.attack import parse_step, step_length
from holdfast.attacks.lockstep import LockstepAttack, Oracle
from holdfast.attacks.tiles import check_ball, image_shape, tile_shape, upsample
from holdfast.core.recipes import Count, From, Positive, hyperparameters
from holdfast.core.tensors import norm, per_example
from holdfast.losses.catalogue import LOSSES
from holdfast.losses.margin import Margin
from holdfast.losses.protocol import Loss
from holdfast.threats.protocol import Threat


@hyperparameters
class Bandits(LockstepAttack):
    """Gradient estimation with a prior over time and over tiles.

    Args:
        queries: forward passes of an example at most, besides the clean one and the final check.
        tiles: rows and columns of the prior's grid; None is half of the image's longer side, at
            most 50.
        exploration: length of the random part of a probe before it is normalised.
        probe: Euclidean distance of the probes, in input units; None is 0.1 for Linf and 0.01
            otherwise.
        prior_rate: of the prior's steps.
        step_size: of the input's steps, a number or a text such as `eps/5`.
        probes: how often the prior is improved before each step.
        loss: what is maximised.

    Guarantee: points are in the threat; probes may lie outside, and do not count there.
    Cost: per example 2 probes + 1 forwards a step, at most `queries` + 2.
    Source: Ilyas, Engstrom and Madry 2019, arXiv:1807.07978; the probes' distance is that of the
        authors' settings for ImageNet.
    """

    queries: Count = 10_000
    tiles: Count | None = None
    exploration: Positive = 1.0
    probe: Positive | None = None
    prior_rate: Positive = 0.1
    step_size: float | str = "eps/10"
    probes: Count = 1
    loss: Annotated[Loss, From(LOSSES)] = Margin()

    def __post_init__(self) -> None:
        parse_step(self.step_size, self.queries)

    @property
    def objective(self) -> Loss:
        """The loss."""
        return self.loss

    def check(self, threat: Threat) -> None:
        """Refuses what is no ball, and an infinite radius."""
        check_ball(threat, (math.inf, 2.0, 1.0), "Bandits")

    def walk(self, oracle: Oracle) -> None:
        """Improves the prior and moves, until the budget is spent."""
        point = oracle.x if oracle.start is None else oracle.start
        event, threat = point.shape[1:], oracle.threat
        tiles = self.tiles or min(50, max(1, max(image_shape(event)[1:]) // 2))
        prior = torch.zeros(len(point), *tile_shape(event, tiles)).to(point)
        length = step_length(self.step_size, threat, self.queries)
        for step in range(self.queries // (2 * self.probes + 1)):
            for probe in range(self.probes):
                prior = self._improved(oracle, point, prior, step * self.probes + probe)
            move = threat.steepest(upsample(prior, event), length)
            point = threat.project(point + move, oracle.x)
            oracle.ask(point)
            if not bool(oracle.open.any()):
                return

    def _improved(self, oracle: Oracle, point: Tensor, prior: Tensor, draw: int) -> Tensor:
        """The prior after one pair of probes."""
        sharp = oracle.threat.p == math.inf
        probe = self.probe or (0.1 if sharp else 0.01)
        shape = prior.shape[1:]
        u = oracle.keys.fold("bandits").normal(shape, draw).to(prior) / math.sqrt(shape.numel())
        losses = []
        for side in (self.exploration, -self.exploration):
            q = upsample(prior + side * u, point.shape[1:])
            q = q / per_example(norm(q, 2).clamp_min(1e-8), q)
            losses.append(oracle.ask(point + probe * q).loss)
        slope = torch.nan_to_num(
            (losses[0] - losses[1]) / (probe * self.exploration), 0.0, 0.0, 0.0
        )
        gradient = self.prior_rate * per_example(slope, u) * u
        return exponentiated(prior, gradient) if sharp else prior + gradient


def exponentiated(v: Tensor, step: Tensor) -> Tensor:
    """The exponentiated gradient step from v in [-1, 1], elementwise.

    With p = (1 + v) / 2, the new v is (p e^s - (1 - p) e^-s) / (p e^s + (1 - p) e^-s), which is
    (v + tanh s) / (1 + v tanh s).
    """
    turn = torch.tanh(step)
    edge = 1 - 4 * torch.finfo(v.dtype).eps
    return ((v + turn) / (1 + v * turn)).clamp(-edge, edge)
