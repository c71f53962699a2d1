"""Random search converges at the rate of its theorem where the assumptions hold, and stands still
where they fail."""

import math

import pytest
import torch

from holdfast.core.random import Keys
from holdfast.toys.correlations import checkerboard, multiple_constants
from holdfast.toys.random_search import (
    MultipleSignSearch,
    Quadratic,
    SoftplusNet,
    expected_value_after,
    one_step_bound,
    random_search,
)
from holdfast.toys.updates import every_multiple_update, every_square_update, square_update

# (shape, side): the whole image, a part of it, two channels
SETTINGS = [((1, 2, 2), 2), ((1, 3, 4), 2), ((2, 3, 3), 2), ((1, 3, 3), 1)]
KEYS = 100


def objectives(shape):
    return [Quadratic(smoothness=2.5), SoftplusNet.make(1, 7, math.prod(shape))]


@pytest.mark.parametrize(("shape", "side"), SETTINGS)
@pytest.mark.parametrize("which", [0, 1], ids=["quadratic", "softplus"])
def test_one_step_keeps_the_inequality_exactly(shape, side, which):
    objective = objectives(shape)[which]
    for eps in (0.01, 0.1, 1.0):
        updates = every_multiple_update(shape, side, eps)
        for x in Keys.of(2, range(11)).normal(shape).double():
            bound = one_step_bound(objective, x, updates)
            assert expected_value_after(objective, x, updates) <= bound + 1e-12


@pytest.mark.parametrize(("shape", "side"), SETTINGS)
@pytest.mark.parametrize("which", [0, 1], ids=["quadratic", "softplus"])
@pytest.mark.parametrize("horizon", [40, 300])
@pytest.mark.slow
def test_the_least_mean_gradient_norm_is_below_the_bound(shape, side, which, horizon):
    objective = objectives(shape)[which]
    start = 2.0 * Keys.of(6, [0]).normal(shape).double().expand(KEYS, *shape)
    search = MultipleSignSearch(
        gamma=best_gamma(objective, start, side), horizon=horizon, side=side
    )
    path = search.run(objective, start, Keys.of(0, range(KEYS)))
    least = path.gradient_norms[:-1].mean(dim=1).min().item()
    assert 0 < least <= search.bound(objective, shape, path.values)


def best_gamma(objective, start, side):
    """The gamma that balances the two terms of the bound if g falls as far as it can by L."""
    second_moment, _ = multiple_constants(tuple(start.shape[1:]), side)
    steep = objective.gradient(start[:1]).norm().item()
    return steep / objective.smoothness / math.sqrt(second_moment)


def test_the_bound_is_below_the_first_gradient_and_still_holds():
    # Without this the law above could hold for the start alone.
    shape, side, objective = (1, 2, 2), 2, Quadratic()
    start = torch.ones(KEYS, *shape, dtype=torch.float64)
    search = MultipleSignSearch(gamma=best_gamma(objective, start, side), horizon=500, side=side)
    path = search.run(objective, start, Keys.of(0, range(KEYS)))
    bound = search.bound(objective, shape, path.values)
    assert bound < path.gradient_norms[0, 0].item() / 3
    assert path.gradient_norms[:-1].mean(dim=1).min().item() <= bound


def test_squares_with_one_sign_stand_still_on_the_checkerboard():
    shape = (2, 5, 4)
    v = checkerboard(shape)
    start, keys = v.expand(7, *shape), Keys.of(0, range(7))

    def propose(step):
        return square_update(keys, shape, 2, 0.125, step)

    stuck = random_search(Quadratic(), start, propose, 60)
    assert torch.equal(stuck.x, start)
    assert stuck.gradient_norms.min().item() > 6
    freed = MultipleSignSearch(gamma=2.0, horizon=60, side=2).run(Quadratic(), start, keys)
    assert freed.values[-1].max().item() < 0.8 * freed.values[0].min().item()


def test_on_the_checkerboard_no_square_helps_and_some_multiple_update_does():
    shape = (1, 4, 3)
    v = checkerboard(shape)
    stay = Quadratic().value(v[None]).item()
    assert expected_value_after(Quadratic(), v, every_square_update(shape, 2, 0.125)) == stay
    assert expected_value_after(Quadratic(), v, every_multiple_update(shape, 2, 0.125)) < stay
