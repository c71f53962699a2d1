"""The networks of the scaled provable defences: Small, Large, Wide(k), Deep(k) and a ResNet.

Strided convolutions are 4x4, stride 2, padding 1; the others 3x3, stride 1, padding 1. ReLU after
every layer but the last, biases everywhere, neither batch norm nor pooling.

Source: Wong 2020, sec 3.5.1 (Table 3.4) and 3.5.3; Wong, Schmidt, Metzen, Kolter 2018,
arXiv:1805.12514. Departures: the thesis prints 28,064 hidden units for Large on MNIST; its layers
have 48,064. Where it does not say how the unstrided and strided layers of Deep(k) are ordered, the
last of each group is strided, as in the authors' code; that code also initialises the convolutions
of ResNet, and of Small on CIFAR-10, by `fan-out`, taken here wherever the input has three channels.
"""

from torch import Tensor, nn

from holdfast.core.recipes import Count
from holdfast.models.initialise import initialise
from holdfast.models.layers import chain
from holdfast.models.mnist import strided
from holdfast.models.options import Classes, ImageShape, InitScheme, constructor, halved


@constructor
def small(
    *,
    input_shape: ImageShape = (1, 28, 28),
    classes: Classes = 10,
    init: InitScheme | None = None,
) -> nn.Sequential:
    """Small: conv 16 and conv 32, both strided, FC 100.

    Args:
        init: None means `fan-out` for three channels, else `framework`.

    Returns:
        166,406 parameters on MNIST, 214,918 on CIFAR-10.
    """
    scheme = init or ("fan-out" if input_shape[0] == 3 else "framework")
    return initialise(strided(input_shape, classes, (16, 32), 100), scheme)


@constructor
def large(*, input_shape: ImageShape = (1, 28, 28), classes: Classes = 10) -> nn.Sequential:
    """Large: conv 32, conv 32 strided, conv 64, conv 64 strided, FC 512, FC 512.

    Returns:
        1,974,762 parameters on MNIST, 2,466,858 on CIFAR-10.
    """
    depth, height, width = input_shape
    return chain(
        *_conv(depth, 32),
        *_conv(32, 32, strided=True),
        *_conv(32, 64),
        *_conv(64, 64, strided=True),
        *(nn.Flatten(), nn.Linear(64 * halved(height, 2) * halved(width, 2), 512), nn.ReLU()),
        *(nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, classes)),
    )


@constructor
def wide(
    *, input_shape: ImageShape = (1, 28, 28), classes: Classes = 10, width: Count = 4
) -> nn.Sequential:
    """Wide(k): conv 4k and conv 8k, both strided, FC 128k.

    Args:
        width: the factor k.
    """
    return strided(input_shape, classes, (4 * width, 8 * width), 128 * width)


@constructor
def deep(
    *, input_shape: ImageShape = (1, 28, 28), classes: Classes = 10, depth: Count = 2
) -> nn.Sequential:
    """Deep(k): k convolutions of 8 filters, k of 16, the last of each group strided, FC 100.

    Args:
        depth: the number k of convolutions in a group.
    """
    channels, height, width = input_shape
    layers: list[nn.Module] = []
    for filters in (8, 16):
        for index in range(depth):
            layers += _conv(channels, filters, strided=index == depth - 1)
            channels = filters
    features = 16 * halved(height, 2) * halved(width, 2)
    head = (nn.Flatten(), nn.Linear(features, 100), nn.ReLU(), nn.Linear(100, classes))
    return chain(*layers, *head)


@constructor
def provable_resnet(
    *,
    input_shape: ImageShape = (1, 28, 28),
    classes: Classes = 10,
    init: InitScheme = "fan-out",
) -> nn.Sequential:
    """ResNet: conv 16; blocks 16, 16, 32 (strided), 64 (strided); FC 1000.

    Returns:
        3,254,562 parameters on MNIST, 4,214,850 on CIFAR-10.
    """
    depth, height, width = input_shape
    features = 64 * halved(height, 2) * halved(width, 2)
    net = chain(
        *_conv(depth, 16),
        SkipConvBlock(16, 16),
        SkipConvBlock(16, 16),
        SkipConvBlock(16, 32, strided=True),
        SkipConvBlock(32, 64, strided=True),
        *(nn.Flatten(), nn.Linear(features, 1000), nn.ReLU(), nn.Linear(1000, classes)),
    )
    return initialise(net, init)


class SkipConvBlock(nn.Module):
    """relu(conv(relu(conv(x))) + skip(x)), with a convolution on every skip path.

    Args:
        strided: the first convolution is 4x4 of stride 2 and the skip 2x2 of stride 2 without
            padding; else 3x3 and 1x1.
    """

    def __init__(self, inputs: int, outputs: int, *, strided: bool = False):
        super().__init__()
        self.main = nn.Sequential(
            *_conv(inputs, outputs, strided=strided), nn.Conv2d(outputs, outputs, 3, padding=1)
        )
        side = 2 if strided else 1
        self.skip = nn.Conv2d(inputs, outputs, side, stride=side)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """x (B, inputs, H, W) -> (B, outputs, H', W'), halved where strided."""
        return self.relu(self.main(x) + self.skip(x))


def _conv(inputs: int, outputs: int, *, strided: bool = False) -> tuple[nn.Module, nn.Module]:
    if strided:
        return nn.Conv2d(inputs, outputs, 4, stride=2, padding=1), nn.ReLU()
    return nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()
