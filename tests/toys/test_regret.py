import math

import pytest
import torch

from holdfast.core.errors import InputError
from holdfast.measures.gradient_norms import heterogeneity_ratio
from holdfast.toys.regret import (
    Constants,
    adaptive_bound,
    adaptive_steps,
    constant_bound,
    constant_steps,
)


def constants(norms=(1.0, 2.0, 2.0, 4.0)):
    return Constants(
        theta_distance=3.0,
        theta_gradient=5.0,
        input_distance=0.5,
        input_gradients=torch.tensor(norms),
        features=9,
        smoothness=7.0,
    )


def test_steps_and_printed_bounds_are_the_published_formulas():
    assert constant_steps(constants(), 100) == pytest.approx((0.06, 6 * 0.5 / (5 * 10)))
    assert adaptive_steps(constants(), 100, 0.0) == pytest.approx((0.06, 0.15))
    assert adaptive_steps(constants(), 100, 0.5)[1] == pytest.approx(0.15 * 0.5**0.25)
    bound = constant_bound(constants(), 100, "printed")
    assert bound.theta == pytest.approx(150)
    assert bound.inputs == pytest.approx(5 * 0.5 * math.sqrt(900 / 4))
    assert bound.smooth == pytest.approx(9 * 7 * 0.25 / 8)
    assert bound.total == pytest.approx(150 + 37.5 + 1.96875)
    bound = adaptive_bound(constants(), 100, 0.5, "printed")
    assert bound.inputs == pytest.approx(0.5 * 9 * 30 / (4 * 0.5**0.25))
    assert bound.smooth == pytest.approx(9 * 7 * 0.25 / (2 * 16 * 0.5**0.5))


def test_the_corrected_bounds_are_the_optimum_of_what_their_proof_sums():
    """Distances over twice the step, and squared steps over twice the visits."""
    c, horizon, beta = constants(), 100, 0.5
    _, step = constant_steps(c, horizon)
    distance = 4 * 9 * 0.25
    squares = float(c.input_gradients.square().sum())
    summed = distance / (2 * step) + step * horizon * squares / (2 * 4)
    assert constant_bound(c, horizon).inputs == pytest.approx(summed)
    assert constant_bound(c, horizon).smooth == pytest.approx(
        7 / 2 * step**2 * squares / 4 * horizon
    )
    _, step = adaptive_steps(c, horizon, beta)
    total = float(c.input_gradients.sum())
    summed = 9 * 0.25 * total / (2 * step) + step * horizon * total / (2 * 4 * 0.5**0.5)
    assert adaptive_bound(c, horizon, beta).inputs == pytest.approx(summed)
    assert adaptive_bound(c, horizon, beta).smooth == pytest.approx(
        7 / 2 * step**2 / (1 - beta) * horizon
    )


@pytest.mark.parametrize("form", ["printed", "corrected"])
@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_the_ratio_is_that_of_the_second_terms(form, momentum):
    adaptive = adaptive_bound(constants(), 77, momentum, form).inputs
    ratio = adaptive / constant_bound(constants(), 77, form).inputs
    norms = constants().input_gradients
    assert heterogeneity_ratio(norms, momentum) == pytest.approx(ratio)


def test_the_rate_is_the_root_of_the_horizon():
    short, long = (constant_bound(constants(), horizon) for horizon in (100, 10_000))
    assert long.theta / short.theta == pytest.approx(10)
    assert long.inputs / short.inputs == pytest.approx(10)
    assert long.smooth == short.smooth


def test_bad_input_is_named():
    with pytest.raises(InputError, match=r"momentum=1\.0: is out of range"):
        adaptive_bound(constants(), 10, 1.0)
    for norms in ((), (1.0, -1.0)):
        with pytest.raises(InputError, match="bound nothing"):
            constants(norms)
