"""Training with remembered perturbations, on a convex-concave problem with exact answers.

    min_theta max_Delta L(theta, Delta) = (1/N) sum_i l_i(theta, delta_i),   |delta_ij| <= eps,
    l_i = (a/2) ||theta - c||^2 + <s_i * theta, delta_i> - (b/2) ||delta_i||^2.

Every step draws one instance k. SGDBCA (which models ATTA) and ASGDBCA (which models ATAS) do

    SGDBCA:   delta_k <- P[ delta_k + eta_x g_k ]
    ASGDBCA:  v_k <- beta v_k + (1 - beta) ||g_k||^2,  vhat_k <- max(vhat_k, v_k),
              delta_k <- P[ delta_k + eta_x g_k / sqrt(vhat_k) ]
    both:     theta <- theta - eta_theta grad_theta l_k(theta, delta_k new),

with g_k the raw gradient in delta_k; all other rows stay. Lemma 5.1: the gap of the averaged theta,
max_D L(thetabar, D) - min_theta max_D L(theta, D), is at most R(T) / T with

    R(T) = max_D sum_t L(theta_t, D) - min_theta sum_t L(theta, Delta_t).

Symbols: eta -> `theta_step`, `input_step`; a, c, s, b, eps -> `curvature`, `centre`, `coupling`,
`concavity`, `radius`. The published steps and bounds on R(T) are in `regret`.
Source: Huang et al. 2023, arXiv:2206.02417; Liu 2022, sec 5.2.3, Lemma 5.1, Theorems 5.3 and 5.4.
Departures: R(T) has its maximum and minimum outside the sum over t, as the theorems' proofs use it;
the printed definition has them inside. The problem is ours.
"""

from dataclasses import dataclass
from typing import Annotated, Protocol

import torch
from torch import Tensor

from holdfast.core.errors import InputError, described
from holdfast.core.random import Keys
from holdfast.core.recipes import NonNegative, Range, hyperparameters
from holdfast.toys.regret import Constants

_HALVINGS = 60


class Saddle(Protocol):
    """A problem that is convex in theta and concave in the perturbation of each instance."""

    @property
    def radius(self) -> float:
        """eps."""

    @property
    def shape(self) -> tuple[int, int]:
        """(N, M); theta has M coordinates as well."""

    def theta_gradient(self, theta: Tensor, delta: Tensor, which: Tensor) -> Tensor:
        """Of instance `which` (S,) at theta (S, M) and its own perturbation (S, M)."""

    def input_gradient(self, theta: Tensor, delta: Tensor, which: Tensor) -> Tensor:
        """The same, in the perturbation."""


@dataclass(frozen=True, eq=False)
class Trajectory:
    """Means over the steps of S independent runs, of the points before each step.

    Args:
        theta: (S, M).
        theta_squares: (S, M) of theta^2.
        delta: (S, N, M).
        delta_squares: (S, N, M) of Delta^2.
        steps: T.
    """

    theta: Tensor
    theta_squares: Tensor
    delta: Tensor
    delta_squares: Tensor
    steps: int


@hyperparameters
class BlockAscent:
    """Simultaneous descent in theta and ascent in one instance's perturbation.

    Args:
        theta_step: eta_theta.
        input_step: eta_x.
        momentum: beta of ASGDBCA; None is SGDBCA.

    Guarantee: perturbations stay in the ball of the problem's radius.
    Cost: `steps` evaluations of both gradients of one instance.
    """

    theta_step: NonNegative
    input_step: NonNegative
    momentum: Annotated[float, Range(ge=0, lt=1)] | None = None

    def run(self, problem: Saddle, steps: int, keys: Keys) -> Trajectory:
        """One run for each key, from theta = 0 and Delta = 0.

        Raises:
            InputError: fewer than one step.
        """
        if steps < 1:
            raise InputError("steps", steps, "is no run", "give 1 or more")
        count, (instances, features) = len(keys), problem.shape
        device, runs = keys.state.device, torch.arange(count, device=keys.state.device)
        theta = torch.zeros(count, features, dtype=torch.float64, device=device)
        delta = theta.new_zeros(count, instances, features)
        scale, largest = theta.new_zeros(count, instances), theta.new_zeros(count, instances)
        sums = [torch.zeros_like(each) for each in (theta, theta, delta, delta)]
        chosen = keys.fold("instance").integers(instances, (steps,))
        for which in chosen.T:
            for total, value in zip(sums, (theta, theta**2, delta, delta**2), strict=True):
                total += value
            row = delta[runs, which]
            gradient = problem.input_gradient(theta, row, which)
            if self.momentum is not None:
                self._remember(scale, largest, gradient, (runs, which))
                gradient = gradient / largest[runs, which].clamp_min(1e-300).sqrt()[:, None]
            row = (row + self.input_step * gradient).clamp(-problem.radius, problem.radius)
            delta[runs, which] = row
            theta = theta - self.theta_step * problem.theta_gradient(theta, row, which)
        first, second, third, fourth = (total / steps for total in sums)
        return Trajectory(first, second, third, fourth, steps)

    def _remember(
        self, scale: Tensor, largest: Tensor, gradient: Tensor, at: tuple[Tensor, Tensor]
    ) -> None:
        """v and vhat of the instances drawn, in place."""
        beta = self.momentum or 0.0
        scale[at] = beta * scale[at] + (1 - beta) * gradient.square().sum(dim=1)
        largest[at] = torch.maximum(largest[at], scale[at])


@dataclass(frozen=True, eq=False)
class CoupledQuadratic:
    """The problem above. Coordinates do not mix, so that every optimum is exact.

    Args:
        coupling: s, (N, M).
        centre: c, (M,).
        radius: eps.
        curvature: a, positive.
        concavity: b, positive.

    Raises:
        InputError: shapes that do not fit, a constant that is not positive.

    Example:
        >>> problem = CoupledQuadratic.make(seed=0, instances=4, features=3)
        >>> theta, value = problem.optimum()
        >>> bool((problem.worst(theta[None]) - value).abs() < 1e-12)
        True
    """

    coupling: Tensor
    centre: Tensor
    radius: float = 0.5
    curvature: float = 1.0
    concavity: float = 1.0

    def __post_init__(self) -> None:
        if self.coupling.ndim != 2 or self.centre.shape != self.coupling.shape[1:]:
            shapes = f"tensors of shapes {tuple(self.coupling.shape)}, {tuple(self.centre.shape)}"
            raise InputError("coupling", described(shapes), "do not fit", "give (N, M) and (M,)")
        for name in ("radius", "curvature", "concavity"):
            if not getattr(self, name) > 0:
                raise InputError(name, getattr(self, name), "is not positive", "give one above 0")
        object.__setattr__(self, "coupling", self.coupling.detach().double())
        object.__setattr__(self, "centre", self.centre.detach().double())

    @classmethod
    def make(cls, seed: int, instances: int, features: int) -> "CoupledQuadratic":
        """A problem whose instances are coupled with heavy-tailed strengths, u^(-1/2) for u
        uniform."""
        keys = Keys.of(seed, range(instances))
        strength = (keys.fold("strength").uniform((1,)).double() + 1e-4).rsqrt()
        coupling = strength * keys.fold("coupling").normal((features,)).double()
        centre = Keys.of(seed, [0]).fold("centre").uniform((features,), low=-1, high=1)[0]
        return cls(coupling, centre)

    @property
    def shape(self) -> tuple[int, int]:
        """(N, M)."""
        return len(self.coupling), len(self.centre)

    def theta_gradient(self, theta: Tensor, delta: Tensor, which: Tensor) -> Tensor:
        """a (theta - c) + s_k * delta_k, (S, M)."""
        return self.curvature * (theta - self.centre) + self.coupling[which] * delta

    def input_gradient(self, theta: Tensor, delta: Tensor, which: Tensor) -> Tensor:
        """s_k * theta - b delta_k, (S, M)."""
        return self.coupling[which] * theta - self.concavity * delta

    def value(self, theta: Tensor, delta: Tensor) -> Tensor:
        """L(theta, Delta), (S,), for theta (S, M) and Delta (S, N, M)."""
        gains = self.coupling * theta[:, None] * delta - self.concavity / 2 * delta.square()
        return self._distance(theta) + gains.sum(dim=2).mean(dim=1)

    def answer(self, theta: Tensor) -> Tensor:
        """The maximising Delta, (S, N, M)."""
        best = self.coupling * theta[:, None] / self.concavity
        return best.clamp(-self.radius, self.radius)

    def worst(self, theta: Tensor) -> Tensor:
        """max_D L(theta, D), (S,)."""
        return self.value(theta, self.answer(theta))

    def optimum(self) -> tuple[Tensor, float]:
        """The minimising theta (M,) of `worst`, and its value; by bisection between 0 and c."""
        low, high = torch.zeros_like(self.centre), torch.ones_like(self.centre)
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            theta = middle * self.centre
            rise = (self.coupling * self.answer(theta[None])[0]).mean(dim=0)
            slope = (self.curvature * (theta - self.centre) + rise) * self.centre.sign()
            low, high = middle.where(slope < 0, low), middle.where(slope >= 0, high)
        theta = (low + high) / 2 * self.centre
        return theta, float(self.worst(theta[None]))

    def gap(self, trajectory: Trajectory) -> Tensor:
        """How far the averaged theta is from the optimum, (S,); never negative."""
        return self.worst(trajectory.theta) - self.optimum()[1]

    def regret(self, trajectory: Trajectory) -> Tensor:
        """R(T), (S,), exactly, from the trajectory's means."""
        return trajectory.steps * (self._inner(trajectory) - self._outer(trajectory))

    def constants(self) -> Constants:
        """Constants that hold on every trajectory from 0 with eta_theta a <= 1."""
        strength, most = self.coupling.abs(), self.coupling.abs().amax(dim=0)
        reach = self.centre.abs() + most * self.radius / self.curvature
        slopes = self.curvature * (reach + self.centre.abs()) + strength * self.radius
        inputs = (strength * reach + self.concavity * self.radius).norm(dim=1)
        squared = float(slopes.square().sum(dim=1).mean())
        return Constants(
            theta_distance=float(reach.norm()),
            theta_gradient=squared**0.5,
            input_distance=2 * self.radius,
            input_gradients=inputs,
            features=len(self.centre),
            smoothness=self.concavity,
        )

    def _inner(self, means: Trajectory) -> Tensor:
        """max_D of the mean of L(theta_t, D): linear in theta_t but for its square."""
        spread = self.curvature / 2 * (means.theta_squares - means.theta.square()).sum(dim=1)
        return self.worst(means.theta) + spread

    def _outer(self, means: Trajectory) -> Tensor:
        """min_theta of the mean of L(theta, Delta_t)."""
        pull = (self.coupling * means.delta).mean(dim=1)
        theta = self.centre - pull / self.curvature
        spread = self.concavity / 2 * (means.delta_squares - means.delta.square())
        return self.value(theta, means.delta) - spread.sum(dim=2).mean(dim=1)

    def _distance(self, theta: Tensor) -> Tensor:
        return self.curvature / 2 * (theta - self.centre).square().sum(dim=1)
