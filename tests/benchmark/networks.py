"""Small networks and properties with known answers, for the tests of verification."""

import torch
from torch import nn

from holdfast.certify.formats.properties import Case, Property
from holdfast.certify.graphs.graph import capture


def tent():
    """f(x) = (|x_0|, |x_0| + |x_1|) exactly, with four ReLUs."""
    net = nn.Sequential(nn.Linear(2, 4, bias=False), nn.ReLU(), nn.Linear(4, 2, bias=False))
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[1.0, 0], [-1, 0], [0, 1], [0, -1]]))
        net[2].weight.copy_(torch.tensor([[1.0, 1, 0, 0], [1, 1, 1, 1]]))
    return capture(net, (2,))


def mlp(seed=0, inputs=3, outputs=2):
    """A random network of two hidden layers."""
    generator = torch.Generator().manual_seed(seed)
    net = nn.Sequential(
        nn.Linear(inputs, 7), nn.ReLU(), nn.Linear(7, 6), nn.ReLU(), nn.Linear(6, outputs)
    )
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return capture(net, (inputs,))


def case(low, high, rows, limits):
    return Case(*(torch.tensor(each, dtype=torch.float64) for each in (low, high, rows, limits)))


def below(limit, outputs=2, inputs=2, size=1.0, row=1):
    """Unsafe where output `row` is at most a limit, in a box around zero."""
    rows = [[float(i == row) for i in range(outputs)]]
    low, high = [-size] * inputs, [size] * inputs
    return Property(inputs, outputs, (case(low, high, rows, [limit]),))


class Silent:
    """A falsifier that proposes nothing."""

    def falsify(self, graph, cases, *, seed):
        return cases[0].lower.new_zeros(0, len(cases[0].lower))
