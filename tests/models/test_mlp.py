import pytest
import torch

from holdfast.models.description import hidden_units, parameter_count
from holdfast.models.mlp import fc1, fc500, mlp


def test_the_named_networks_have_their_sizes():
    assert parameter_count(fc1()) == 785 * 1024 + 1025 * 10
    assert parameter_count(fc500()) == 785 * 500 + 501 * 10
    assert parameter_count(mlp()) == 785 * 100 + 2 * 101 * 100 + 101 * 10
    assert parameter_count(fc500(input_shape=(561,), classes=6)) == 562 * 500 + 501 * 6


@pytest.mark.parametrize("hidden", [(), (7,), (7, 5), (300, 300, 300)])
def test_hidden_layers_are_as_given_and_the_last_is_linear(hidden):
    model = mlp(input_shape=(2, 3), classes=4, hidden=hidden)
    assert hidden_units(model, (2, 3)) == sum(hidden)
    assert model(torch.rand(3, 2, 3)).shape == (3, 4)
    assert type(model[-1]).__name__ == "Linear"


def test_without_hidden_layers_the_network_is_affine():
    model = mlp(input_shape=(5,), classes=3, hidden=())
    x, y = torch.randn(2, 7, 5)
    torch.testing.assert_close(model(x) + model(y), model(x + y) + model(torch.zeros(1, 5)))


def test_smooth_activations_and_he_weights_are_available():
    model = fc1(activation="sigmoid", init="he")
    assert type(model[2]).__name__ == "Sigmoid"
    assert not model[1].bias.any()
