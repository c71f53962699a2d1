import pytest
import torch
from torch import nn

from holdfast.models.description import describe, hidden_units, parameter_count
from holdfast.models.registry import build_model


def test_a_description_counts_what_is_there():
    model = build_model("digits_conv", width=2, classes=3, normalize=(0.5, 0.25))
    for each in model.net[0].parameters():
        each.requires_grad_(False)
    found = describe(model)
    assert found.parameters == (9 * 2 + 2) + (16 * 2 * 4 + 4) + (64 * 8 + 8) + (8 * 3 + 3)
    assert found.trainable == found.parameters - 20
    assert found.bytes == 4 * (found.parameters + 2)
    assert found.hidden_units == 2 * 64 + 4 * 16 + 8
    assert found.architecture.name == "digits_conv"
    assert [each.path for each in found.layers[:3]] == ["normalize", "net.0", "net.1"]
    assert [each.parameters for each in found.layers[:3]] == [0, 20, 0]


def test_units_are_unknown_without_a_shape():
    model = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 2))
    assert describe(model).hidden_units is None
    assert describe(model, input_shape=(5,)).hidden_units == 7


def test_a_module_that_is_called_twice_counts_twice():
    shared = nn.ReLU()
    model = nn.Sequential(nn.Linear(5, 7), shared, nn.Linear(7, 3), shared)
    assert hidden_units(model.double(), (5,)) == 10


def test_a_shared_tensor_counts_once():
    first, second = nn.Linear(5, 5), nn.Linear(5, 5)
    second.weight = first.weight
    assert parameter_count(nn.Sequential(first, second)) == 25 + 5 + 5


def test_counting_leaves_modes_hooks_and_statistics_alone():
    model = nn.Sequential(nn.Linear(5, 7), nn.BatchNorm1d(7), nn.ReLU(), nn.Linear(7, 2)).train()
    before = model[1].running_mean.clone()
    hidden_units(model, (5,))
    assert all(each.training for each in model.modules())
    assert torch.equal(model[1].running_mean, before)
    with pytest.raises(RuntimeError):
        hidden_units(model, (6,))
    assert not model[2]._forward_hooks
    assert model.training
