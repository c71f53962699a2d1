import pytest
import torch
from torch import nn

from holdfast.models.description import parameter_count
from holdfast.models.preact import PreActBlock, preact_resnet18
from holdfast.models.resnet import Norms


def formula(w: int, classes: int, final_bn: bool) -> int:
    """Stem, four stages of two blocks, 1x1 shortcuts, batch norms before convolutions, head."""
    total, inputs = 27 * w, w
    for stage in range(4):
        width = w << stage
        shortcut = inputs * width if inputs != width else 0
        total += 9 * inputs * width + 27 * width * width + shortcut  # four convolutions
        total += 2 * inputs + 6 * width  # four batch norms
        inputs = width
    return total + 2 * inputs * final_bn + (inputs + 1) * classes


def test_width_64_has_11172170_parameters():
    assert parameter_count(preact_resnet18()) == 11_172_170 == formula(64, 10, True)


@pytest.mark.parametrize(("w", "final"), [(1, True), (6, False), (10, True)])
def test_any_width_has_its_formula_and_runs(w, final):
    model = preact_resnet18(width=w, classes=7, final_bn=final)
    assert parameter_count(model) == formula(w, 7, final)
    assert model(torch.rand(3, 3, 32, 32)).shape == (3, 7)


def test_the_shortcut_acts_on_the_raw_input():
    block = PreActBlock(2, 5, 2, Norms("batch", 2)).eval()
    with torch.no_grad():
        block.bn1.weight.fill_(0.7)
        block.bn1.bias.fill_(-0.2)
    x = torch.randn(3, 2, 7, 6)
    inner = block.conv2(torch.relu(block.bn2(block.conv1(torch.relu(block.bn1(x))))))
    torch.testing.assert_close(block(x), inner + block.shortcut(x))
    kinds = [type(each) for each in block.shortcut]
    assert kinds == [nn.Conv2d]
    assert isinstance(PreActBlock(5, 5, 1, Norms("batch", 2)).shortcut, nn.Identity)


def test_without_the_last_batch_norm_pooled_features_may_be_negative():
    for final in (True, False):
        model = preact_resnet18(width=2, final_bn=final).eval()
        seen = []
        model.linear.register_forward_pre_hook(lambda _m, inputs, seen=seen: seen.append(inputs[0]))
        model(torch.rand(3, 3, 32, 32))
        assert bool((seen[0] >= 0).all()) == final


def test_keys_are_those_of_the_fields_checkpoints():
    keys = set(preact_resnet18(width=2).state_dict())
    assert {"conv1.weight", "layer2.0.shortcut.0.weight", "bn.weight", "linear.weight"} <= keys
