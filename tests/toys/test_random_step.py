import math
from itertools import pairwise

import pytest
import torch

from holdfast.core.errors import InputError
from holdfast.core.random import Keys
from holdfast.toys.random_step import RandomStep

LEMMA = {0.0: 0.57735, 0.25: 0.60165, 0.5: 0.66144, 1.0: 0.81650, 1.25: 0.88829, 1.5: 0.94648}


@pytest.mark.parametrize("alpha", [*LEMMA, 2.0])
def test_the_bound_is_the_published_one_and_sampling_agrees(alpha):
    step = RandomStep(step_size=alpha)
    assert step.size_bound(1) == pytest.approx(LEMMA.get(alpha, 1.0), abs=5e-6)
    gradient = Keys.of(1, [0]).normal((3072,))[0]
    sizes = step.sizes(gradient, Keys.of(0, range(200)))
    assert sizes.mean().item() / 3072**0.5 == pytest.approx(LEMMA.get(alpha, 1.0), abs=1e-3)


def test_the_bound_rises_with_the_step_and_with_the_radius():
    bounds = [RandomStep(step_size=2 * k / 100).size_bound(7) for k in range(101)]
    assert all(low < high for low, high in pairwise(bounds))
    assert bounds[0] == pytest.approx(math.sqrt(7 / 3))
    assert bounds[-1] == pytest.approx(math.sqrt(7))
    scaled = RandomStep(radius=0.3, step_size=0.3 * 1.25)
    assert scaled.size_bound(7) == pytest.approx(0.3 * RandomStep().size_bound(7))


@pytest.mark.parametrize(("features", "mean"), [(1, 0.8597), (2, 0.8772), (5, 0.8840)])
def test_jensens_inequality_tightens_with_the_dimension(features, mean):
    gradient = torch.tensor([1.0, -2.0, 0.5, 3.0, -1.0])[:features]
    sizes = RandomStep().sizes(gradient, Keys.of(0, range(200_000)))
    assert sizes.mean().item() / features**0.5 == pytest.approx(mean, abs=1e-3)
    assert sizes.mean().item() < RandomStep().size_bound(features)
    if features == 1:
        assert RandomStep().mean_absolute == pytest.approx(mean, abs=1e-3)


@pytest.mark.parametrize("alpha", [0.0, 0.4, 1.0, 1.25, 1.9])
def test_moments_agree_with_sampling(alpha):
    step = RandomStep(radius=0.7, step_size=0.7 * alpha)
    start = step.start(3, Keys.of(0, range(50_000)))
    independent = step.step(start, torch.tensor([1.0, -1.0, 1.0])) / 0.7
    assert independent.square().mean().item() == pytest.approx(step.second_moment / 0.49, abs=4e-3)
    assert independent.abs().mean().item() == pytest.approx(step.mean_absolute / 0.7, abs=4e-3)
    corner = (independent.abs() == 1).double().mean().item()
    assert corner == pytest.approx(step.corner_share, abs=4e-3)
    along, against = step.step(start, start) / 0.7, step.step(start, -start) / 0.7
    assert along.square().mean().item() == pytest.approx(step.second_moment_along / 0.49, abs=4e-3)
    found = against.square().mean().item()
    assert found == pytest.approx(step.second_moment_against / 0.49, abs=4e-3)


def test_signs_that_depend_on_the_start_break_the_lemma():
    step = RandomStep()
    assert step.second_moment == pytest.approx(0.789, abs=1e-3)
    assert step.second_moment_along == 1.0
    assert step.second_moment_against == pytest.approx(0.578, abs=1e-3)
    # Averaged over both signs of the start, a fixed sign is the lemma's case.
    both = (step.second_moment_along + step.second_moment_against) / 2
    assert both == pytest.approx(step.second_moment)


def test_coordinates_without_gradient_keep_their_start():
    step = RandomStep()
    gradient = torch.tensor([1.0, 0.0, 0.0, -1.0, 0.0])
    sizes = step.sizes(gradient, Keys.of(0, range(50_000)))
    exact = step.size_bound(5, without_gradient=3)
    assert sizes.square().mean().item() == pytest.approx(exact**2, rel=5e-3)
    assert exact == pytest.approx(math.sqrt(2 * step.second_moment + 1))


def test_a_step_of_two_radii_ends_on_corners_and_none_longer_is_allowed():
    step = RandomStep(radius=0.5, step_size=1.0)
    moved = step.step(step.start(6, Keys.of(0, range(4))), torch.ones(6))
    assert bool((moved == 0.5).all())
    with pytest.raises(InputError, match="exceeds 2 radii"):
        RandomStep(radius=0.5, step_size=1.1)
