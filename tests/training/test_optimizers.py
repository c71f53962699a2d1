import pytest
import torch

from holdfast.core.errors import InputError
from holdfast.training.optimizers import (
    SGD,
    Adam,
    affine_weights,
    parameter_groups,
    set_learning_rate,
)
from training.tiny import network


def test_they_are_those_of_torch():
    sgd = SGD(momentum=0.8, weight_decay=0.01, nesterov=True).build(network())
    assert type(sgd) is torch.optim.SGD
    group = sgd.param_groups[0]
    assert (group["momentum"], group["weight_decay"], group["nesterov"]) == (0.8, 0.01, True)
    adam = Adam(betas=(0.8, 0.99), epsilon=1e-6).build(network())
    assert type(adam) is torch.optim.Adam
    assert adam.param_groups[0]["betas"] == (0.8, 0.99)
    assert type(Adam(decoupled=True).build(network())) is torch.optim.AdamW


def test_weight_decay_can_leave_out_biases_and_norms():
    net = network(norm=True)
    decaying, others = parameter_groups(net, 0.1, "weights")
    assert [each.ndim for each in decaying["params"]] == [4, 2]
    assert {each.ndim for each in others["params"]} == {1}
    assert (decaying["weight_decay"], others["weight_decay"]) == (0.1, 0.0)
    assert len(parameter_groups(net, 0.1)) == 1


def test_every_group_follows_the_learning_rate():
    optimizer = SGD(weight_decay=0.1, decay="weights").build(network())
    set_learning_rate(optimizer, 0.25)
    assert [group["lr"] for group in optimizer.param_groups] == [0.25, 0.25]
    optimizer.param_groups[1]["factor"] = 0.5
    set_learning_rate(optimizer, 0.3)
    assert [group["lr"] for group in optimizer.param_groups] == [0.3, 0.15]


def test_affine_weights_are_no_biases_no_norms_no_embeddings():
    net = torch.nn.Sequential(
        torch.nn.Embedding(5, 2),
        torch.nn.Conv1d(2, 3, 2),
        torch.nn.LayerNorm([3, 4]),
        torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(4, 6)),
        torch.nn.Linear(6, 7),
        torch.nn.BatchNorm1d(7),
    )
    shapes = [tuple(each.shape) for each in affine_weights(net)]
    assert shapes == [(3, 2, 2), (6, 1), (6, 4), (7, 6)]
    net[1].requires_grad_(False)
    net[4].weight = net[3].parametrizations.weight.original1  # a shared weight counts once
    assert [tuple(each.shape) for each in affine_weights(net)] == [(6, 1), (6, 4)]


def test_frozen_weights_are_left_out():
    net = network()
    net[0].requires_grad_(False)
    (group,) = parameter_groups(net, 0.0)
    assert len(group["params"]) == 2
    with pytest.raises(InputError, match="no parameter to train"):
        parameter_groups(net.requires_grad_(False), 0.0)


def test_nesterov_needs_a_momentum():
    with pytest.raises(InputError, match="needs a momentum"):
        SGD(momentum=0.0, nesterov=True)
