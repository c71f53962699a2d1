"""Defences that draw random numbers at every call, so that no two passes agree.

A gradient is that of one draw and an attack's success may be luck of another. Repeated passes on
one input find them; attacks that average loss and gradient over draws (expectation over
transformation) attack what they compute in the mean. Success on such a model is to be judged on
fresh draws.

The draws are keyed by the wrapper's seed, the number of the call and the row in the batch. They
differ from call to call, and repeat only when the wrapper is seeded anew: the contract that an
example's result depends on itself alone is broken here on purpose.

Source: noise: Cohen, Rosenfeld and Kolter 2019, arXiv:1902.02918 (one draw, without the vote);
post-averaging: Lin et al. 2019, arXiv:1905.12797; its evaluation: Andriushchenko 2024, sec 3.12.6.
Attack over draws: Athalye et al. 2018, arXiv:1707.07397.
"""

import math
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from holdfast.core.random import Keys
from holdfast.core.recipes import Count, NonNegative, Positive, Range, convert
from holdfast.core.tensors import norm, per_example

Seed = Annotated[int, Range(ge=0)]


class Drawing(nn.Module):
    """A module that draws: it owns a seed and counts its calls.

    Args:
        seed: of the draws; equal seeds give equal draws for equal sequences of calls.
    """

    def __init__(self, seed: int = 0):
        super().__init__()
        self.seed_again(seed)

    def seed_again(self, seed: int) -> None:
        """Starts the sequence of draws anew."""
        self.seed: int = convert(seed, Seed, "seed")
        self.calls = 0

    def fresh_keys(self, x: Tensor) -> Keys:
        """Keys of the rows of x (B, *E), new at every call."""
        rows = torch.arange(len(x), device=x.device)
        keys = Keys.of(self.seed, rows, x.device).fold("call").fold(self.calls)
        self.calls += 1
        return keys


class Randomised(Drawing):
    """A network behind Gaussian noise on its input, fresh at every call, also in evaluation.

    Near a boundary the prediction is a coin; an attack that stops at its first success, or that
    keeps the best of many noisy losses, is deceived by its luck. Two equal passes that differ find
    it; averaging over draws attacks it.

    Args:
        model: inputs (B, *E) to logits (B, K); kept as `net`.
        sigma: standard deviation of the noise, in input units; the sum is not clipped.
        seed: of the noise.
    """

    def __init__(self, model: nn.Module, sigma: float, seed: int = 0):
        super().__init__(seed)
        self.net = model
        self.sigma = float(convert(sigma, NonNegative, "sigma"))

    def forward(self, x: Tensor) -> Tensor:
        """x (B, *E) -> logits (B, K)."""
        noise = self.fresh_keys(x).normal(x.shape[1:]).to(x.dtype)
        return self.net(x + self.sigma * noise)

    def extra_repr(self) -> str:
        """The noise."""
        return f"sigma={self.sigma:g}, seed={self.seed}"


class PostAveraged(Drawing):
    """The mean prediction of a network over random points on spheres around the input.

        p(x) = mean of softmax f(x), softmax f(x + s r_j u_k),   s = -1, 1,   r_j = R j / n

    with K random unit vectors u_k, fresh at every call and for every example. The far points see
    little of a small perturbation, the gradient is that of one draw, and the mean of many saturated
    softmaxes is flat. Two equal passes that differ find it; attacks on scores break it, and keep
    the best of noisy losses.

    Args:
        model: inputs (B, *E) to logits (B, K); kept as `net`.
        directions: K, random unit vectors; each is used with both signs.
        radius: R of the outermost sphere, in units of the wrapper's input.
        radii: n, how many spheres there are, at even distances.
        output: `log` returns log p, which stands for logits; `probabilities` returns p.
        seed: of the directions.

    Guarantee: p is a distribution; log p is finite where no softmax underflows at every point.
    Cost: 1 + 2 K n forwards of the network (91 by default) in one of the wrapper.
    Source: Lin et al. 2019, arXiv:1905.12797; Andriushchenko 2024, sec 3.12.6: K = 15 with R = 6
        (CIFAR-10) or 30 (ImageNet).
    Departures: the published radius is in normalised units: for those, put this wrapper inside of
        the normalisation. Log of the mean of softmax instead of the mean itself, by default.
    """

    def __init__(
        self,
        model: nn.Module,
        directions: int = 15,
        radius: float = 6.0,
        radii: int = 3,
        output: Literal["log", "probabilities"] = "log",
        seed: int = 0,
    ):
        super().__init__(seed)
        self.net = model
        self.directions: int = convert(directions, Count, "directions")
        self.radius = float(convert(radius, Positive, "radius"))
        self.radii: int = convert(radii, Count, "radii")
        self.output: str = convert(output, Literal["log", "probabilities"], "output")

    def forward(self, x: Tensor) -> Tensor:
        """x (B, *E) -> log p or p, (B, K)."""
        keys = self.fresh_keys(x)
        logs = [self.net(x).log_softmax(dim=1)]
        for k in range(self.directions):
            direction = unit(keys.normal(x.shape[1:], step=k).to(x.dtype))
            logs += [self.net(x + r * direction).log_softmax(dim=1) for r in self.offsets()]
        mean = torch.stack(logs).logsumexp(dim=0) - math.log(len(logs))
        return mean if self.output == "log" else mean.exp()

    def offsets(self) -> list[float]:
        """The signed distances along each direction."""
        spheres = [self.radius * j / self.radii for j in range(1, self.radii + 1)]
        return [sign * r for r in spheres for sign in (1.0, -1.0)]

    def extra_repr(self) -> str:
        """The hyperparameters."""
        spheres = f"directions={self.directions}, radius={self.radius:g}, radii={self.radii}"
        return f"{spheres}, output={self.output!r}, seed={self.seed}"


def unit(v: Tensor) -> Tensor:
    """Each example divided by its l2 norm; v (B, *E)."""
    return v / per_example(norm(v, 2).clamp_min(torch.finfo(v.dtype).tiny), v)
