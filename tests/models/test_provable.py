import pytest
import torch
from torch import nn

from holdfast.core.errors import InputError
from holdfast.models.description import hidden_units, parameter_count
from holdfast.models.provable import SkipConvBlock, deep, large, provable_resnet, small, wide

MNIST, CIFAR = (1, 28, 28), (3, 32, 32)


@pytest.mark.parametrize(
    ("make", "shape", "units", "parameters"),
    [  # Wong 2020, Table 3.4; Large on MNIST has 48,064 units where 28,064 is printed
        (small, MNIST, 4_804, 166_406),
        (small, CIFAR, 6_244, 214_918),
        (large, MNIST, 48_064, 1_974_762),
        (large, CIFAR, 62_464, 2_466_858),
        (provable_resnet, MNIST, 82_536, 3_254_562),
        (provable_resnet, CIFAR, 107_496, 4_214_850),
    ],
)
def test_table_of_architectures(make, shape, units, parameters):
    model = make(input_shape=shape)
    assert hidden_units(model, shape) == units
    assert parameter_count(model) == parameters
    assert model(torch.rand(3, *shape)).shape == (3, 10)


@pytest.mark.parametrize("k", [1, 3, 8])
def test_wide_has_4k_8k_and_128k_units_in_its_layers(k):
    shapes = [tuple(each.shape) for each in wide(width=k).parameters() if each.ndim > 1]
    assert shapes == [(4 * k, 1, 4, 4), (8 * k, 4 * k, 4, 4), (128 * k, 392 * k), (10, 128 * k)]


@pytest.mark.parametrize("k", [1, 2, 3])
def test_deep_strides_only_at_the_end_of_each_group(k):
    layers = [each for each in deep(depth=k).modules() if isinstance(each, nn.Conv2d)]
    assert [each.out_channels for each in layers] == [8] * k + [16] * k
    assert [each.stride[0] for each in layers] == 2 * ([1] * (k - 1) + [2])
    assert [each.kernel_size[0] for each in layers] == 2 * ([3] * (k - 1) + [4])
    assert deep(depth=k)(torch.rand(3, *MNIST)).shape == (3, 10)


def test_one_layer_groups_make_deep_a_narrow_small():
    assert parameter_count(deep(depth=1)) == (16 * 8 + 8) + (16 * 8 * 16 + 16) + 78_500 + 1_010


@pytest.mark.parametrize("strided", [False, True])
def test_a_block_is_the_rectified_sum_of_its_two_paths(strided):
    block = SkipConvBlock(2, 5, strided=strided)
    x = torch.randn(3, 2, 7, 6)
    out = torch.relu(block.main(x) + block.skip(x))
    torch.testing.assert_close(block(x), out)
    assert block(x).shape == ((3, 5, 3, 3) if strided else (3, 5, 7, 6))
    assert tuple(block.skip.weight.shape) == ((5, 2, 2, 2) if strided else (5, 2, 1, 1))
    assert tuple(block.main[0].weight.shape) == ((5, 2, 4, 4) if strided else (5, 2, 3, 3))


def test_convolutions_on_cifar_have_the_variance_of_the_source():
    first = small(input_shape=CIFAR)[2].weight.detach()
    assert float(first.std()) == pytest.approx((2 / (16 * 32)) ** 0.5, rel=0.06)
    assert not small(input_shape=CIFAR)[0].bias.any()
    assert small(input_shape=MNIST)[0].bias.any()
    assert small(input_shape=CIFAR, init="framework")[0].bias.any()


def test_images_that_vanish_are_refused():
    with pytest.raises(InputError, match="too small to be halved 2 times"):
        large(input_shape=(1, 3, 28))
