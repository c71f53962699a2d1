import torch
from torch import nn

from holdfast.models.layers import Binarize, Clamp, activation, chain


def test_clamp_stops_values_and_gradients_at_the_box():
    x = torch.tensor([[-0.5, 0.25, 1.5]], requires_grad=True)
    y = Clamp()(x)
    y.sum().backward()
    assert y.tolist() == [[0.0, 0.25, 1.0]]
    assert x.grad.tolist() == [[0.0, 1.0, 0.0]]


def test_binarize_gives_exact_bits_and_passes_gradients_straight_through():
    x = torch.linspace(-2.7, 2.9, 1001).requires_grad_(True)
    y = Binarize(0.3)(x)
    assert set(y.tolist()) == {0.0, 1.0}
    assert torch.equal(y.detach().bool(), x.detach() > 0.3)
    (y * torch.arange(1001)).sum().backward()
    assert torch.equal(x.grad, torch.arange(1001.0))


def test_activations_are_new_modules_that_do_not_work_in_place():
    for name, function in (("relu", torch.relu), ("tanh", torch.tanh), ("sigmoid", torch.sigmoid)):
        x = torch.tensor([-1.0, 0.5])
        assert torch.equal(activation(name)(x), function(x))
        assert x.tolist() == [-1.0, 0.5]
        assert activation(name) is not activation(name)


def test_an_inlet_comes_first_and_leaves_the_keys_of_the_layers():
    layers = nn.Flatten(), nn.Linear(3, 2)
    bare, clamped = chain(*layers), chain(*layers, inlet=Clamp())
    assert list(bare.state_dict()) == list(clamped.state_dict()) == ["1.weight", "1.bias"]
    x = torch.tensor([[-1.0, 0.5, 3.0]])
    assert torch.equal(clamped(x), bare(x.clamp(0, 1)))
    assert not torch.equal(clamped(x), bare(x))
