import math

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch.nn.functional import pad

from holdfast.core.random import Keys
from holdfast.threats.warp import bilinear, sources

torch.set_num_threads(1)
B, EVENT = 3, (2, 7, 6)
paddings = pytest.mark.parametrize("padding", ["zeros", "border", "reflect"])


def images(event=EVENT, dtype=torch.float64):
    return Keys.of(0, range(B)).uniform(event).to(dtype)


def moved(x, angle=0.0, right=0.0, down=0.0, scale=1.0, flip=False, padding="zeros"):
    values = [torch.full((len(x),), value).to(x) for value in (angle, right, down, scale)]
    flips = torch.full((len(x),), flip)
    return bilinear(x, *sources(*values, flips, x), padding)


@paddings
@pytest.mark.parametrize("event", [EVENT, (1, 1, 5), (2, 8, 1), (3, 17, 33)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_identity_and_a_flip_are_exact_bit_by_bit(padding, event, dtype):
    x = images(event, dtype)
    assert torch.equal(moved(x, padding=padding), x)
    assert torch.equal(moved(x, flip=True, padding=padding), x.flip(3))


@pytest.mark.parametrize(("right", "down"), [(2, 0), (0, -3), (-1, 4), (9, 0)])
def test_whole_pixel_shifts_are_exact_with_zeros_from_outside(right, down):
    x = images(dtype=torch.float32)
    expected = pad(x, (9, 9, 9, 9))[:, :, 9 - down : 16 - down, 9 - right : 15 - right]
    assert torch.equal(moved(x, right=right, down=down), expected)


@pytest.mark.parametrize("padding", ["replicate", "reflect"])
def test_shifts_bring_in_the_padding(padding):
    x = images(dtype=torch.float32)
    expected = pad(x, (4, 4, 4, 4), mode=padding)[:, :, 2:9, 7:13]
    ours = "border" if padding == "replicate" else padding
    assert torch.equal(moved(x, right=-3, down=2, padding=ours), expected)


@pytest.mark.parametrize("side", [5, 6])
def test_a_quarter_turn_of_a_square_is_rot90(side):
    x = images((2, side, side))
    for turns in (1, 2, 3):
        torch.testing.assert_close(moved(x, angle=90.0 * turns), torch.rot90(x, turns, (2, 3)))
    torch.testing.assert_close(moved(x, angle=-90), torch.rot90(x, -1, (2, 3)))


def test_a_half_turn_of_an_oblong_is_both_flips():
    x = images()
    torch.testing.assert_close(moved(x, angle=180), x.flip(2, 3))


def test_the_middle_of_an_image_agrees_with_another_implementation():
    """SciPy's spline of order 1 with the same inverse map; outside it fills without blending."""
    x = images((1, 20, 24))
    angle, right, down, scale = 27.0, 1.3, -0.7, 1.15
    ours = moved(x, angle=angle, right=right, down=down, scale=scale)
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    inverse = np.array([[cos, sin], [-sin, cos]]) / scale
    middle = np.array([9.5, 11.5])
    offset = middle - inverse @ (middle + np.array([down, right]))
    for b in range(B):
        other = ndimage.affine_transform(x[b, 0].numpy(), inverse, offset, order=1)
        centre = torch.as_tensor(other)[6:14, 7:17]
        torch.testing.assert_close(ours[b, 0, 6:14, 7:17], centre)


def test_enlarging_by_two_spreads_the_middle():
    x = images((1, 5, 5))
    large = moved(x, scale=2.0)
    torch.testing.assert_close(large[:, :, ::2, ::2], x[:, :, 1:4, 1:4])
    torch.testing.assert_close(moved(x, scale=0.5)[:, :, 1:4, 1:4], x[:, :, ::2, ::2])


@paddings
def test_each_pixel_is_a_convex_combination(padding):
    x = images()
    for angle, scale in ((33.0, 0.7), (-71.0, 1.4)):
        point = moved(x, angle=angle, right=1.7, down=-2.2, scale=scale, padding=padding)
        least = 0.0 if padding == "zeros" else x.amin((1, 2, 3), keepdim=True)
        assert bool((point >= least - 1e-12).all())
        assert bool((point <= x.amax((1, 2, 3), keepdim=True) + 1e-12).all())


@paddings
def test_gradients_are_those_of_finite_differences(padding):
    x = images((1, 4, 5)).requires_grad_(True)
    values = [torch.full((B,), value).double() for value in (21.3, 0.83, -0.41, 1.07)]
    flip = torch.tensor([False, True, False])
    arguments = [x, *(value.requires_grad_(True) for value in values)]

    def warped(x, *values):
        return bilinear(x, *sources(*values, flip, x), padding)

    assert torch.autograd.gradcheck(warped, arguments)
