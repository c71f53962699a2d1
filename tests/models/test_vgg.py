import pytest
import torch
from torch import nn

from holdfast.models.description import parameter_count
from holdfast.models.vgg import vgg16


def test_factor_16_is_vgg16():
    widths = [64, 64, 128, 128, 256, 256, 256] + 6 * [512]
    model = vgg16()
    found = [each.out_channels for each in model.modules() if isinstance(each, nn.Conv2d)]
    pairs = zip([3, *widths], widths, strict=False)
    assert found == widths
    assert parameter_count(model) == sum(9 * i * o + 3 * o for i, o in pairs) + 513 * 10


@pytest.mark.parametrize("w", [2, 4])
def test_narrow_variants_run(w):
    model = vgg16(factor=w, classes=5)
    assert model[-1].in_features == 32 * w
    assert model(torch.rand(3, 3, 32, 32)).shape == (3, 5)
