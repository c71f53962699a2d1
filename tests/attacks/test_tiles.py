"""Tiles, blocks and cosines: nearest pixels, a partition, an orthonormal basis."""

import math

import pytest
import torch

from holdfast.attacks.tiles import (
    as_images,
    block_corners,
    block_count,
    block_numbers,
    check_ball,
    cosines,
    image_shape,
    tile_shape,
    upsample,
)
from holdfast.core.errors import InputError, UnsupportedThreat
from holdfast.threats import L1, L2, Linf


def test_any_input_is_an_image():
    assert image_shape((5,)) == (1, 1, 5)
    assert image_shape((4, 5)) == (1, 4, 5)
    assert image_shape((2, 4, 5)) == (2, 4, 5)
    assert image_shape((3, 2, 4, 5)) == (6, 4, 5)
    assert as_images(torch.zeros(3, 5)).shape == (3, 1, 1, 5)
    assert tile_shape((2, 7, 4), 5) == (2, 5, 4)


def test_upsampling_copies_each_tile_to_the_nearest_pixels():
    coarse = torch.rand(3, 2, 4, 5, generator=torch.Generator().manual_seed(0))
    want = torch.nn.functional.interpolate(coarse, size=(7, 11), mode="nearest")
    assert torch.equal(upsample(coarse, (2, 7, 11)), want)
    assert torch.equal(upsample(coarse, (2, 4, 5)), coarse)
    assert upsample(torch.ones(3, 1, 1, 2), (6,)).shape == (3, 6)


def test_cosines_are_orthonormal_and_ordered_by_frequency():
    basis = cosines(7, torch.zeros(1, dtype=torch.float64))
    assert torch.allclose(basis @ basis.T, torch.eye(7, dtype=torch.float64), atol=1e-12)
    changes = (basis[:, 1:].sign() != basis[:, :-1].sign()).sum(1)
    assert changes.tolist() == list(range(7))


def test_blocks_part_the_image_and_corners_are_their_first_features():
    event, side = (2, 7, 6), torch.tensor([1, 2, 4])
    numbers = block_numbers(event, side)
    assert block_count(event, side).tolist() == [84, 24, 8]
    for row, count in enumerate((84, 24, 8)):
        flat = numbers[row].flatten()
        assert flat.unique().tolist() == list(range(count))
        corners = block_corners(event, side, torch.arange(count).expand(3, -1))[row]
        assert corners.tolist() == [int((flat == k).nonzero()[0]) for k in range(count)]
    assert numbers[2, 1].tolist()[4] == [6, 6, 6, 6, 7, 7]


def test_a_threat_that_does_not_fit_is_refused():
    check_ball(L2(0.5), (math.inf, 2.0), "It")
    with pytest.raises(UnsupportedThreat, match="It does not search l1:1; give Linf or L2"):
        check_ball(L1(1.0), (math.inf, 2.0), "It")
    with pytest.raises(InputError, match="radius"):
        check_ball(Linf(math.inf), (math.inf,), "It")
