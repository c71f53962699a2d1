import pytest
import torch

from holdfast.core.errors import InputError
from holdfast.models.description import parameter_count
from holdfast.models.wide_resnet import WideBlock, wide_resnet


def formula(depth: int, width: int) -> int:
    """Stem, three groups of (depth - 4) / 6 blocks, last batch norm, head."""
    total, inputs = 27 * 16, 16
    for outputs in (16 * width, 32 * width, 64 * width):
        for _ in range((depth - 4) // 6):
            shortcut = inputs * outputs if inputs != outputs else 0
            total += 9 * outputs * (inputs + outputs) + shortcut + 2 * (inputs + outputs)
            inputs = outputs
    return total + 2 * inputs + (inputs + 1) * 10


def test_wrn_28_10_has_36479194_parameters():
    assert parameter_count(wide_resnet()) == 36_479_194 == formula(28, 10)


def test_wrn_34_10_has_46160474_parameters():
    assert formula(34, 10) == 46_160_474
    assert parameter_count(wide_resnet(depth=34, width=2)) == formula(34, 2)


@pytest.mark.parametrize(("depth", "width"), [(10, 1), (16, 3)])
def test_other_sizes_run(depth, width):
    model = wide_resnet(depth=depth, width=width, classes=10)
    assert parameter_count(model) == formula(depth, width)
    assert model(torch.rand(3, 3, 32, 32)).shape == (3, 10)


@pytest.mark.parametrize("depth", [4, 18, 27])
def test_depths_without_whole_groups_are_refused(depth):
    with pytest.raises(InputError, match="4 more than a multiple of 6"):
        wide_resnet(depth=depth)


def test_a_changing_block_activates_before_its_shortcut_and_another_does_not():
    x = torch.randn(3, 5, 7, 6)
    changing, same = WideBlock(5, 2, 2).eval(), WideBlock(5, 5, 1).eval()
    for block in (changing, same):
        active = torch.relu(block.bn1(x))
        inner = block.conv2(torch.relu(block.bn2(block.conv1(active))))
        skip = block.convShortcut(active) if block is changing else x
        torch.testing.assert_close(block(x), inner + skip)


def test_keys_are_those_of_the_fields_checkpoints():
    keys = set(wide_resnet(depth=10, width=2).state_dict())
    assert {"block1.layer.0.convShortcut.weight", "bn1.weight", "fc.weight"} <= keys
