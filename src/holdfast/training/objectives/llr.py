"""Local linearity regularisation (LLR): make the loss linear over the threat, and flat.

    g(d) = | L(x + d) - L(x) - <d, grad L(x)> |,      d* = argmax_d g(d),
    min_theta mean_i  L(x) + lam g(d*) + mu |<d*, grad L(x)>|

L(x + d) <= L(x) + |<d, grad L(x)>| + max g for all d of the threat, so both terms bound the
adversarial loss, and few inner steps suffice: there is little curvature to hide behind.

Symbols: L = cross-entropy, lam = `weight`, mu = `slope_weight`.
Source: Qin et al. 2019, arXiv:1907.02610, Alg. 1.
Departures: the inner steps are the steepest ones of the threat, whatever its norm.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from holdfast.attacks.attack import check_searchable, parse_step, step_length
from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.core.recipes import Count, NonNegative, hyperparameters
from holdfast.core.results import ObjectiveResult
from holdfast.core.tensors import per_example
from holdfast.losses.cross_entropy import CrossEntropy
from holdfast.threats.protocol import Threat
from holdfast.training.objectives.fitting import (
    AttackMode,
    bare,
    keys_or_content,
    plain,
    share_right,
)
from holdfast.training.objectives.protocol import Passes
from holdfast.training.precision import Autocast
from holdfast.training.visit import Visit

_LOSS = CrossEntropy()


@hyperparameters
class LLR:
    """Clean cross-entropy, plus the worst departure from its linearisation, plus its slope there.

    Args:
        weight: lam, of the linearity error; 4 as published for CIFAR-10.
        slope_weight: mu, of the slope along the perturbation; 3 as published for CIFAR-10.
        steps: of the inner maximisation, from the threat's random start; 2 as published.
        step_size: of the inner maximisation, in input units or relative; two steps of `eps` reach
            the whole threat.
        attack_mode: batch norm in the inner maximisation.

    Guarantee: d* lies in the threat; on a linear loss the error is 0 up to rounding.
    Cost: N + 3 forwards and N + 4 backwards, N the steps; the last backward pass goes through a
        gradient and costs about two. In mixed precision the regulariser is computed in float32, at
        one more forward and backward.
    Needs: a model that can be differentiated twice.
    Source: Qin et al. 2019, Alg. 1.
    """

    weight: NonNegative = 4.0
    slope_weight: NonNegative = 3.0
    steps: Count = 2
    step_size: float | str = "eps"
    attack_mode: AttackMode = "eval"

    def __post_init__(self) -> None:
        parse_step(self.step_size, self.steps)

    @property
    def passes(self) -> Passes:
        """Clean gradient and inner steps; clean, perturbed and again the clean gradient."""
        return Passes(self.steps + 3, self.steps + 4)

    @property
    def weight_passes(self) -> Passes:
        """Clean and perturbed, and the clean gradient."""
        return Passes(2, 3)

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
        x_adv: Tensor | None = None,
    ) -> ObjectiveResult:
        """The loss of a batch; see `Objective.loss`, and `AtPoints` for `x_adv`."""
        del progress, state, visit
        if x_adv is None:
            x_adv = self.perturbed(model, x, y, threat, keys_or_content(keys, x))
        network, mixed = plain(model), isinstance(bare(model), Autocast)
        whole = network if mixed or bare(model) is not network else model
        with torch.autocast(x.device.type, enabled=False):
            logits, value, slope = _clean(whole, x, y)
            there = cross_entropy(network(x_adv.clone()), y, reduction="none")
        fit = cross_entropy(model(x.clone()), y) if mixed else value.mean()
        rise = _inner(slope, x_adv - x)
        error, steepness = (there - value - rise).abs().mean(), rise.abs().mean()
        loss = fit + self.weight * error + self.slope_weight * steepness
        logs = {
            "loss": loss.detach(),
            "cross_entropy": fit.detach(),
            "linearity_error": error.detach(),
            "slope": steepness.detach(),
            "accuracy": share_right(logits, y),
        }
        return ObjectiveResult(loss, x_adv, logs)

    def perturbed(
        self, model: nn.Module, x: Tensor, y: Tensor, threat: Threat, keys: Keys
    ) -> Tensor:
        """The inputs (B, *E) of large linearity error that the inner maximisation ends on."""
        check_searchable(threat, "LLR")
        length = step_length(self.step_size, threat, self.steps)
        point = threat.sample(x, keys=keys.fold(0).fold("start"))
        mixed = isinstance(bare(model), Autocast)
        asked = bare(model) if mixed else plain(model)
        with FrozenModel(asked, mode=self.attack_mode, device=x.device) as frozen:
            _, value, slope = frozen.value_and_grad(x, lambda logits: _LOSS(logits, y))
            for _ in range(self.steps):
                _, there, gradient = frozen.value_and_grad(point, lambda logits: _LOSS(logits, y))
                error = there - value - _inner(slope, point - x)
                ascent = per_example(error.sign(), x) * (gradient - slope)
                point = threat.project(point + threat.steepest(ascent, length), x)
        return point.detach()


def _clean(network: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The logits at x, the losses (B,), and their input gradients (B, *E), all differentiable."""
    x = x.detach().requires_grad_(True)
    logits = network(x.clone())
    value = cross_entropy(logits, y, reduction="none")
    (slope,) = torch.autograd.grad(value.sum(), x, create_graph=True)
    return logits, value, slope


def _inner(slope: Tensor, delta: Tensor) -> Tensor:
    return (slope * delta).flatten(1).sum(dim=1)
