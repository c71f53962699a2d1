import pytest
import torch
from torch import nn

from holdfast.threats import Linf
from holdfast.training.monitors import GradientNorms
from training.monitors.test_catastrophic import scene
from training.tiny import network


def test_they_are_the_norms_of_the_batch():
    net = network().eval()
    there = scene(net, Linf(0.1))
    found = GradientNorms().look(there, {}).figures
    x = there.x.clone().requires_grad_(True)
    loss = nn.functional.cross_entropy(net(x), there.y, reduction="sum")
    norms = torch.autograd.grad(loss, x)[0].flatten(1).double().norm(dim=1)
    assert found["mean"] == pytest.approx(float(norms.mean()), rel=1e-5)
    assert found["largest"] == pytest.approx(float(norms.amax()), rel=1e-5)
    ratio = 2**0.25 * norms.mean() / norms.square().mean().sqrt()
    assert found["ratio"] == pytest.approx(float(ratio), rel=1e-5)
    assert found["zero"] == 0.0


def test_without_a_gradient_the_ratio_is_one():
    net = network()
    with torch.no_grad():
        net[5].weight.zero_()
    found = GradientNorms().look(scene(net, Linf(0.1)), {}).figures
    assert (found["mean"], found["ratio"], found["zero"]) == (0.0, 1.0, 1.0)
