"""Wide residual networks WRN-d-w, without dropout.

Three groups of (d - 4) / 6 pre-activation blocks with 16w, 32w and 64w channels; a block that
changes the shape activates its input before the 1x1 shortcut as well. Names of parameters are those
of the field's robust checkpoints (`block1.layer.0.convShortcut`, `fc`).

Source: Zagoruyko and Komodakis 2016, arXiv:1605.07146. Wong 2020, sec 4.3, states depth 28 where
the released code builds 34.
"""

from torch import Tensor, nn

from holdfast.core.errors import InputError
from holdfast.core.recipes import Count
from holdfast.models.initialise import initialise
from holdfast.models.options import Classes, ImageShape, InitScheme, constructor
from holdfast.models.resnet import conv


class WideBlock(nn.Module):
    """Two pre-activated 3x3 convolutions beside a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.bn1, self.relu1 = nn.BatchNorm2d(inputs), nn.ReLU()
        self.conv1 = conv(inputs, outputs, 3, stride)
        self.bn2, self.relu2 = nn.BatchNorm2d(outputs), nn.ReLU()
        self.conv2 = conv(outputs, outputs, 3)
        self.changes = inputs != outputs
        self.convShortcut = conv(inputs, outputs, 1, stride) if self.changes else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """x (B, inputs, H, W) -> (B, outputs, H / stride, W / stride)."""
        active = self.relu1(self.bn1(x))
        inner = self.conv2(self.relu2(self.bn2(self.conv1(active))))
        return inner + self.convShortcut(active if self.changes else x)


class WideGroup(nn.Module):
    """Blocks of equal width; the first carries the stride."""

    def __init__(self, blocks: int, inputs: int, outputs: int, stride: int):
        super().__init__()
        first = WideBlock(inputs, outputs, stride)
        self.layer = nn.Sequential(
            first, *(WideBlock(outputs, outputs, 1) for _ in range(blocks - 1))
        )

    def forward(self, x: Tensor) -> Tensor:
        """x (B, inputs, H, W) -> (B, outputs, H / stride, W / stride)."""
        return self.layer(x)


class WideResNet(nn.Module):
    """WRN-d-w; see `wide_resnet`."""

    def __init__(self, blocks: int, width: int, input_shape: tuple[int, int, int], classes: int):
        super().__init__()
        self.conv1 = conv(input_shape[0], 16, 3)
        self.block1 = WideGroup(blocks, 16, 16 * width, 1)
        self.block2 = WideGroup(blocks, 16 * width, 32 * width, 2)
        self.block3 = WideGroup(blocks, 32 * width, 64 * width, 2)
        self.bn1, self.relu = nn.BatchNorm2d(64 * width), nn.ReLU()
        self.fc = nn.Linear(64 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, H, W) -> logits (B, K)."""
        x = self.block3(self.block2(self.block1(self.conv1(x))))
        return self.fc(self.relu(self.bn1(x)).mean(dim=(2, 3)))


@constructor
def wide_resnet(
    *,
    input_shape: ImageShape = (3, 32, 32),
    classes: Classes = 10,
    depth: Count = 28,
    width: Count = 10,
    init: InitScheme = "fan-out",
) -> WideResNet:
    """WRN-d-w.

    Args:
        depth: d, such as 16, 28, 34 or 70: 4 more than a multiple of 6.
        width: the factor w.
        init: `fan-out` is what released implementations use.

    Returns:
        36,479,194 parameters at the defaults, 46,160,474 at depth 34.

    Raises:
        InputError: the depth does not give whole groups of blocks.
    """
    blocks, rest = divmod(depth - 4, 6)
    if rest or blocks < 1:
        raise InputError(
            "depth", depth, "is not 4 more than a multiple of 6", "give 10, 16, 22, 28, 34 or 70"
        )
    return initialise(WideResNet(blocks, width, input_shape, classes), init)
