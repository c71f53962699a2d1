import math

import pytest
import torch

from holdfast.core.errors import InputError
from holdfast.core.random import Keys
from holdfast.toys.correlations import (
    blocks,
    checkerboard,
    multiple_constants,
    multiple_correlation,
    multiple_signs_range,
    rademacher_mean,
    single_sign_correlation,
)
from holdfast.toys.updates import (
    entry_signs,
    every_multiple_update,
    every_square_update,
    grid_block,
    multiple_update,
    single_sign,
    update,
)

EPS = 0.05


def directions(shape, count=20):
    return Keys.of(5, range(count)).normal(shape).double()


def exact_correlation(updates, direction):
    return float((updates.flatten(1) @ direction.flatten()).abs().mean())


def block_constant(side=4, height=12, width=12, seed=8):
    values = Keys.of(seed, [0]).normal((height // side, width // side)).double()
    return values.repeat_interleave(side, dim=1).repeat_interleave(side, dim=2)


def monte_carlo(signs, direction, side, count=6000):
    """The mean of |<delta, v>| over keyed draws, and its standard error."""
    shape = tuple(direction.shape)
    drawn = update(Keys.of(2, range(count)), shape, side, EPS, grid_block, signs)
    products = (drawn.flatten(1) @ direction.flatten()).abs()
    return float(products.mean()), float(products.std()) / math.sqrt(count)


def test_rademacher_mean_of_equal_weights_is_binomial():
    for n in (2, 4, 10, 16):
        exact = n * math.comb(n, n // 2) / 2**n
        assert rademacher_mean(torch.ones(1, n)).item() == pytest.approx(exact, rel=1e-12)
    many = rademacher_mean(torch.ones(1, 20)).item()
    assert many == pytest.approx(math.sqrt(20 * 2 / math.pi), rel=0.02)


def test_rademacher_mean_keeps_khintchines_inequality():
    values = Keys.of(3, range(200)).normal((7,)).double()
    norms = values.norm(dim=1)
    mean = rademacher_mean(values)
    assert bool((norms / math.sqrt(2) <= mean).all())
    assert bool((mean <= norms).all())
    tight = rademacher_mean(torch.tensor([[1.0, 1.0, 0.0]]))
    assert tight.item() == pytest.approx(math.sqrt(2) / math.sqrt(2), rel=1e-12)


def test_blocks_hold_each_entry_once():
    image = torch.arange(2 * 4 * 6).view(2, 4, 6)
    inside = blocks(image, 2)
    assert inside.shape == (6, 8)
    assert inside[1].tolist() == [2, 3, 8, 9, 26, 27, 32, 33]
    assert sorted(inside.flatten().tolist()) == list(range(48))


@pytest.mark.parametrize(("shape", "side"), [((1, 4, 3), 2), ((2, 5, 3), 2), ((1, 3, 4), 3)])
def test_moments_of_the_multiple_update_by_enumeration(shape, side):
    every = every_multiple_update(shape, side, EPS)
    second_moment, correlation = multiple_constants(shape, side)
    sizes = every.flatten(1).square().sum(dim=1)
    assert sizes.min().item() == pytest.approx((2 * EPS) ** 2 * second_moment, rel=1e-12)
    assert sizes.max().item() == pytest.approx(4 * shape[0] * EPS**2 * side**2, rel=1e-12)
    assert every.mean(dim=0).abs().max().item() < 1e-15
    for v in directions(shape):
        floor = multiple_correlation(v, side, EPS)
        assert floor == pytest.approx(2 * EPS * correlation * float(v.norm()), rel=1e-12)
        assert exact_correlation(every, v) >= floor


def test_the_floor_of_the_correlation_is_attained():
    # The window is the whole image and v has two equal entries: Szarek's extremal case.
    v = torch.zeros(1, 3, 3)
    v[0, 0, 1] = v[0, 2, 2] = 1.5
    floor = multiple_correlation(v, 3, EPS)
    assert exact_correlation(every_multiple_update((1, 3, 3), 3, EPS), v.double()) == (
        pytest.approx(floor, rel=1e-12)
    )


def test_moments_of_the_multiple_update_by_sampling():
    shape, side = (3, 8, 8), 3
    drawn = multiple_update(Keys.of(0, range(4000)), shape, side, EPS).flatten(1)
    assert drawn.square().sum(dim=1).mean().item() == pytest.approx(0.27, rel=1e-12)
    v = directions(shape, 1)[0]
    products = (drawn @ v.flatten()).abs()
    assert products.mean().item() > 2 * multiple_correlation(v, side, EPS)


@pytest.mark.parametrize("side", [2, 4])
@pytest.mark.parametrize("channels", [1, 3])
def test_square_updates_are_orthogonal_to_the_checkerboard(side, channels):
    shape = (channels, 7, 6)
    every = every_square_update(shape, side, 0.125)
    assert exact_correlation(every, checkerboard(shape)) == 0.0
    cyclic = (channels, 2, 2) if side == 2 else (1, 4, 4)
    every = every_multiple_update(cyclic, 2, 0.125)
    assert exact_correlation(every, checkerboard(cyclic)) > 0.0


def test_the_printed_direction_is_not_orthogonal():
    shape = (1, 7, 6)
    printed = (-1.0) ** (torch.arange(7)[:, None] * torch.arange(6))[None]
    every = every_square_update(shape, 2, EPS)
    # Each 2x2 window holds three entries of one sign and one of the other.
    products = (every.flatten(1) @ printed.double().flatten()).abs()
    assert torch.allclose(products, torch.full_like(products, 2 * EPS * 2))


def test_odd_squares_see_the_checkerboard():
    shape = (1, 7, 6)
    every = every_square_update(shape, 3, EPS)
    assert exact_correlation(every, checkerboard(shape)) == pytest.approx(2 * EPS)


def test_one_sign_correlates_with_the_one_norm():
    v = block_constant()
    exact = single_sign_correlation(v, 4, EPS)
    assert exact == pytest.approx(2 * EPS * 16 / 144 * float(v.abs().sum()), rel=1e-12)
    mean, error = monte_carlo(single_sign, v, 4)
    assert abs(mean - exact) < 4.5 * error  # false alarm 7e-6
    signed = v * Keys.of(1, [0]).uniform((12, 12)).double()  # not constant, but of constant sign
    mean, error = monte_carlo(single_sign, signed, 4)
    assert abs(mean - single_sign_correlation(signed, 4, EPS)) < 4.5 * error


def test_many_signs_correlate_with_the_two_norm():
    v = block_constant()
    below, above = multiple_signs_range(v, 4, EPS)
    exact = 2 * EPS * rademacher_mean(blocks(v, 4)).mean().item()
    assert below < exact < above
    mean, error = monte_carlo(entry_signs, v, 4)
    assert abs(mean - exact) < 4.5 * error
    assert single_sign_correlation(v, 4, EPS) > above  # one sign is better on such directions


def test_both_ends_for_many_signs_are_attained_or_nearly():
    one_pixel_each = torch.zeros(1, 6, 4)
    one_pixel_each[0, ::2, ::2] = -3.0
    exact = 2 * EPS * rademacher_mean(blocks(one_pixel_each, 2)).mean().item()
    assert exact == pytest.approx(multiple_signs_range(one_pixel_each, 2, EPS)[1], rel=1e-6)
    whole = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    exact = 2 * EPS * rademacher_mean(blocks(whole, 2)).mean().item()
    assert exact == pytest.approx(multiple_signs_range(whole, 2, EPS)[0], rel=1e-6)


def test_on_a_constant_direction_one_sign_wins_by_about_the_side():
    v = torch.ones(1, 8, 12)
    single = single_sign_correlation(v, 4, EPS)
    assert single == pytest.approx(2 * EPS * 16, rel=1e-12)
    many = 2 * EPS * rademacher_mean(blocks(v, 4)).mean().item()
    assert many == pytest.approx(2 * EPS * 4 * math.sqrt(2 / math.pi), rel=0.02)
    assert multiple_signs_range(v, 4, EPS)[1] == pytest.approx(2 * EPS * 4, rel=1e-6)


def test_bad_input_is_named():
    with pytest.raises(InputError, match="changes sign inside a block"):
        single_sign_correlation(checkerboard((1, 4, 4)), 2, EPS)
    with pytest.raises(InputError, match="side=3: does not tile"):
        blocks(torch.ones(1, 4, 6), 3)
    with pytest.raises(InputError, match="side=5: does not fit"):
        multiple_constants((1, 4, 6), 5)
