import torch

from holdfast.models.description import hidden_units, parameter_count
from holdfast.models.four_filter import four_filter


def test_it_is_one_convolution_and_one_linear_layer():
    model = four_filter()
    assert parameter_count(model) == 3 * 9 * 4 + 4 + 4 * 1024 * 10 + 10
    assert hidden_units(model, (3, 32, 32)) == 4 * 1024


def test_any_shape_and_number_of_filters_go():
    model = four_filter(input_shape=(2, 7, 6), classes=5, filters=3)
    assert model(torch.rand(4, 2, 7, 6)).shape == (4, 5)


def test_it_may_be_initialised_as_it_was_published():
    torch.manual_seed(0)
    model = four_filter(filters=40, init="he")
    assert abs(float(model[0].weight.detach().std()) - (2 / (9 * 40)) ** 0.5) < 0.01
    assert abs(float(model[3].weight.detach().std()) - (2 / (1024 * 40)) ** 0.5) < 1e-3
    assert not model[0].bias.any()
    assert not model[3].bias.any()
