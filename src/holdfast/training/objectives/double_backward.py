"""What objectives with a penalty on input gradients share: gradients that are differentiated again.

    mean_i L( f(x_i + d_i), y_i ) + lam R( g(x), g(x') ),      g(x)_i = grad_x L( f(x_i), y_i )

The gradients are those of the single examples' losses, not of the batch mean: penalties that depend
on their scale would otherwise shrink with the size of the batch. They are taken in float32 on the
network itself, without the wrappers of distributed training and mixed precision, and without
compilation. The gradient at x also gives the FGSM step, so that FGSM costs no pass of its own.

Symbols: lam = `weight`, d from `attack`.
Source: Andriushchenko 2024, sec 2.6, 2.9 and 2.11.5 (Andriushchenko and Flammarion 2020,
arXiv:2007.02617).
Departures: gradients are in float32 also where training is in a lower precision.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, TypeGuard

import torch
from torch import Tensor, nn
from torch.func import functional_call

from holdfast.attacks.attack import step_length
from holdfast.attacks.catalogue import ATTACKS
from holdfast.attacks.fgsm import FGSM
from holdfast.core.errors import UnsupportedThreat
from holdfast.core.frozen import FrozenModel, check_logits, evaluation_mode
from holdfast.core.random import Keys
from holdfast.core.recipes import From, hyperparameters
from holdfast.core.results import ObjectiveResult
from holdfast.losses.cross_entropy import CrossEntropy, cross_entropy
from holdfast.losses.protocol import Loss
from holdfast.measures import gradient_alignment
from holdfast.schedules.gradalign import gradalign_weight
from holdfast.threats.balls import Linf
from holdfast.threats.protocol import Threat
from holdfast.training.objectives.fitting import (
    AttackMode,
    Smoothing,
    bare,
    fit,
    keys_or_content,
    plain,
    zero_share,
)
from holdfast.training.objectives.pgd_at import InnerAttack
from holdfast.training.objectives.protocol import Passes
from holdfast.training.visit import Visit

_LEAST = 1e-15
"""Gradients shorter than this have no direction: their squares, and what is divided by them, leave
the range of float32."""


@hyperparameters
class GradientRegularised(ABC):
    """Adversarial training plus a penalty on input gradients; subclasses say which.

    Args:
        weight: of the penalty; a name is a published function of the radius.
        attack: for the inputs trained on; None trains on clean inputs. FGSM from the clean input
            takes its step along the gradient that the penalty needs as well.
        attack_mode: batch norm in all passes but the weight step's.
        label_smoothing: weight of the uniform distribution in the labels of the weight step.
    """

    published: ClassVar[Mapping[str, tuple[float, float]]] = {}
    """By name, the weights at the radii 8/255 and 16/255."""
    points: ClassVar[int] = 0
    """At how many points besides x gradients are taken."""

    weight: float | str = 0.0
    attack: Annotated[InnerAttack, From(ATTACKS)] | None = FGSM()
    attack_mode: AttackMode = "train"
    label_smoothing: Smoothing = 0.0

    @property
    @abstractmethod
    def through_first(self) -> bool:
        """Whether the gradient at x is differentiated."""

    @abstractmethod
    def penalty(
        self, network: nn.Module, x: Tensor, y: Tensor, threat: Threat, first: Tensor, keys: Keys
    ) -> Tensor:
        """The scalar that is added with `weight`; first (B, *E) is the gradient at x."""

    @property
    def passes(self) -> Passes:
        """One pass at every point of the penalty and one through the weights, and the attack's; a
        gradient that is differentiated goes backward twice."""
        steps = 0 if self.attack is None or _one_step(self.attack) else self.attack.steps
        forwards = 2 + self.points + steps
        return Passes(forwards, forwards + self.points + self.through_first)

    def weight_in(self, threat: Threat) -> float:
        """The weight in a threat.

        Raises:
            UnsupportedThreat: a named weight for a threat other than one l_inf radius.
        """
        if isinstance(self.weight, str):
            return log_linear(threat, *self.published[self.weight])
        return self.weight

    def loss(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        threat: Threat,
        *,
        progress: float,
        state: Mapping[str, Any] | None = None,
        keys: Keys | None = None,
        visit: Visit | None = None,
    ) -> ObjectiveResult:
        """The loss of a batch; see `Objective.loss`."""
        del progress, state, visit
        weight, network, keys = self.weight_in(threat), plain(model), keys_or_content(keys, x)
        first = input_gradients(network, x, y, mode=self.attack_mode, graph=self.through_first)
        x_adv = self._perturbed(bare(model), x, y, threat, first.detach(), keys)
        penalty = self.penalty(network, x, y, threat, first, keys)
        fitted, logs = fit(model, x_adv, y, self.label_smoothing)
        loss = fitted + weight * penalty
        logs |= {"loss": loss.detach(), "fit": fitted.detach(), "penalty": penalty.detach()}
        logs["zero_gradients"] = zero_share(first)
        return ObjectiveResult(loss, x_adv, logs)

    def _perturbed(
        self, model: nn.Module, x: Tensor, y: Tensor, threat: Threat, first: Tensor, keys: Keys
    ) -> Tensor:
        """The inputs of the weight step, (B, *E)."""
        if self.attack is None:
            return x
        if _one_step(self.attack):
            return threat.project(x + fgsm_step(threat, first, self.attack.step_size), x)
        with FrozenModel(model, mode=self.attack_mode, device=x.device) as frozen:
            return self.attack.perturb(frozen, x, y, threat, keys=keys)


def input_gradients(
    network: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    mode: AttackMode = "train",
    graph: bool,
    loss: Loss = cross_entropy,
) -> Tensor:
    """The input gradients of the examples' losses, (B, *E).

    Args:
        mode: batch norm; with `train` the pass updates the running statistics.
        graph: whether the result is a differentiable function of the weights; else it is detached.
        loss: logits and labels to (B,).

    Guarantee: no gradient of a weight; later passes, which change the buffers, do not change what
        the graph computes.
    Cost: 1 forward and 1 backward; one more backward when a graph is followed.
    """
    with torch.autocast(x.device.type, enabled=False):
        if not graph:
            with FrozenModel(network, mode=mode, device=x.device) as frozen:
                return frozen.value_and_grad(x, lambda logits: loss(logits, y))[2]
        with torch.enable_grad():
            points = x.detach().requires_grad_(True)
            values = loss(check_logits(_called(network, points.clone(), mode), len(x)), y)
            return torch.autograd.grad(
                values.sum(), points, create_graph=True, materialize_grads=True
            )[0]


def cosines(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """The cosines between gradients (B, *E), and whether they count, each (B,).

    As `gradient_alignment.cosines`, but for gradients shorter than 1e-15, which count as zero: the
    derivative of their direction would drown all others.
    """
    shapes = (-1, *[1] * (first.ndim - 1))
    with torch.no_grad():
        long = [torch.linalg.vector_norm(g.flatten(1), dim=1) > _LEAST for g in (first, second)]
    one, other = (
        torch.where(keep.view(shapes), g, 0.0)
        for keep, g in zip(long, (first, second), strict=True)
    )
    return gradient_alignment.cosines(one, other)


def mean_square(gradients: Tensor) -> Tensor:
    """The mean over the batch of the squared Euclidean norms of (B, *E)."""
    return gradients.flatten(1).square().sum(dim=1).mean()


def fgsm_step(threat: Threat, gradient: Tensor, step_size: float | str = "eps") -> Tensor:
    """The steepest step along a gradient (B, *E), of one radius unless said otherwise."""
    return threat.steepest(gradient, step_length(step_size, threat, 1))


def log_linear(threat: Threat, at_8: float, at_16: float) -> float:
    """A weight that is log-linear in the radius of a threat; see `gradalign_weight`.

    Args:
        at_8: the weight at l_inf radius 8/255.
        at_16: the weight at 16/255.

    Raises:
        UnsupportedThreat: the threat is not one l_inf radius.
    """
    if not isinstance(threat, Linf) or isinstance(threat.radius, Tensor):
        problem = "weights are published as functions of one l_inf radius"
        raise UnsupportedThreat(f"{problem}, not of {threat}; give weight a number")
    return gradalign_weight(threat.radius, (at_8, at_16))


def _one_step(attack: InnerAttack) -> TypeGuard[FGSM]:
    """Whether the attack is one step along the gradient at x."""
    return isinstance(attack, FGSM) and attack.start == "clean" and attack.loss == CrossEntropy()


def _called(network: nn.Module, x: Tensor, mode: AttackMode) -> Tensor:
    """The logits, from copies of the buffers, so that the graph keeps the values that it saw."""
    own = dict(network.named_buffers())
    seen = {name: each.clone() for name, each in own.items()}
    if mode == "eval":
        with evaluation_mode(network):
            return functional_call(network, seen, (x,))
    logits: Tensor = functional_call(network, seen, (x,))
    if mode == "train":
        with torch.no_grad():
            for name, each in own.items():
                each.copy_(seen[name])
    return logits
