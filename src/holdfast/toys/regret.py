"""Regret bounds of block ascent with constant and with adaptive steps.

With the steps eta_theta = D_theta / (G_theta sqrt(T)) and

    SGDBCA:   eta_x = sqrt(N M) D_x / (G_x sqrt(T)),            G_x^2 = sum_i G_i^2,
    ASGDBCA:  eta_x = sqrt(M) D_x (1 - beta)^(1/4) / sqrt(T),

the published bounds on the expected regret of T steps are (Theorems 5.4 and 5.3)

    SGDBCA:   G_theta D_theta sqrt(T) + G_x D_x sqrt(M T / N) + M L D_x^2 / (2 N),
    ASGDBCA:  G_theta D_theta sqrt(T) + D_x sum_i G_i sqrt(M T) / (N (1 - beta)^(1/4))
                  + M L D_x^2 / (2 N^2 sqrt(1 - beta)).

Their proofs divide by N the expected decrease of ||Delta - D||^2 in a step (Eq 5.33), to which the
row drawn contributes alone and in full; with it the second terms are (N + 1) / 2 times as large.
For linear losses of N >= 3 rows the published bounds fail. Likewise the row drawn raises its own
loss, not 1/N of it, before theta steps on it (Eq 5.37). What follows, for comparators fixed in
advance and with Delta_t read as after a step of every row, as in Eq 5.39, is

    SGDBCA:   G_theta D_theta sqrt(T) + (N + 1)/2 G_x D_x sqrt(M T / N) + M L D_x^2 / 2,
    ASGDBCA:  G_theta D_theta sqrt(T) + (N + 1)/2 D_x sum_i G_i sqrt(M T) / (N (1 - beta)^(1/4))
                  + M L D_x^2 / (2 sqrt(1 - beta)).

The rate sqrt(T) and the ratio of the second terms are unchanged.

Source: Huang et al. 2023, arXiv:2206.02417; Liu 2022, sec 5.2.3, Theorems 5.3 and 5.4, Eq 5.27.
Departures: the bounds just named, by default; `form="printed"` gives the published ones. D_x is the
largest change of a coordinate, 2 eps in a ball of radius eps; eps is printed. Eq 5.53 uses
vhat_i >= (1 - beta) ||g_i||^2 for all rows where it holds for the row that moves, which suffices;
Eq 5.55 loses a factor N in the third term. The printed step of Theorem 5.3 has d for M, that of
Theorem 5.4 has D_x under the root. Eq 5.27 has the exponent -1/4; +1/4 is printed.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from holdfast.core.errors import InputError, described

Form = Literal["corrected", "printed"]


@dataclass(frozen=True, eq=False)
class Constants:
    """What the bounds know of a problem.

    Args:
        theta_distance: D_theta, from the first theta to the comparator.
        theta_gradient: G_theta, root of the mean squared gradient of an instance in theta.
        input_distance: D_x, the largest change of one coordinate of a perturbation.
        input_gradients: G_i, (N,), largest gradient norms of the instances in their perturbations.
        features: M, coordinates of a perturbation.
        smoothness: L, Lipschitz constant of an instance's gradient in its perturbation.

    Raises:
        InputError: no instances, or a negative constant.
    """

    theta_distance: float
    theta_gradient: float
    input_distance: float
    input_gradients: Tensor
    features: int
    smoothness: float

    def __post_init__(self) -> None:
        norms = self.input_gradients.detach().double()
        numbers = (self.theta_distance, self.theta_gradient, self.input_distance, self.smoothness)
        if norms.ndim != 1 or not len(norms) or min(*numbers, float(norms.min())) < 0:
            shown = described(f"{numbers} and gradients of shape {tuple(norms.shape)}")
            raise InputError("constants", shown, "bound nothing", "give numbers >= 0, and (N,)")
        object.__setattr__(self, "input_gradients", norms)

    @property
    def instances(self) -> int:
        """N."""
        return len(self.input_gradients)


@dataclass(frozen=True)
class RegretBound:
    """A bound on the regret, term by term.

    Args:
        theta: of the steps in theta.
        inputs: of the steps in the perturbations.
        smooth: of taking the theta step after the perturbation's own; does not grow with T.
    """

    theta: float
    inputs: float
    smooth: float

    @property
    def total(self) -> float:
        """The sum."""
        return self.theta + self.inputs + self.smooth


def constant_steps(constants: Constants, horizon: int) -> tuple[float, float]:
    """(eta_theta, eta_x) of SGDBCA."""
    scale = _root_of_squares(constants) * math.sqrt(horizon)
    rows = math.sqrt(constants.instances * constants.features)
    return _theta_step(constants, horizon), rows * constants.input_distance / scale


def adaptive_steps(constants: Constants, horizon: int, momentum: float) -> tuple[float, float]:
    """(eta_theta, eta_x) of ASGDBCA.

    Raises:
        InputError: a momentum outside [0, 1).
    """
    scale = constants.input_distance * math.sqrt(constants.features / horizon)
    return _theta_step(constants, horizon), scale * _rest(momentum) ** 0.25


def constant_bound(constants: Constants, horizon: int, form: Form = "corrected") -> RegretBound:
    """The bound for SGDBCA (Theorem 5.4).

    Args:
        form: `printed` is the published bound, which fails for many instances.
    """
    n, distance = constants.instances, constants.input_distance
    inputs = _root_of_squares(constants) * distance * math.sqrt(constants.features * horizon / n)
    smooth = constants.features * constants.smoothness * distance**2 / 2
    if form == "printed":
        return RegretBound(_theta_term(constants, horizon), inputs, smooth / n)
    return RegretBound(_theta_term(constants, horizon), (n + 1) / 2 * inputs, smooth)


def adaptive_bound(
    constants: Constants, horizon: int, momentum: float, form: Form = "corrected"
) -> RegretBound:
    """The bound for ASGDBCA (Theorem 5.3).

    Args:
        form: `printed` is the published bound, which fails for many instances.

    Raises:
        InputError: a momentum outside [0, 1).
    """
    n, distance, rest = constants.instances, constants.input_distance, _rest(momentum)
    mean = float(constants.input_gradients.mean())
    inputs = distance * mean * math.sqrt(constants.features * horizon) / rest**0.25
    smooth = constants.features * constants.smoothness * distance**2 / (2 * math.sqrt(rest))
    if form == "printed":
        return RegretBound(_theta_term(constants, horizon), inputs, smooth / n**2)
    return RegretBound(_theta_term(constants, horizon), (n + 1) / 2 * inputs, smooth)


def _theta_step(constants: Constants, horizon: int) -> float:
    if constants.theta_gradient == 0:
        return 0.0
    return constants.theta_distance / (constants.theta_gradient * math.sqrt(horizon))


def _theta_term(constants: Constants, horizon: int) -> float:
    return constants.theta_gradient * constants.theta_distance * math.sqrt(horizon)


def _root_of_squares(constants: Constants) -> float:
    """G_x."""
    return float(torch.linalg.vector_norm(constants.input_gradients))


def _rest(momentum: float) -> float:
    """1 - beta."""
    if not 0 <= momentum < 1:
        raise InputError("momentum", momentum, "is out of range", "give 0 or more, below 1")
    return 1 - momentum
