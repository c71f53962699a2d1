"""Small networks for the tests of attacks."""

import torch
from torch import nn


def small_net(seed=0, classes=5, shape=(2, 7, 6)):
    """A ReLU convnet with fixed random weights."""
    generator = torch.Generator().manual_seed(seed)
    net = nn.Sequential(
        nn.Conv2d(shape[0], 4, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(4 * shape[1] * shape[2], classes),
    )
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return net.eval()


def examples(count, net, seed=1, shape=(2, 7, 6), wrong=0):
    """Inputs with the net's own predictions as labels; the first `wrong` labels are shifted."""
    x = torch.rand(count, *shape, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        logits = net(x)
    y = logits.argmax(1)
    y[:wrong] = (y[:wrong] + 1) % logits.shape[1]
    return x, y
