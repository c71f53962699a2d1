import pytest
import torch
from scipy.stats import chisquare

from holdfast.core.errors import InputError
from holdfast.core.random import Keys
from holdfast.toys.updates import (
    channel_signs,
    cyclic_square,
    entry_signs,
    every_multiple_update,
    every_sign,
    every_square_update,
    grid_block,
    multiple_update,
    random_pixels,
    rectangle,
    single_sign,
    square,
    square_update,
    update,
)

SHAPE = (2, 7, 6)
B, SIDE, EPS = 3000, 3, 0.125
FALSE_ALARM = 1e-4  # of each chi-square test below; the keys are fixed
SUPPORTS = [square, cyclic_square, rectangle, random_pixels]
SIGNS = [single_sign, channel_signs, entry_signs]


def keys(count=B, seed=0):
    return Keys.of(seed, range(count))


def corners(support):
    """The first row and column of each support inside the image, (B, 2)."""
    rows = support[:, 0].any(dim=2).to(torch.int8).argmax(dim=1)
    return torch.stack([rows, support[:, 0].any(dim=1).to(torch.int8).argmax(dim=1)], dim=1)


def p_value(codes, count):
    return chisquare(torch.bincount(codes, minlength=count).numpy()).pvalue


def codes_of(drawn, every):
    """Which of the enumerated updates each drawn one is."""
    codes = {tuple(each.flatten().tolist()): i for i, each in enumerate(every)}
    return torch.tensor([codes[tuple(each.flatten().tolist())] for each in drawn])


def test_a_square_update_has_one_sign_per_channel_on_one_square():
    delta = square_update(keys(), SHAPE, SIDE, EPS)
    assert delta.shape == (B, *SHAPE)
    assert delta.dtype == torch.float64
    for each, (row, column) in zip(delta[:50], corners(delta[:50] != 0).tolist(), strict=True):
        inside = each[:, row : row + SIDE, column : column + SIDE]
        assert inside.shape == (2, SIDE, SIDE)
        assert bool((inside == inside[:, :1, :1]).all())
        assert bool((inside.abs() == 2 * EPS).all())
    assert bool(((delta != 0).flatten(1).sum(dim=1) == 2 * SIDE**2).all())


def test_squares_are_uniform_over_all_places_inside():
    place = corners(square(keys(), SHAPE, SIDE))
    assert place.amax(dim=0).tolist() == [4, 3]
    assert p_value(place[:, 0] * 4 + place[:, 1], 20) > FALSE_ALARM


@pytest.mark.parametrize(
    ("draw", "enumerate_all", "shape", "side"),
    [
        (square_update, every_square_update, (2, 4, 3), 2),
        (multiple_update, every_multiple_update, (1, 4, 3), 2),
        (multiple_update, every_multiple_update, (2, 3, 5), 1),
    ],
)
def test_draws_are_uniform_over_the_enumerated_updates(draw, enumerate_all, shape, side):
    every = enumerate_all(shape, side, EPS)
    assert len(torch.unique(every, dim=0)) == len(every)
    drawn = draw(keys(), shape, side, EPS)
    assert p_value(codes_of(drawn, every), len(every)) > FALSE_ALARM


def test_the_enumerations_have_the_stated_sizes():
    assert len(every_square_update((3, 7, 6), 2, EPS)) == 6 * 5 * 2**3
    assert len(every_multiple_update((2, 5, 3), 2, EPS)) == 5 * 3 * 2**8
    assert torch.unique(every_sign(5), dim=0).shape == (32, 5)


def test_a_cyclic_square_covers_every_pixel_equally_often():
    support = cyclic_square(keys(), SHAPE, SIDE)
    assert bool((support.flatten(1).sum(dim=1) == SIDE**2).all())
    every = every_multiple_update((1, 5, 4), 2, EPS) != 0
    assert torch.unique(every.double().mean(dim=0)).tolist() == [4 / 20]
    assert square(keys(), SHAPE, SIDE).double().mean(dim=0)[0, 0, 0] < 0.1  # P spares the corners


def test_a_grid_block_is_one_of_the_tiles_uniformly():
    support = grid_block(keys(), (2, 8, 6), 2)
    place = corners(support) // 2
    assert bool((corners(support) % 2 == 0).all())
    assert bool((support.flatten(1).sum(dim=1) == 4).all())
    assert p_value(place[:, 0] * 3 + place[:, 1], 12) > FALSE_ALARM


def test_rectangles_are_solid_with_exponential_sides():
    support = rectangle(keys(), (1, 90, 80), 6)[:, 0]
    sides = torch.stack([support.any(dim=2).sum(dim=1), support.any(dim=1).sum(dim=1)], dim=1)
    assert bool((support.flatten(1).sum(dim=1) == sides.prod(dim=1)).all())
    # P(side <= n) = 1 - exp(-(n + 1/2) / h), up to rounding to even at ties of probability 0
    for n in (1, 3, 9):
        exact = 1 - torch.tensor(-(n + 0.5) / 6).exp().item()
        share = (sides <= n).double().mean().item()
        assert abs(share - exact) < 4.5 * (exact * (1 - exact) / (2 * B)) ** 0.5  # 7e-6 each


def test_rectangles_stay_inside_a_small_image():
    support = rectangle(keys(), (1, 4, 3), 3)[:, 0]
    rows, columns = support.any(dim=2), support.any(dim=1)
    assert bool((rows.flatten(1).sum(dim=1) >= 1).all())
    for line in (rows, columns):  # one run each: no rectangle wraps around
        begins = line[:, 0].long() + (line[:, 1:] & ~line[:, :-1]).sum(dim=1)
        assert bool((begins == 1).all())


def test_random_pixels_are_a_uniform_subset():
    support = random_pixels(keys(), (3, 2, 3), 2).flatten(1)
    assert bool((support.sum(dim=1) == 4).all())
    pairs = (~support).nonzero()[:, 1].view(B, 2)
    assert p_value(pairs[:, 0] * 6 + pairs[:, 1], 36) == 0  # of 36 codes only 15 occur
    left = torch.unique(pairs[:, 0] * 6 + pairs[:, 1], return_inverse=True)[1]
    assert p_value(left, 15) > FALSE_ALARM


@pytest.mark.parametrize(("signs", "free"), [*zip(SIGNS, [1, 2, 84], strict=True)])
def test_signs_are_as_many_as_named_and_fair(signs, free):
    drawn = signs(keys(), SHAPE)
    assert drawn[0].numel() == free
    assert set(drawn.flatten().tolist()) == {-1.0, 1.0}
    assert abs(drawn.mean().item()) < 4.5 / drawn.numel() ** 0.5


@pytest.mark.parametrize("support", SUPPORTS)
@pytest.mark.parametrize("signs", SIGNS)
def test_any_pair_draws_for_each_example_by_its_own_key(support, signs):
    all_keys = keys(7)
    together = update(all_keys, SHAPE, SIDE, EPS, support, signs, step=5)
    order = torch.tensor([4, 1, 6])
    alone = update(all_keys[order], SHAPE, SIDE, EPS, support, signs, step=torch.full((3,), 5))
    assert torch.equal(together[order], alone)
    assert set(together.unique().tolist()) <= {-2 * EPS, 0.0, 2 * EPS}
    later = update(all_keys, SHAPE, SIDE, EPS, support, signs, step=6)
    assert not torch.equal(together, later)


def test_bad_input_is_named():
    with pytest.raises(InputError, match="side=7: does not fit"):
        square_update(keys(2), SHAPE, 7, EPS)
    with pytest.raises(InputError, match="side=0: does not fit"):
        every_multiple_update(SHAPE, 0, EPS)
    with pytest.raises(InputError, match=r"eps=-0\.1: is negative"):
        multiple_update(keys(2), SHAPE, 2, -0.1)
    with pytest.raises(InputError, match="side=4: does not tile"):
        update(keys(2), SHAPE, 4, EPS, grid_block, single_sign)
    with pytest.raises(InputError, match="count=32: signs cannot be enumerated"):
        every_multiple_update((2, 7, 6), 4, EPS)
