import pytest
import torch

from holdfast.core.errors import InputError
from holdfast.core.random import Keys
from holdfast.training.resizing import random_resized_crop, resized
from training.tiny import examples


def test_the_shorter_side_is_brought_to_size():
    data = examples(7)
    small = resized(data, 2)
    assert small.images.shape == (7, 2, 2, 2)
    assert small.images.dtype == torch.uint8
    large = resized(data, 8)
    assert large.shape == (2, 10, 8)
    assert torch.equal(large.labels, data.labels)
    assert resized(data, 4) is data
    means = [each.inputs().mean(dim=(2, 3)) for each in (data, large)]
    assert (means[0] - means[1]).abs().amax() < 0.03


def test_flat_images_stay_flat():
    flat = torch.full((3, 2, 9, 7), 0.25)
    out = random_resized_crop(flat, Keys.of(0, torch.arange(3)), 5)
    assert out.shape == (3, 2, 5, 5)
    assert torch.allclose(out, torch.tensor(0.25))


def test_windows_lie_inside_and_depend_on_the_example_alone():
    height, width = 31, 23
    rows = torch.arange(height).float().view(1, 1, height, 1).expand(1, 1, height, width)
    columns = torch.arange(width).float().view(1, 1, 1, width).expand(1, 1, height, width)
    x = torch.cat([rows, columns], dim=1).expand(400, 2, height, width)
    keys = Keys.of(5, torch.arange(400))
    out = random_resized_crop(x, keys, 11)
    alone = random_resized_crop(x[17:18], keys[17:18], 11)
    assert torch.allclose(alone[0], out[17], atol=1e-4)
    assert out[:, 0].amin() >= 0
    assert out[:, 0].amax() <= height - 1
    tall = (out[:, 0, -1, 0] - out[:, 0, 0, 0]) * 11 / 10
    wide = (out[:, 1, 0, -1] - out[:, 1, 0, 0]) * 11 / 10
    share = tall * wide / (height * width)
    assert share.amin() > 0.05
    assert 0.3 < share.mean() < 0.65
    assert (tall / wide).log().abs().amax() < 0.45
    assert (out[:, 0].mean(dim=(1, 2)).std() > 2).item()


def test_what_is_no_image_is_refused():
    with pytest.raises(InputError, match="is no batch of images"):
        random_resized_crop(torch.zeros(3, 4), Keys.of(0, [0, 1, 2]), 5)
