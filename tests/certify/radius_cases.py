"""Networks whose certified radii the tests of the searches look for."""

from functools import cache
from itertools import pairwise

import torch
from torch import nn

from holdfast.certify import capture

SIZES = (6, 9, 7, 3)


def network(sizes=SIZES, seed=0):
    """A float64 ReLU network with fixed random weights."""
    generator = torch.Generator().manual_seed(seed)
    layers = []
    for inside, out in pairwise(sizes):
        layer = nn.Linear(inside, out).double()
        with torch.no_grad():
            for each in layer.parameters():
                each.copy_(torch.randn(each.shape, generator=generator) * 0.5)
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1]).eval()


@cache
def captured(sizes=SIZES, seed=0):
    return capture(network(sizes, seed), sizes[:1])


def case(seed=0, count=5, sizes=SIZES, wrong=0):
    """A captured network, inputs in [0, 1] and its own predictions, the first `wrong` shifted."""
    graph = captured(sizes, seed)
    x = torch.rand(count, sizes[0], generator=torch.Generator().manual_seed(seed + 1)).double()
    y = graph.forward(x).argmax(1)
    y[:wrong] = (y[:wrong] + 1) % sizes[-1]
    return graph, x, y


def exact_linear(x, y, sizes, seed, q):
    """The distance to the boundary of a linear network without a box."""
    layer = network(sizes, seed)[0]
    weight, logits = layer.weight.detach(), layer(x).detach()
    found = []
    for row, label in enumerate(y.tolist()):
        others = [j for j in range(sizes[-1]) if j != label]
        normal = weight[label] - weight[others]
        margin = logits[row, label] - logits[row, others]
        found.append((margin / torch.linalg.vector_norm(normal, ord=q, dim=1)).min())
    return torch.stack(found)
