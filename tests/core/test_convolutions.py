"""Input gradients through narrow first convolutions: those of autograd, for every kind of graph."""

import pytest
import torch
from torch import Tensor, nn

from holdfast.core.convolutions import input_gradient
from holdfast.core.random import Keys


def _image(channels: int = 2, rows: int = 3) -> Tensor:
    """Inputs (3, C, 7, 6), a leaf."""
    x = Keys.of(0, range(rows)).uniform((channels, 7, 6))
    return x.requires_grad_(True)


def _both(net: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """The gradient of a sum of squares, ours and autograd's."""
    ours = input_gradient(net(x.clone()).square().sum(), x)
    (known,) = torch.autograd.grad(net(x.clone()).square().sum(), x)
    return ours, known


class _Beside(nn.Module):
    """A network whose input goes around its first convolution as well."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.conv(x).flatten(1), x.flatten(1)], dim=1)


class _Twice(nn.Module):
    """A network of two narrow convolutions of the same input."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Conv2d(2, 5, 3), nn.Conv2d(2, 5, 3, dilation=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.one(x) * self.other(x)


class _Normalized(nn.Module):
    """A network that works on its input before the convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 5, (4, 3), stride=(2, 1), padding=(1, 2))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(((x - 0.3) / 0.2).tanh()).relu()


NETS = {
    "plain": lambda: nn.Sequential(nn.Conv2d(2, 5, 3, stride=2, padding=1), nn.ReLU()),
    "two": lambda: nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Conv2d(3, 5, 2)),
    "normalized": _Normalized,
    "beside": _Beside,
    "twice": _Twice,
    "dilated": lambda: nn.Conv2d(2, 5, 2, dilation=2),
    "grouped": lambda: nn.Conv2d(2, 4, 3, groups=2),
    "transposed": lambda: nn.ConvTranspose2d(2, 5, 3),
    "text padding": lambda: nn.Conv2d(2, 5, 3, padding="same", bias=False),
    "linear": lambda: nn.Sequential(nn.Flatten(), nn.Linear(84, 5)),
}


@pytest.mark.parametrize("name", NETS)
def test_it_is_the_gradient_of_autograd(name: str) -> None:
    torch.manual_seed(0)
    ours, known = _both(NETS[name](), _image())
    assert torch.allclose(ours, known, atol=1e-5 * float(known.abs().max()))


@pytest.mark.parametrize("kind", ["channels_last", "float64", "one row"])
def test_other_layouts_types_and_sizes(kind: str) -> None:
    torch.manual_seed(0)
    net, x = NETS["plain"](), _image(rows=1 if kind == "one row" else 3)
    if kind == "channels_last":
        x = x.detach().to(memory_format=torch.channels_last).requires_grad_(True)
    if kind == "float64":
        net, x = net.double(), x.detach().double().requires_grad_(True)
    ours, known = _both(net, x)
    assert ours.shape == x.shape
    assert torch.allclose(ours, known, atol=1e-5 * float(known.abs().max()))


def test_a_kept_graph_gives_further_gradients() -> None:
    torch.manual_seed(0)
    x = _image()
    logits = NETS["plain"]()(x.clone()).flatten(1)
    first = input_gradient(logits[:, 0].sum(), x, retain=True)
    again = input_gradient(logits[:, 0].sum(), x, retain=True)
    last = input_gradient(logits[:, 1].sum(), x)
    assert torch.equal(first, again)
    assert not torch.equal(first, last)


def test_what_the_input_does_not_reach_has_no_gradient() -> None:
    x, weight = _image(), torch.ones(3, requires_grad=True)
    assert not bool(input_gradient(weight.sum(), x).any())


def test_a_convolution_beside_the_input_is_left_alone() -> None:
    torch.manual_seed(0)
    conv, x = NETS["plain"](), _image()
    ours = input_gradient(x.square().sum() + conv(torch.ones(1, 2, 7, 6)).sum(), x)
    assert torch.allclose(ours, 2 * x)


def test_a_convolution_in_half_precision_is_left_alone() -> None:
    torch.manual_seed(0)
    net, x = NETS["plain"]().to(torch.bfloat16), _image()
    ours = input_gradient(net(x.to(torch.bfloat16)).sum(), x)
    (known,) = torch.autograd.grad(net(x.to(torch.bfloat16)).sum(), x)
    assert torch.equal(ours, known)


def test_rows_do_not_depend_on_each_other() -> None:
    torch.manual_seed(0)
    net, x = NETS["plain"](), _image()
    mixed = x.detach().flip(0).requires_grad_(True)
    ours = input_gradient(net(x).square().sum(), x)
    assert bool((ours.flip(0) == input_gradient(net(mixed).square().sum(), mixed)).all())
