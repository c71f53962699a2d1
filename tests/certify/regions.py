"""A linear model whose largest regions are known by formula."""

import torch
from torch import Tensor, nn

from holdfast.core.random import Keys

INF = float("inf")


def two_classes() -> tuple[nn.Module, Tensor, Tensor, Tensor, Tensor]:
    """The model, inputs, their classes, and the weights and values of their margins."""
    model = nn.Linear(5, 2).double()
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[0.9, -0.3, 0.2, 0.5, -0.7], [-0.2, 0.4, -0.3, 0.1, 0.2]]))
        model.bias.copy_(torch.tensor([0.6, -0.3]))
    x = Keys.of(1, range(3)).uniform((5,)).double()
    y = model(x).argmax(1)
    push = (model.weight[y] - model.weight[1 - y]).detach()
    margin = (model(x).gather(1, y[:, None]) - model(x).gather(1, 1 - y[:, None]))[:, 0].detach()
    return model, x, y, push, margin
