import pytest
import torch
from torch import nn

from holdfast.core.errors import InputError
from holdfast.core.recipes import build, kind_of, to_dict
from holdfast.training.catalogue import OPTIMIZERS
from holdfast.training.checkpoints import optimizer_tensors, restore_optimizer
from holdfast.training.muon import Muon, orthogonal
from holdfast.training.optimizers import SGD, Adam, set_learning_rate
from training.tiny import examples, network


def matrix(rows, columns, seed=0, kind=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, columns, generator=generator, dtype=kind)


def gradients(net, seed):
    generator = torch.Generator().manual_seed(seed)
    for parameter in net.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)


def deep(kind=torch.float32):
    net = nn.Sequential(*network(norm=True)[:-1], nn.Linear(80, 6), nn.Linear(6, 3)).to(kind)
    with torch.no_grad():
        for seed, layer in enumerate((net[5], net[6])):
            layer.weight.copy_(matrix(*layer.weight.shape, seed) / 5)
            layer.bias.zero_()
    return net


@pytest.mark.parametrize(("rows", "columns"), [(5, 7), (7, 5), (4, 4), (1, 6), (6, 1)])
def test_singular_vectors_stay_and_singular_values_become_even(rows, columns):
    given = matrix(rows, columns)
    found = orthogonal(given, 5)
    u, _, v = torch.linalg.svd(given, full_matrices=False)
    middle = u.T @ found @ v.T
    values = middle.diagonal()
    assert torch.allclose(middle, values.diag(), atol=1e-12)
    assert values.min() > 0.65
    assert values.max() < 1.25


def test_each_singular_value_goes_through_the_published_polynomial():
    given = torch.diag(torch.tensor([3.0, 1.0, 0.2], dtype=torch.float64))
    values = given.diagonal() / given.norm()
    for _ in range(3):
        values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
    assert torch.allclose(orthogonal(given, 3), values.diag(), atol=1e-12)


def test_only_the_direction_counts():
    given = matrix(3, 5)
    assert torch.allclose(orthogonal(1e-9 * given), orthogonal(given), atol=1e-12)
    assert torch.equal(orthogonal(torch.zeros(3, 5)), torch.zeros(3, 5))


@pytest.mark.parametrize("nesterov", [True, False])
def test_its_steps_are_those_of_torch(nesterov):
    ours, theirs = deep(), deep()
    spec = Muon(
        momentum=0.9, nesterov=nesterov, iterations=5, weight_decay=0.1, unit_rows=False,
        scale="rows", others=SGD(momentum=0.8), factor=0.5,
    )  # fmt: skip
    optimizer = spec.build(ours)
    set_learning_rate(optimizer, 0.02)
    views = [theirs[0].weight.detach().view(4, -1), theirs[5].weight.detach()]
    muon = torch.optim.Muon(
        views, lr=0.02, momentum=0.9, nesterov=nesterov, ns_steps=5, weight_decay=0.1
    )
    taken = {id(theirs[0].weight), id(theirs[5].weight)}
    rest = [each for each in theirs.parameters() if id(each) not in taken]
    sgd = torch.optim.SGD(rest, lr=0.01, momentum=0.8)
    for seed in range(3):
        for net in (ours, theirs):
            gradients(net, seed)
        for view, layer in zip(views, (theirs[0], theirs[5]), strict=True):
            view.grad = layer.weight.grad.view(view.shape)
        for each in (optimizer, muon, sgd):
            each.step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(a, b, atol=2e-3)  # theirs iterates in bfloat16


def test_which_parameters_are_whose():
    net = deep()
    optimizer = Muon().build(net)
    hidden, others = optimizer.param_groups
    assert [tuple(each.shape) for each in hidden["params"]] == [(4, 2, 3, 3), (6, 80)]
    assert len(others["params"]) == len(list(net.parameters())) - 2
    set_learning_rate(optimizer, 0.24)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.24, 0.05])
    only = Muon(which="convolutions").build(net).param_groups[0]["params"]
    assert [each.ndim for each in only] == [4]
    assert len(Muon().build(nn.Sequential(nn.Linear(3, 4, bias=False), nn.Linear(4, 2))).parts) == 2


def test_a_net_without_hidden_weights_is_refused():
    with pytest.raises(InputError, match="no hidden weights for Muon"):
        Muon().build(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)))


def test_rows_are_brought_to_norm_one_in_the_mean_square():
    net = deep()
    optimizer = Muon(momentum=0.0).build(net)
    gradients(net, 0)
    set_learning_rate(optimizer, 0.0)
    optimizer.step()
    for layer in (net[0], net[5]):
        norm = float(layer.weight.detach().norm())
        assert norm**2 == pytest.approx(len(layer.weight), rel=1e-5)


@pytest.mark.parametrize("others", [SGD(momentum=0.7, nesterov=True), Adam()])
def test_its_state_goes_through_a_checkpoint(others):
    spec, nets, optimizers = Muon(others=others), [deep(), deep()], []
    for net in nets:
        optimizers.append(spec.build(net))
    first, second = optimizers
    for seed in range(2):
        gradients(nets[0], seed)
        set_learning_rate(first, 0.1)
        first.step()
    nets[1].load_state_dict(nets[0].state_dict())
    restore_optimizer(second, optimizer_tensors(first))
    assert set(optimizer_tensors(second)) == set(optimizer_tensors(first))
    for net, optimizer in zip(nets, optimizers, strict=True):
        gradients(net, 7)
        set_learning_rate(optimizer, 0.1)
        optimizer.step()
    for a, b in zip(*(net.parameters() for net in nets), strict=True):
        assert torch.equal(a, b)


def test_the_layout_of_images_does_not_matter():
    nets = [deep(torch.float64), deep(torch.float64).to(memory_format=torch.channels_last)]
    for net in nets:
        optimizer = Muon().build(net)
        for seed in range(3):
            gradients(net, seed)
            set_learning_rate(optimizer, 0.1)
            optimizer.step()
    assert torch.allclose(nets[0][0].weight, nets[1][0].weight, atol=1e-12)


def test_it_trains():
    net, data = network(), examples(23)
    optimizer, losses = Muon().build(net), []
    for _ in range(12):
        loss = nn.functional.cross_entropy(net(data.inputs()), data.labels)
        optimizer.zero_grad()
        loss.backward()
        set_learning_rate(optimizer, 0.1)
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_it_is_named_in_recipes():
    values = {"iterations": 5, "others": {"kind": "adam", "betas": [0.8, 0.9]}, "factor": "1/4"}
    spec = build(OPTIMIZERS["muon"].load(), values)
    assert kind_of(spec, OPTIMIZERS) == "muon"
    assert build(Muon, to_dict(spec)) == spec
    assert hash(spec) == hash(build(Muon, values))
