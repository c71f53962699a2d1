import pytest
import torch

from holdfast.core.errors import InputError
from holdfast.models.densenet import DenseLayer, densenet
from holdfast.models.description import parameter_count


def formula(depth: int, k: int, bottleneck: bool) -> int:
    """Stem, three blocks, two transitions, last batch norm, head."""
    channels = 2 * k if bottleneck else 16
    total = 27 * channels
    for block in range(3):
        for _ in range((depth - 4) // (6 if bottleneck else 3)):
            if bottleneck:
                total += 2 * channels + 4 * k * channels + 8 * k + 36 * k * k
            else:
                total += 2 * channels + 9 * k * channels
            channels += k
        if block < 2:
            outputs = channels // 2 if bottleneck else channels
            total += 2 * channels + channels * outputs
            channels = outputs
    return total + 2 * channels + (channels + 1) * 10


def test_sizes_of_densenet_100_12():
    assert parameter_count(densenet()) == formula(100, 12, False) == 6_979_642
    assert parameter_count(densenet(bottleneck=True)) == formula(100, 12, True) == 769_162


def test_a_layer_appends_its_new_channels_behind_the_old():
    x = torch.randn(3, 5, 7, 6)
    for bottleneck in (False, True):
        y = DenseLayer(5, 2, bottleneck)(x)
        assert y.shape == (3, 7, 7, 6)
        assert torch.equal(y[:, :5], x)


def test_small_ones_run_and_wrong_depths_are_refused():
    assert densenet(depth=10, growth=3, classes=5)(torch.rand(3, 3, 16, 12)).shape == (3, 5)
    with pytest.raises(InputError, match="4 more than a multiple of 6"):
        densenet(depth=13, bottleneck=True)
