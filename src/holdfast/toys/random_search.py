"""Random search on smooth functions, with the bound on its gradients that a theorem gives.

    x_{t+1} = x_t + delta_t if g(x_t + delta_t) < g(x_t), else x_t.

Let g be L-smooth and the updates have mean 0, E||delta_t||^2 <= gamma_t^2 C and E|<delta_t, v>| >=
Ctilde gamma_t ||v||_2 for every v. One step then satisfies

    E g(x_{t+1}) <= g(x_t) - E|<grad g(x_t), delta_t>| / 2 + (L / 2) E||delta_t||^2,

and with gamma_t = gamma / sqrt(T)

    min_{t=0..T} E||grad g(x_t)||_2
        <= 2 / (gamma Ctilde sqrt(T)) (g(x_0) - E g(x_{T+1}) + gamma^2 C L / 2).

Symbols: gamma -> `gamma`, T -> `horizon`, h -> `side`; C, Ctilde -> `multiple_constants`.
Source: Andriushchenko, Croce, Flammarion and Hein 2020, arXiv:1912.00049;
    Andriushchenko 2024, Proposition 3.5.1, sec 3.8.2 and 3.8.4.
Departures: none; the updates are P_multiple, and there is no projection, as in the theorem.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import softplus

from holdfast.core.errors import InputError, described
from holdfast.core.random import Keys
from holdfast.core.recipes import Count, Positive, hyperparameters
from holdfast.toys.correlations import multiple_constants
from holdfast.toys.updates import Shape, multiple_update


class Smooth(Protocol):
    """A differentiable function whose gradient is Lipschitz with a known constant."""

    @property
    def smoothness(self) -> float:
        """L, with ||grad g(x) - grad g(z)||_2 <= L ||x - z||_2."""

    def value(self, x: Tensor) -> Tensor:
        """g of each example, (B, *E) to (B,)."""

    def gradient(self, x: Tensor) -> Tensor:
        """Its gradient, (B, *E)."""


@hyperparameters
class Quadratic:
    """g(x) = (L / 2) ||x||_2^2, in any number of dimensions.

    Args:
        smoothness: L.
    """

    smoothness: Positive = 1.0

    def value(self, x: Tensor) -> Tensor:
        """(L / 2) ||x||_2^2, (B, *E) to (B,)."""
        return self.smoothness / 2 * x.flatten(1).square().sum(dim=1)

    def gradient(self, x: Tensor) -> Tensor:
        """L x."""
        return self.smoothness * x


@dataclass(frozen=True, eq=False)
class SoftplusNet:
    """g(x) = sum_j u_j softplus(a_j'x): a net with one hidden layer, convex only if all u_j >= 0.

    Its Hessian A' diag(u s (1 - s)) A, with s the sigmoid of Ax, has norm at most ||A' diag|u| A||
    / 4.

    Args:
        weight: A, (units, d).
        output: u, (units,).
    """

    weight: Tensor
    output: Tensor

    def __post_init__(self) -> None:
        if self.weight.ndim != 2 or self.output.shape != self.weight.shape[:1]:
            shapes = f"tensors of shapes {tuple(self.weight.shape)} and {tuple(self.output.shape)}"
            raise InputError(
                "weight, output", described(shapes), "do not fit", "give (units, d) and (units,)"
            )
        object.__setattr__(self, "weight", self.weight.detach().double())
        object.__setattr__(self, "output", self.output.detach().double())

    @classmethod
    def make(cls, seed: int, units: int, features: int) -> "SoftplusNet":
        """A net with weights uniform in [-1, 1) and output weights -1 or 1; exact on every
        device."""
        keys = Keys.of(seed, range(units))
        return cls(keys.fold("weight").uniform((features,), low=-1, high=1), keys.sign(()))

    @property
    def smoothness(self) -> float:
        """||A' diag|u| A||_2 / 4; attained at 0 if all u_j >= 0."""
        scaled = self.output.abs().sqrt()[:, None] * self.weight
        return float(torch.linalg.matrix_norm(scaled, 2)) ** 2 / 4

    def value(self, x: Tensor) -> Tensor:
        """g of each example, (B, *E) to (B,)."""
        return softplus(x.flatten(1).double() @ self.weight.T) @ self.output

    def gradient(self, x: Tensor) -> Tensor:
        """Its gradient, (B, *E)."""
        slopes = (x.flatten(1).double() @ self.weight.T).sigmoid() * self.output
        return (slopes @ self.weight).view_as(x)


@dataclass(frozen=True, eq=False)
class Trajectory:
    """What a random search saw.

    Args:
        values: g(x_t), (steps + 1, B).
        gradient_norms: ||grad g(x_t)||_2, (steps + 1, B).
        x: the last point, (B, *E).
    """

    values: Tensor
    gradient_norms: Tensor
    x: Tensor


@hyperparameters
class MultipleSignSearch:
    """Random search with P_multiple, scaled so that the convergence theorem holds.

    Args:
        gamma: scale of the updates; their entries are 0 or +-gamma / sqrt(T).
        horizon: T; the run takes T + 1 steps.
        side: side of the square that an update changes.

    Guarantee: for an L-smooth g, the least over t <= T of the mean gradient norm is at most
        `bound`, in expectation over the keys.
    Cost: T + 2 evaluations of g and its gradient; the gradient is only recorded.

    Example:
        >>> search = MultipleSignSearch(gamma=2.0, horizon=60, side=2)
        >>> path = search.run(Quadratic(), torch.ones(50, 1, 2, 2), Keys.of(0, range(50)))
        >>> bound = search.bound(Quadratic(), (1, 2, 2), path.values)
        >>> bool(path.gradient_norms[:-1].mean(dim=1).min() <= bound)
        True
    """

    gamma: Positive
    horizon: Count
    side: Count

    def run(self, objective: Smooth, start: Tensor, keys: Keys) -> Trajectory:
        """The search from `start` (B, C, H, W); example b uses the keys of row b.

        Raises:
            InputError: a start that is no batch of images, a side that does not fit.
        """
        if start.ndim != 4 or len(start) != len(keys):
            shape = described(f"a tensor of shape {tuple(start.shape)}")
            raise InputError("start", shape, "does not fit", f"give ({len(keys)}, C, H, W)")
        eps = self.gamma / (2 * math.sqrt(self.horizon))
        channels, height, width = start.shape[1:]

        def propose(step: int) -> Tensor:
            return multiple_update(keys, (channels, height, width), self.side, eps, step)

        return random_search(objective, start, propose, self.horizon + 1)

    def bound(self, objective: Smooth, shape: Shape, values: Tensor) -> float:
        """The theorem's bound on min_{t <= T} E||grad g(x_t)||_2.

        Args:
            shape: (C, H, W).
            values: `Trajectory.values` of the run; the first and last are averaged over the keys.
        """
        second_moment, correlation = multiple_constants(shape, self.side)
        return gradient_norm_bound(
            float(values[0].mean() - values[-1].mean()),
            smoothness=objective.smoothness,
            gamma=self.gamma,
            horizon=self.horizon,
            second_moment=second_moment,
            correlation=correlation,
        )


def random_search(
    objective: Smooth, start: Tensor, propose: Callable[[int], Tensor], steps: int
) -> Trajectory:
    """Adds each proposed update that strictly lowers g.

    Args:
        start: x_0, (B, *E).
        propose: the updates (B, *E) of step 0, 1, ...

    Guarantee: g(x_t) of each example never rises.
    """
    x, value = start, objective.value(start)
    values, norms = [value], [_gradient_norm(objective, x)]
    for step in range(steps):
        candidate = x + propose(step).to(x)
        proposed = objective.value(candidate)
        better = proposed < value
        x = torch.where(better.view(-1, *[1] * (x.ndim - 1)), candidate, x)
        value = torch.where(better, proposed, value)
        values.append(value)
        norms.append(_gradient_norm(objective, x))
    return Trajectory(torch.stack(values), torch.stack(norms), x)


def gradient_norm_bound(
    drop: float,
    *,
    smoothness: float,
    gamma: float,
    horizon: int,
    second_moment: float,
    correlation: float,
) -> float:
    """2 / (gamma Ctilde sqrt(T)) (drop + gamma^2 C L / 2).

    Args:
        drop: g(x_0) - E g(x_{T+1}).
        second_moment: C.
        correlation: Ctilde.

    Example:
        >>> gradient_norm_bound(
        ...     3.0, smoothness=1.0, gamma=2.0, horizon=4, second_moment=1.0, correlation=0.5
        ... )
        5.0
    """
    noise = gamma**2 * second_moment * smoothness / 2
    return 2 / (gamma * correlation * math.sqrt(horizon)) * (drop + noise)


def expected_value_after(objective: Smooth, x: Tensor, updates: Tensor) -> float:
    """E g(x_1) of one step from x_0 = x, exactly.

    Args:
        x: one point, (*E).
        updates: the equally likely updates, (N, *E).
    """
    stay = objective.value(x[None])
    return float(torch.minimum(objective.value(x[None] + updates), stay).mean())


def one_step_bound(objective: Smooth, x: Tensor, updates: Tensor) -> float:
    """g(x) - E|<grad g(x), delta>| / 2 + (L / 2) E||delta||^2, for updates with mean 0.

    Args and sizes are those of `expected_value_after`.
    """
    flat = updates.flatten(1)
    slope = (flat @ objective.gradient(x[None]).flatten()).abs().mean()
    size = flat.square().sum(dim=1).mean()
    stay = objective.value(x[None]).mean()
    return float(stay - slope / 2 + objective.smoothness / 2 * size)


def _gradient_norm(objective: Smooth, x: Tensor) -> Tensor:
    return objective.gradient(x).flatten(1).norm(dim=1)
