import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from holdfast.models.description import parameter_count
from holdfast.models.speedrun import speedrun_cnn


def test_the_stated_sizes():
    model = speedrun_cnn()
    with FlopCounterMode(display=False) as counter:
        logits = model(torch.rand(1, 3, 32, 32))
    assert logits.shape == (1, 10)
    assert round(counter.get_total_flops() / 1e6) == 66
    assert parameter_count(model) == 498_104


def test_the_scale_multiplies_the_logits():
    x = torch.rand(3, 3, 32, 32)
    one, half = speedrun_cnn(scale=1.0).eval(), speedrun_cnn(scale=0.5).eval()
    half.load_state_dict(one.state_dict())
    assert torch.equal(half(x), one(x) * 0.5)


@pytest.mark.parametrize("shape", [(1, 28, 28), (2, 17, 23)])
def test_other_images(shape):
    model = speedrun_cnn(input_shape=shape, classes=4, widths=(4, 6, 8), stem=5)
    assert model(torch.rand(3, *shape)).shape == (3, 4)
