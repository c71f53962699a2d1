import pytest
import torch
from torch import nn

from holdfast.core.errors import InputError
from holdfast.models.description import parameter_count
from holdfast.models.resnet import BasicBlock, Bottleneck, Norms, resnet18, resnet34, resnet50


def weights(model: nn.Module) -> int:
    """Numbers in convolutions and linear layers, without biases."""
    kinds = (nn.Conv2d, nn.Linear)
    return sum(each.weight.numel() for each in model.modules() if isinstance(each, kinds))


def test_the_published_counts_of_resnet34_and_its_small_variants():
    # Liu 2022, Table 5.6: the first counts weights, the others weights and batch norm
    assert weights(resnet34()) == 21_265_088
    for widths, convolutions, total in (
        ((23, 25, 27, 29), 199_198, 201_078),
        ((6, 13, 26, 51), 214_652, 216_360),
    ):
        model = resnet34(widths=widths, head_bias=False)
        assert weights(model) == convolutions
        assert parameter_count(model) == total


def test_the_usual_counts():
    assert parameter_count(resnet18()) == 11_173_962
    assert parameter_count(resnet34()) == 21_282_122
    assert parameter_count(resnet50()) == 23_520_842
    imagenet = resnet50(stem="imagenet", classes=1000, input_shape=(3, 224, 224))
    assert parameter_count(imagenet) == 25_557_032


@pytest.mark.parametrize("w", [1, 2, 3])
def test_any_width_runs_and_doubles_from_stage_to_stage(w):
    model = resnet18(width=4 * w, classes=5).eval()
    assert model.linear.in_features == 32 * w
    assert model(torch.rand(3, 3, 32, 32)).shape == (3, 5)


def test_stages_halve_the_map_from_the_second_on():
    model = resnet18(width=2)
    sides = []
    for index in range(1, 5):
        stage = model.get_submodule(f"layer{index}")
        stage.register_forward_hook(lambda _m, _i, out: sides.append(tuple(out.shape[2:])))
    model(torch.rand(3, 3, 32, 24))
    assert sides == [(32, 24), (16, 12), (8, 6), (4, 3)]


def test_the_imagenet_stem_quarters_the_map():
    model = resnet34(width=2, stem="imagenet", classes=5)
    seen = []
    model.layer1.register_forward_pre_hook(lambda _m, inputs: seen.append(inputs[0].shape[2:]))
    assert model(torch.rand(2, 3, 64, 48)).shape == (2, 5)
    assert seen == [(16, 12)]


def test_a_basic_block_is_the_formula():
    block = BasicBlock(2, 5, 2, Norms("batch", 2)).eval()
    x = torch.randn(3, 2, 7, 6)
    inner = block.bn2(block.conv2(torch.relu(block.bn1(block.conv1(x)))))
    torch.testing.assert_close(block(x), torch.relu(inner + block.shortcut(x)))
    same = BasicBlock(5, 5, 1, Norms("batch", 2))
    assert isinstance(same.shortcut, nn.Identity)


def test_a_bottleneck_strides_in_its_middle():
    block = Bottleneck(2, 3, 2, Norms("batch", 2))
    assert [block.conv1.stride, block.conv2.stride, block.conv3.stride] == [(1, 1), (2, 2), (1, 1)]
    assert block(torch.randn(3, 2, 7, 6)).shape == (3, 12, 4, 3)


def test_group_norm_has_half_as_many_groups_as_the_width():
    model = resnet18(width=6, norm="group")
    groups = {each.num_groups for each in model.modules() if isinstance(each, nn.GroupNorm)}
    assert groups == {3}
    assert not any(isinstance(each, nn.BatchNorm2d) for each in model.modules())
    with pytest.raises(InputError, match="use an even width"):
        resnet18(width=5, norm="group")


def test_batch_norm_on_the_logits_makes_the_labels_blind_to_the_scale_of_the_head():
    model = resnet34(width=2, affine=False, logit_norm=True, head_bias=False).double()
    x = torch.rand(7, 3, 32, 32, dtype=torch.float64)
    before = model(x)
    with torch.no_grad():
        model.linear.weight.mul_(1000.0)
    torch.testing.assert_close(model(x), before, rtol=0.2, atol=0.02)
    names = [name for name, _ in model.named_parameters()]
    assert not any("bn" in name or "logit_norm" in name for name in names)


def test_keys_are_those_of_the_fields_checkpoints():
    keys = set(resnet18(width=2).state_dict())
    expected = {"conv1.weight", "layer1.0.bn1.weight", "layer2.0.shortcut.0.weight"}
    assert expected | {"layer2.0.shortcut.1.running_mean", "linear.bias"} <= keys
    assert not any(key.startswith("layer1.0.shortcut") for key in keys)
