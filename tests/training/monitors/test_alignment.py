import torch
from torch import nn

from holdfast.measures.gradient_alignment import GradientAlignment
from holdfast.threats import Linf
from holdfast.training.monitors import Alignment
from training.monitors.test_catastrophic import scene
from training.tiny import network, weights


def test_it_is_the_measure_at_the_batch():
    net = network(norm=True).train()
    before = weights(net)
    there = scene(net, Linf(0.2))
    found = Alignment().look(there, {}).figures
    assert torch.equal(weights(net), before)
    measure = GradientAlignment()
    keys = there.keys.fold("alignment")
    sums = measure.update(net, there.x, there.y, there.threat, keys=keys)
    assert found["cosine"] == measure.compute(sums).value


def test_a_linear_loss_is_aligned():
    net = nn.Sequential(nn.Flatten(), nn.Linear(40, 2))
    there = scene(net, Linf(0.05))
    found = Alignment().look(scene(net, Linf(0.05), y=there.y % 2), {}).figures
    assert abs(found["cosine"] - 1) < 1e-5
    assert found["undefined"] == 0
