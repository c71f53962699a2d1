"""Small networks of the plane that are trained on the spot, with keyed weights, and looked at on a
grid."""

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from holdfast.certify.bounds.forms import linear_bounds
from holdfast.certify.bounds.linear import Dual
from holdfast.certify.graphs.graph import Graph, capture
from holdfast.certify.spec import margin_rows
from holdfast.core.random import Keys
from holdfast.threats.balls import Linf

Extent = tuple[float, float, float, float]
Loss = Callable[[Tensor, Tensor], Tensor]


def uniform_net(widths: tuple[int, ...], seed: int) -> nn.Sequential:
    """A ReLU network with weights and biases uniform in +- 1 / sqrt(inputs), as PyTorch draws them.

    Example:
        >>> [tuple(each.shape) for each in uniform_net((2, 3, 4), 0).parameters()]
        [(3, 2), (3,), (4, 3), (4,)]
    """

    def draw(keys: Keys, shape: tuple[int, ...], inputs: int) -> Tensor:
        reach = 1 / math.sqrt(inputs)
        return keys.uniform(shape, low=-reach, high=reach)[0]

    return _net(widths, seed, draw, draw)


def gaussian_net(widths: tuple[int, ...], seed: int) -> nn.Sequential:
    """A ReLU network with weights N(0, 1 / inputs) and biases N(0, 1).

    Source: Wong 2020, sec 3.2.2, where 1 / sqrt(inputs) is taken as the standard deviation.
    """

    def weight(keys: Keys, shape: tuple[int, ...], inputs: int) -> Tensor:
        return keys.normal(shape)[0] / math.sqrt(inputs)

    def bias(keys: Keys, shape: tuple[int, ...], inputs: int) -> Tensor:
        del inputs
        return keys.normal(shape)[0]

    return _net(widths, seed, weight, bias)


def cross_entropy(net: nn.Module) -> Loss:
    """The ordinary loss."""
    return lambda x, y: functional.cross_entropy(net(x), y)


def robust_loss(net: nn.Module, eps: float) -> Loss:
    """The cross-entropy of the worst logits that the dual bound allows within linf `eps`.

    Source: Wong 2020, sec 3.1.4 (Theorem 2).
    """
    graph, method, threat = capture(net, (2,)), Dual(mode="fast"), Linf(eps, box=None)

    def loss(x: Tensor, y: Tensor) -> Tensor:
        classes = graph.output_shape[0]
        margins = linear_bounds(method, graph, x, threat, margin_rows(y, classes).to(x))
        own = margins.new_zeros(len(x), 1)
        logits = torch.cat([own, -margins], dim=1)
        return functional.cross_entropy(logits, torch.zeros_like(y))

    return loss


def fit(
    net: nn.Module,
    loss: Loss,
    x: Tensor,
    y: Tensor,
    *,
    steps: int,
    seed: int,
    batch: int | None = None,
    rate: float = 1e-3,
    decay: float = 0.0,
    betas: tuple[float, float] = (0.9, 0.999),
) -> None:
    """Trains in place with Adam, on all points at once or on keyed batches."""
    optimiser = torch.optim.Adam(net.parameters(), lr=rate, weight_decay=decay, betas=betas)
    keys = Keys.of(seed, [0]).fold("batches")
    for step in range(steps):
        chosen = slice(None) if batch is None else keys.integers(len(x), (batch,), step)[0]
        optimiser.zero_grad()
        torch.autograd.backward(loss(x[chosen], y[chosen]))
        optimiser.step()


def certified_share(graph: Graph, x: Tensor, y: Tensor, eps: float) -> float:
    """The share of points proved to keep their label within linf `eps`."""
    rows = margin_rows(y, graph.output_shape[0]).to(x)
    found = Dual().bound(graph, x, Linf(eps, box=None), rows).lower
    return float((found > 0).all(dim=1).double().mean())


def classes_on_grid(net: nn.Module, extent: Extent, side: int) -> Tensor:
    """The classes at the middles of a grid's cells, (side, side), the lowest row first."""
    left, right, bottom, top = extent
    middles = (torch.arange(side) + 0.5) / side
    x, y = left + (right - left) * middles, bottom + (top - bottom) * middles
    points = torch.stack([x.expand(side, side), y.unsqueeze(1).expand(side, side)], dim=2)
    with torch.no_grad():
        return net(points.flatten(0, 1)).argmax(dim=1).view(side, side)


def square_around(x: Tensor, eps: float, side: int) -> Tensor:
    """A grid on the squares of half width eps around points (B, 2), edges included:
    (B, side^2, 2)."""
    line = torch.linspace(-eps, eps, side, dtype=x.dtype)
    return x.unsqueeze(1) + torch.cartesian_prod(line, line)


def _net(
    widths: tuple[int, ...],
    seed: int,
    weight: Callable[[Keys, tuple[int, ...], int], Tensor],
    bias: Callable[[Keys, tuple[int, ...], int], Tensor],
) -> nn.Sequential:
    layers: list[nn.Module] = []
    for at, (inputs, outputs) in enumerate(pairwise(widths)):
        keys = Keys.of(seed, [at])
        linear = nn.Linear(inputs, outputs)
        with torch.no_grad():
            linear.weight.copy_(weight(keys.fold("weight"), (outputs, inputs), inputs))
            linear.bias.copy_(bias(keys.fold("bias"), (outputs,), inputs))
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1])
