"""Networks and stand-ins that the tests of this room share."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from holdfast.certify.graphs.graph import Graph, capture
from holdfast.core.random import Keys


@dataclass(frozen=True)
class Hull:
    """The bare box x -+ radius, without tolerance."""

    radius: float

    def hull(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x - self.radius, x + self.radius


@dataclass(frozen=True)
class Ball2(Hull):
    """The bare Euclidean ball."""

    def support(self, v: Tensor, x: Tensor) -> Tensor:
        v = v.flatten(2)
        length = torch.linalg.vector_norm(v, dim=2)
        return torch.einsum("brn,bn->br", v, x.flatten(1)) + self.radius * length


class Function(nn.Module):
    """A plain function as a module."""

    def __init__(self, function: Callable[[Tensor], Tensor]):
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class Normalised(nn.Module):
    """(x - mean) / std with buffers, then a net."""

    def __init__(self, net: nn.Module, channels: int):
        super().__init__()
        self.register_buffer("mean", torch.linspace(0.3, 0.6, channels).view(-1, 1, 1))
        self.register_buffer("std", torch.linspace(0.2, 0.4, channels).view(-1, 1, 1))
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return self.net((x - self.mean) / self.std)


class Block(nn.Module):
    """A residual block with batch norm, a strided skip and in-place ReLU."""

    def __init__(self, inside: int, outside: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, 1, 1)
        self.bn2 = nn.BatchNorm2d(outside)
        self.skip = nn.Conv2d(inside, outside, 1, stride)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += self.skip(x)
        return self.relu(out)


class Residual(nn.Module):
    """Convolution, two blocks, average pool, view, linear."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3, padding="same")
        self.blocks = nn.Sequential(Block(4, 4, 1), Block(4, 6, 2))
        self.head = nn.Linear(6 * 2 * 1, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(F.relu(self.stem(x)))  # (B, 6, 4, 3)
        x = F.avg_pool2d(x, 2)
        return self.head(x.view(x.size(0), -1))


class Functional(nn.Module):
    """Functional calls, means over dimensions, clamps, dropout, arithmetic on both sides."""

    def __init__(self):
        super().__init__()
        self.first = nn.utils.parametrizations.weight_norm(nn.Linear(6, 7))
        self.drop = nn.Dropout(0.5)
        self.last = nn.ModuleDict({"out": nn.Linear(7, 5)})
        self.register_buffer("scale", torch.tensor([1.0, -2.0, 0.5, 3.0, -1.0]), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        x = (1 - x).mean(dim=(1, 2))  # (B, 6)
        x = self.drop(torch.relu(self.first(x * 2.0)))
        x = F.hardtanh(x.clamp(min=0.1), -1.0, 3.0).contiguous()
        return -self.last["out"](x) * self.scale + torch.tensor([0.0, 1.0, 2.0, 3.0, 4.0])


def conv_net() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(4, 6, 2, dilation=2, groups=2),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Identity(),
        nn.Linear(12, 8),
        nn.ReLU6(),
        nn.Linear(8, 5),
    )


def pooled_net() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3),
        nn.Hardtanh(),
        nn.MaxPool2d(2, padding=1),
        nn.AdaptiveAvgPool2d((2, 1)),
        nn.Flatten(),
        nn.BatchNorm1d(8),
        nn.Linear(8, 5),
    )


NETS: dict[str, Callable[[], nn.Module]] = {
    "conv": conv_net,
    "pooled": pooled_net,
    "residual": lambda: Normalised(Residual(), 2),
    "functional": Functional,
}
SHAPE = (2, 7, 6)


@cache
def net(name: str) -> nn.Module:
    """A network with keyed weights and batch norm statistics that are not trivial, eval mode."""
    model = NETS[name]().eval()
    with torch.no_grad():
        for index, tensor in enumerate(model.state_dict().values()):
            if tensor.is_floating_point() and tensor.ndim > 0 and index not in _constants(model):
                noise = Keys.of(index, [0]).uniform(tuple(tensor.shape), low=-0.5, high=0.5)[0]
                tensor.copy_(noise)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.running_var.abs_().add_(0.1)
    return model


def _constants(model: nn.Module) -> list[int]:
    names = list(model.state_dict())
    return [names.index(name) for name in ("mean", "std") if name in names]


@cache
def graph(name: str) -> Graph:
    """The captured graph of `net(name)`."""
    return capture(net(name), SHAPE)


def inputs(count: int, shape: tuple[int, ...] = SHAPE, seed: int = 1) -> Tensor:
    """Keyed uniform inputs in float64, with all 53 bits in use."""
    keys = Keys.of(seed, range(count))
    coarse, fine = (keys.fold(name).uniform(shape).double() for name in ("coarse", "fine"))
    return 0.999 * coarse + 2**-24 * fine


def samples(lo: Tensor, hi: Tensor, count: int, seed: int = 2) -> Tensor:
    """Points of the boxes [lo, hi] (B, *E): a quarter corners, the rest uniform; (count, B, *E)."""
    u = Keys.of(seed, range(count)).uniform(tuple(lo.shape)).double()
    quarter = count // 4
    u[:quarter] = u[:quarter].round()
    return torch.lerp(lo, hi, u).clamp(lo, hi)


def small_net() -> nn.Module:
    """Golden example A of the specification: one hidden layer."""
    return _chain(
        ([[1, 2], [-1, 1], [2, -1]], [0, 0.5, -1]),
        ([[1, -1, 1], [-1, 2, 1]], [0.25, -0.5]),
    )


def deep_net() -> nn.Module:
    """Golden example B of the specification: two hidden layers."""
    return _chain(
        ([[1, -1], [2, 1]], [0, -1]),
        ([[1, -1], [-1, 2]], [0.5, 0]),
        ([[2, -1], [-1, 1]], [0, 0.25]),
    )


@cache
def small_graph() -> Graph:
    """The captured graph of `small_net()`, for tests that leave its weights alone."""
    return capture(small_net(), (2,))


@cache
def deep_graph() -> Graph:
    """The captured graph of `deep_net()`, for tests that leave its weights alone."""
    return capture(deep_net(), (2,))


def _chain(*layers: tuple[list[list[float]], list[float]]) -> nn.Module:
    modules: list[nn.Module] = []
    for weight, bias in layers:
        linear = nn.Linear(len(weight[0]), len(weight))
        with torch.no_grad():
            linear.weight.copy_(torch.tensor(weight))
            linear.bias.copy_(torch.tensor(bias))
        modules += [linear, nn.ReLU()]
    return nn.Sequential(*modules[:-1])
