"""A defence that optimises at inference: the input is cleaned by gradient steps before it is seen.

    v_0 = x;   v_{t+1} = v_t - a D'(v_t),   D(v) = 1/2 ||v - x||^2 + w/2 sum (v_i - v_j)^2

over neighbours i, j; the network then sees v_T. No gradient is passed through the loop, as in
purifications that search for the nearest clean input.

Symbols: a = `step_size`, w = `weight`, T = `steps`.
Source: Samangouei, Kabkab and Chellappa 2018, arXiv:1805.06605 (Defense-GAN: projection on the
range of a generator by an inner loop); its evaluation: Athalye, Carlini and Wagner 2018,
arXiv:1802.00420, sec 5.4.2. Admission rules: Croce et al. 2021, arXiv:2010.09670.
Departures: a smoothness term stands in for the generator, so that nothing is to be trained.
"""

import torch
from torch import Tensor, nn

from holdfast.core.recipes import Count, NonNegative, Positive, convert


class Purify(nn.Module):
    """Gradient descent on a denoising energy of the input, of which no gradient is passed on.

    Neighbours are so along the last two axes of an example, or its only one.

    Args:
        steps: of gradient descent.
        step_size: of a step; the energy never rises up to 1 / (1 + 8 weight).
        weight: of smoothness against faithfulness.

    Guarantee: works, with the same result, under `torch.no_grad` and `torch.inference_mode`; an
        example's result does not depend on its batch.
    Cost: `steps` gradients of the energy; no pass through a network.
    """

    def __init__(self, steps: int = 10, step_size: float = 0.1, weight: float = 1.0):
        super().__init__()
        self.steps: int = convert(steps, Count, "steps")
        self.step_size = float(convert(step_size, Positive, "step_size"))
        self.weight = float(convert(weight, NonNegative, "weight"))

    def forward(self, x: Tensor) -> Tensor:
        """x (B, *E) -> (B, *E), without a graph."""
        with torch.inference_mode(False), torch.enable_grad():
            noisy = x.detach().clone()
            point = noisy
            for _ in range(self.steps):
                point = point.detach().requires_grad_(True)
                (gradient,) = torch.autograd.grad(energy(point, noisy, self.weight).sum(), point)
                point = point - self.step_size * gradient
        return point.detach()

    def extra_repr(self) -> str:
        """The hyperparameters."""
        return f"steps={self.steps}, step_size={self.step_size:g}, weight={self.weight:g}"


def energy(v: Tensor, x: Tensor, weight: float) -> Tensor:
    """Half the squared distance of v to x, plus weight/2 times that between neighbours, (B,).

    Args:
        v: (B, *E) the point.
        x: (B, *E) what it should stay close to.
        weight: of the second term.
    """
    total = (v - x).square().flatten(1).sum(dim=1)
    for axis in range(max(1, v.ndim - 2), v.ndim):
        total = total + weight * v.diff(dim=axis).square().flatten(1).sum(dim=1)
    return total / 2


class InnerOptimisation(nn.Module):
    """A network behind an input that is cleaned by an optimisation loop.

    The loop cuts the graph, so the input gradient is zero and a gradient attack stays where it
    starts. A check that watches autograd during a forward pass finds the loop. What it does to the
    input is close to the identity, which as backward pass of `purify` breaks most of it; so do
    attacks on scores.

    Args:
        model: inputs (B, *E) to logits (B, K); kept as `net`.
        steps: of the loop.
        step_size: of one of its steps.
        weight: of smoothness; see `Purify`.
    """

    def __init__(
        self, model: nn.Module, steps: int = 10, step_size: float = 0.1, weight: float = 1.0
    ):
        super().__init__()
        self.purify, self.net = Purify(steps, step_size, weight), model

    def forward(self, x: Tensor) -> Tensor:
        """x (B, *E) -> logits (B, K)."""
        return self.net(self.purify(x))
