import pytest
import torch

from holdfast.models.description import parameter_count
from holdfast.models.lenet import lenet


def test_factor_16_is_the_table():
    shapes = [tuple(each.shape) for each in lenet().parameters() if each.ndim > 1]
    assert shapes == [(32, 1, 5, 5), (64, 32, 5, 5), (1024, 3136), (10, 1024)]


@pytest.mark.parametrize("w", [2, 4, 8, 16])
def test_every_width_has_its_formula(w):
    model = lenet(factor=w)
    convolutions = 26 * 2 * w + (25 * 2 * w + 1) * 4 * w
    assert parameter_count(model) == convolutions + (196 * w + 1) * 64 * w + (64 * w + 1) * 10
    assert model(torch.rand(3, 1, 28, 28)).shape == (3, 10)
