import pytest
import torch

from holdfast.core.recipes import kind_of
from holdfast.losses.catalogue import LOSSES
from holdfast.losses.protocol import Loss


@pytest.mark.parametrize("name", LOSSES)
def test_every_registered_loss_is_one(name):
    loss = LOSSES[name].load()()
    assert isinstance(loss, Loss)
    assert kind_of(loss, LOSSES) == name
    logits, y = torch.eye(6)[:, :5] + torch.arange(5) / 10, torch.tensor([0, 1, 2, 3, 4, 0])
    assert loss(logits, y).shape == (6,)
    assert loss(logits, y, (y + 1) % 5).shape == (6,)


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_rises_as_the_label_falls(name):
    loss = LOSSES[name].load()()
    fall = torch.linspace(3, -3, 11)[:, None]
    logits = torch.cat([fall, torch.tensor([[0.2, -0.4, -1.0]]).expand(11, 3)], dim=1)
    y = torch.zeros(11, dtype=torch.int64)
    assert (loss(logits, y).diff() >= 0).all()
    assert (loss(logits, y, y + 1).diff() >= 0).all()
