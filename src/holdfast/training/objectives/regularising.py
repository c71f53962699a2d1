"""What logit-regularised objectives share: where the inner attack starts, the two forwards of the
weight step, and the loss  CE + weight D( f(x'), f(x) ).

At x' = x every divergence has its minimum, and its gradient is 0 (of `tv`, undefined): an attack on
the divergence alone must start elsewhere.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from holdfast.core.random import Keys
from holdfast.losses.divergence import DIVERGENCES, Divergence
from holdfast.threats.protocol import Threat
from holdfast.training.objectives.fitting import share_right

Start = Literal["normal", "uniform", "clean"]
"""Where an inner attack starts: the clean input with normal noise of standard deviation 0.001, not
clipped; the threat's random start; the clean input itself."""

STEP = "7/30*eps"
"""A step of 0.007 at eps = 0.03, the setting of the thesis; the TRADES code has 0.007 at 0.031."""

_NOISE = 0.001


def first_point(start: Start, x: Tensor, threat: Threat, keys: Keys) -> Tensor:
    """Where the inner attack starts, (B, *E); `uniform` draws what PGD's own random start draws."""
    keys = keys.fold(0).fold("start")
    if start == "clean":
        return x
    if start == "uniform":
        return threat.sample(x, keys=keys)
    return x + _NOISE * keys.normal(x.shape[1:]).to(x)


def both_logits(
    model: nn.Module, x: Tensor, x_adv: Tensor, *, joint: bool = False
) -> tuple[Tensor, Tensor]:
    """The logits of the clean and of the perturbed inputs, each (B, K).

    Args:
        joint: in one forward pass, so that batch norm sees both together; else one after the other,
            the clean ones first.
    """
    if joint:
        clean, perturbed = model(torch.cat([x, x_adv])).split(len(x))
        return clean, perturbed
    return model(x.clone()), model(x_adv.clone())  # a network may work on its input in place


def regularised(
    fitted: Tensor,
    y: Tensor,
    clean: Tensor,
    perturbed: Tensor,
    *,
    divergence: Divergence,
    weight: float,
    label_smoothing: float,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The mean of CE(fitted, y) + weight D(perturbed, clean), and what to log of it.

    Args:
        fitted: (B, K) logits that the labels are fitted on.
        y: (B,) labels, or (B, K) probabilities.
    """
    fit = cross_entropy(fitted, y, label_smoothing=label_smoothing)
    away = DIVERGENCES[divergence](perturbed, clean).mean()
    loss = fit + weight * away
    logs = {"loss": loss.detach(), "cross_entropy": fit.detach(), "divergence": away.detach()}
    return loss, logs | {"accuracy": share_right(fitted, y)}
