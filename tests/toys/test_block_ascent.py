import math
from dataclasses import dataclass

import pytest
import torch

from holdfast.core.errors import InputError
from holdfast.core.random import Keys
from holdfast.toys.block_ascent import BlockAscent, CoupledQuadratic
from holdfast.toys.regret import (
    Constants,
    adaptive_bound,
    adaptive_steps,
    constant_bound,
    constant_steps,
)

BETA = 0.5


def tuned(constants, horizon, momentum):
    """The published steps, and the bound by form."""
    if momentum is None:
        theta, inputs = constant_steps(constants, horizon)
        bound = constant_bound(constants, horizon), constant_bound(constants, horizon, "printed")
    else:
        theta, inputs = adaptive_steps(constants, horizon, momentum)
        bound = tuple(
            adaptive_bound(constants, horizon, momentum, form) for form in ("corrected", "printed")
        )
    return BlockAscent(theta_step=theta, input_step=inputs, momentum=momentum), *bound


@dataclass
class Slope:
    """N linear losses g_i delta_i; theta plays no part."""

    slopes: torch.Tensor
    radius: float = 0.5

    @property
    def shape(self):
        return len(self.slopes), 1

    def theta_gradient(self, theta, delta, which):
        return torch.zeros_like(theta)

    def input_gradient(self, theta, delta, which):
        return self.slopes[which][:, None].double()


def test_gradients_are_those_of_the_value():
    problem = CoupledQuadratic.make(0, instances=4, features=3)
    theta = torch.randn(2, 3).double().requires_grad_(True)
    delta = (0.5 * torch.rand(2, 4, 3).double()).requires_grad_(True)
    total = problem.value(theta, delta).sum()
    by_theta, by_delta = torch.autograd.grad(total, (theta, delta))
    each = [torch.full((2,), k) for k in range(4)]
    mean = sum(problem.theta_gradient(theta, delta[:, k], w) for k, w in enumerate(each)) / 4
    assert torch.allclose(by_theta, mean)
    for k, which in enumerate(each):
        exact = problem.input_gradient(theta, delta[:, k], which) / 4
        assert torch.allclose(by_delta[:, k], exact)


def test_the_optimum_and_the_worst_case_are_exact():
    problem = CoupledQuadratic.make(1, instances=7, features=2)
    theta, value = problem.optimum()
    grid = torch.linspace(-1.2, 1.2, 241).double()
    points = torch.cartesian_prod(grid, grid)
    assert value <= problem.worst(points).min().item() + 1e-12
    assert value == pytest.approx(problem.worst(points).min().item(), abs=1e-3)
    assert bool((theta.abs() <= problem.centre.abs()).all())
    draws = Keys.of(0, range(500)).uniform((7, 2), low=-0.5, high=0.5).double()
    sampled = problem.value(theta.expand(500, 2), draws)
    assert sampled.max() <= value + 1e-12


@pytest.mark.parametrize("momentum", [None, BETA])
def test_a_step_is_the_published_one(momentum):
    problem = CoupledQuadratic.make(0, instances=3, features=2)
    keys = Keys.of(4, range(2))
    ascent = BlockAscent(theta_step=0.3, input_step=0.2, momentum=momentum)
    trajectory = ascent.run(problem, 6, keys)
    chosen = keys.fold("instance").integers(3, (6,))
    for run in range(2):
        theta, delta = torch.zeros(2).double(), torch.zeros(3, 2).double()
        v, vhat = torch.zeros(3).double(), torch.zeros(3).double()
        mean = torch.zeros(3, 2).double()
        for k in chosen[run].tolist():
            mean += delta / 6
            g = problem.coupling[k] * theta - delta[k]
            v[k] = BETA * v[k] + (1 - BETA) * g @ g
            vhat[k] = max(vhat[k], v[k])
            size = 1.0 if momentum is None else float(vhat[k]) ** -0.5 if vhat[k] > 0 else 0.0
            delta[k] = (delta[k] + 0.2 * size * g).clamp(-0.5, 0.5)
            theta = theta - 0.3 * (theta - problem.centre + problem.coupling[k] * delta[k])
        assert torch.allclose(trajectory.delta[run], mean)


@pytest.mark.parametrize("momentum", [None, BETA])
def test_the_gap_is_at_most_the_mean_regret_on_any_trajectory(momentum):
    problem = CoupledQuadratic.make(2, instances=6, features=3)
    for theta_step, input_step in ((0.01, 0.01), (0.3, 1.0), (0.0, 0.5)):
        ascent = BlockAscent(theta_step=theta_step, input_step=input_step, momentum=momentum)
        trajectory = ascent.run(problem, 40, Keys.of(0, range(5)))
        gap = problem.gap(trajectory)
        assert bool((gap >= -1e-12).all())
        assert bool((gap <= problem.regret(trajectory) / 40 + 1e-12).all())


def test_the_regret_is_that_of_its_definition():
    problem = CoupledQuadratic.make(2, instances=3, features=2)
    trajectory = BlockAscent(theta_step=0.4, input_step=0.5).run(problem, 1, Keys.of(0, [0]))
    start = problem.worst(torch.zeros(1, 2).double())  # one step: theta = 0, Delta = 0
    assert torch.allclose(problem.regret(trajectory), start)
    theta, delta = torch.randn(9, 2).double(), torch.rand(9, 3, 2).double() - 0.5
    means = type(trajectory)(
        theta.mean(0, keepdim=True),
        theta.square().mean(0, keepdim=True),
        delta.mean(0, keepdim=True),
        delta.square().mean(0, keepdim=True),
        9,
    )
    best = problem.answer(means.theta).expand(9, 3, 2)
    pull = (problem.coupling * means.delta).mean(dim=1)
    least = (problem.centre - pull).expand(9, 2)
    exact = problem.value(theta, best).sum() - problem.value(least, delta).sum()
    assert problem.regret(means).item() == pytest.approx(exact.item())


@pytest.mark.parametrize("momentum", [None, BETA])
def test_the_regret_stays_below_the_bounds_and_falls_at_their_rate(momentum):
    problem = CoupledQuadratic.make(0, instances=5, features=3)
    regrets, horizons = [], (150, 2400)
    for horizon in horizons:
        ascent, bound, printed = tuned(problem.constants(), horizon, momentum)
        trajectory = ascent.run(problem, horizon, Keys.of(1, range(16)))
        regrets.append(problem.regret(trajectory).mean().item())
        assert regrets[-1] <= min(bound.total, printed.total)
        assert problem.gap(trajectory).mean().item() <= regrets[-1] / horizon
    rate = math.log(regrets[1] / regrets[0]) / math.log(horizons[1] / horizons[0])
    assert rate - 1 == pytest.approx(-0.5, abs=0.2)  # of the regret per step


@pytest.mark.slow
@pytest.mark.parametrize("momentum", [None, BETA])
def test_the_gap_of_the_long_runs_is_below_the_printed_bounds(momentum):
    for seed in range(3):
        problem = CoupledQuadratic.make(seed, instances=20, features=5)
        ascent, _, printed = tuned(problem.constants(), 5000, momentum)
        trajectory = ascent.run(problem, 5000, Keys.of(seed, range(3)))
        assert bool((problem.gap(trajectory) <= printed.total / 5000).all())


@pytest.mark.parametrize("momentum", [None, 0.0, BETA])
def test_the_printed_bounds_fail_for_many_instances_and_the_corrected_hold(momentum):
    count, horizon = 12, 400
    problem = Slope(torch.ones(count))
    constants = Constants(
        theta_distance=0.0,
        theta_gradient=0.0,
        input_distance=0.5,  # the ascent starts in the middle and ends at one side
        input_gradients=problem.slopes,
        features=1,
        smoothness=0.0,
    )
    ascent, bound, printed = tuned(constants, horizon, momentum)
    trajectory = ascent.run(problem, horizon, Keys.of(0, range(64)))
    regret = horizon * (0.5 - trajectory.delta).mean().item()
    assert printed.total < regret / 3
    assert regret <= bound.total
    if momentum is None:
        # Each row needs sqrt(T) visits, on average N sqrt(T) steps: N sqrt(T) eps / 2 in all.
        assert regret == pytest.approx(count * math.sqrt(horizon) * 0.5 / 2, rel=0.1)


def test_perturbations_stay_in_the_ball_and_an_idle_row_does_not_move():
    problem = CoupledQuadratic.make(0, instances=6, features=2)
    trajectory = BlockAscent(theta_step=0.1, input_step=50.0).run(problem, 30, Keys.of(0, [0]))
    assert bool((trajectory.delta_squares <= 0.25 + 1e-12).all())
    one = BlockAscent(theta_step=0.0, input_step=50.0, momentum=BETA)
    still = one.run(problem, 30, Keys.of(0, [0]))  # theta stays 0, so all gradients are 0
    assert not still.delta.any()


def test_bad_input_is_named():
    problem = CoupledQuadratic.make(0, instances=2, features=2)
    with pytest.raises(InputError, match="steps=0: is no run"):
        BlockAscent(theta_step=0.1, input_step=0.1).run(problem, 0, Keys.of(0, [0]))
    with pytest.raises(InputError, match="do not fit"):
        CoupledQuadratic(torch.ones(3, 2), torch.ones(3))
    with pytest.raises(InputError, match=r"concavity=0\.0: is not positive"):
        CoupledQuadratic(torch.ones(3, 2), torch.ones(2), concavity=0.0)
