import math

import torch
from torch import nn
from torch.nn import functional

from holdfast.certify.graphs.graph import capture
from holdfast.reproduce.plane_nets import (
    certified_share,
    classes_on_grid,
    cross_entropy,
    fit,
    gaussian_net,
    robust_loss,
    square_around,
    uniform_net,
)


def half_plane():
    """Class 1 where the first coordinate is above 0.4."""
    net = nn.Linear(2, 2)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[0.0, 0.0], [1.0, 0.0]]))
        net.bias.copy_(torch.tensor([0.0, -0.4]))
    return net


def test_weights_have_their_law_and_follow_from_the_seed():
    net = uniform_net((4, 300, 5), 1)
    assert float(net[2].weight.detach().abs().max()) <= 1 / math.sqrt(300)
    wide = gaussian_net((400, 300, 2), 1)
    assert abs(float(wide[0].weight.detach().std()) * 20 - 1) < 0.02
    assert abs(float(wide[0].bias.detach().std()) - 1) < 0.15
    again = gaussian_net((400, 300, 2), 1)
    assert torch.equal(wide[0].weight, again[0].weight)
    assert not torch.equal(wide[0].weight, gaussian_net((400, 300, 2), 2)[0].weight)


def test_the_robust_loss_of_a_linear_net_is_that_of_the_worst_logits():
    net = half_plane()
    x, y = torch.tensor([[0.5, 0.2], [0.3, 0.9], [0.45, 0.1]]), torch.tensor([1, 0, 0])
    sign = torch.tensor([1.0, -1.0, -1.0])
    margin = sign * (x[:, 0] - 0.4) - 0.08
    expected = functional.softplus(-margin).mean()
    torch.testing.assert_close(robust_loss(net, 0.08)(x, y), expected, atol=1e-5, rtol=0)
    assert certified_share(capture(net, (2,)), x, y, 0.08) == 2 / 3


def test_fitting_lowers_the_loss_and_repeats():
    x = torch.rand(40, 2, generator=torch.Generator().manual_seed(0))
    y = (x[:, 0] > 0.4).long()
    found = []
    for _ in range(2):
        net = uniform_net((2, 8, 2), 0)
        before = float(cross_entropy(net)(x, y).detach())
        fit(net, cross_entropy(net), x, y, steps=30, seed=3, batch=10, rate=0.02)
        found.append(net[0].weight.detach().clone())
        assert float(cross_entropy(net)(x, y).detach()) < before
    assert torch.equal(*found)


def test_grids_lie_as_they_are_drawn():
    found = classes_on_grid(half_plane(), (0.0, 1.0, 0.0, 2.0), 5)
    assert found.tolist() == [[0, 0, 1, 1, 1]] * 5
    square = square_around(torch.tensor([[1.0, 2.0]]), 0.5, 3)
    assert square.shape == (1, 9, 2)
    assert square.amin(1).tolist() == [[0.5, 1.5]]
    assert square.amax(1).tolist() == [[1.5, 2.5]]
