import pytest
import torch

from holdfast.threats import Linf
from holdfast.training.objectives import Standard
from training.tiny import examples, network


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_it_is_the_mean_cross_entropy(smoothing):
    model, data = network(), examples(7)
    x, y = data.inputs(), data.labels
    result = Standard(label_smoothing=smoothing).loss(model, x, y, Linf(0.1), progress=0.5)
    smooth = torch.full((7, 3), smoothing / 3).scatter_(1, y[:, None], 1 - smoothing * 2 / 3)
    want = -(smooth * model(x).log_softmax(1)).sum(1).mean()
    assert result.loss.item() == pytest.approx(want.item(), rel=1e-6)
    assert result.logs["accuracy"] == (model(x).argmax(1) == y).float().mean()
    assert torch.equal(result.x_adv, x)
    assert not result.logs["loss"].requires_grad
