"""DenseNet for 32x32 images: three dense blocks of equal depth.

A layer of a block is BN-ReLU-conv 3x3 with k outputs, appended to its input; with bottlenecks,
BN-ReLU-conv 1x1 with 4k outputs goes before. Between blocks BN-ReLU, a 1x1 convolution, which
halves the channels where there are bottlenecks, and a 2x2 average pool.

Source: Huang et al. 2016, arXiv:1608.06993; DenseNet-100-12 is a network of Andriushchenko 2024,
sec 6.4.3, which does not say whether it has bottlenecks.
"""

import torch
from torch import Tensor, nn

from holdfast.core.errors import InputError
from holdfast.core.recipes import Count
from holdfast.models.initialise import initialise
from holdfast.models.options import Classes, ImageShape, InitScheme, constructor
from holdfast.models.resnet import conv


class DenseLayer(nn.Module):
    """Its input with `growth` new channels appended."""

    def __init__(self, inputs: int, growth: int, bottleneck: bool):
        super().__init__()
        inner = 4 * growth if bottleneck else inputs
        squeeze = _unit(inputs, inner, 1) if bottleneck else ()
        self.branch = nn.Sequential(*squeeze, *_unit(inner, growth, 3))

    def forward(self, x: Tensor) -> Tensor:
        """x (B, inputs, H, W) -> (B, inputs + growth, H, W)."""
        return torch.cat([x, self.branch(x)], dim=1)


@constructor
def densenet(
    *,
    input_shape: ImageShape = (3, 32, 32),
    classes: Classes = 10,
    depth: Count = 100,
    growth: Count = 12,
    bottleneck: bool = False,
    init: InitScheme = "fan-out",
) -> nn.Sequential:
    """DenseNet-depth-growth.

    Args:
        depth: 4 more than a multiple of 3, or of 6 with bottlenecks.
        growth: channels k that a layer adds.
        bottleneck: DenseNet-BC.

    Returns:
        6,979,642 parameters at the defaults, 769,162 with bottlenecks.

    Raises:
        InputError: the depth does not give whole blocks.
    """
    per_block, rest = divmod(depth - 4, 6 if bottleneck else 3)
    if rest or per_block < 1:
        multiple = 6 if bottleneck else 3
        problem = f"is not 4 more than a multiple of {multiple}"
        raise InputError("depth", depth, problem, "give 10, 22, 40 or 100")
    channels = 2 * growth if bottleneck else 16
    layers: list[nn.Module] = [conv(input_shape[0], channels, 3)]
    for block in range(3):
        for _ in range(per_block):
            layers.append(DenseLayer(channels, growth, bottleneck))
            channels += growth
        if block < 2:
            outputs = channels // 2 if bottleneck else channels
            layers += [*_unit(channels, outputs, 1), nn.AvgPool2d(2)]
            channels = outputs
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))
    net = nn.Sequential(*layers, nn.BatchNorm2d(channels), nn.ReLU(), *head)
    return initialise(net, init)


def _unit(inputs: int, outputs: int, side: int) -> tuple[nn.Module, nn.Module, nn.Module]:
    return nn.BatchNorm2d(inputs), nn.ReLU(), conv(inputs, outputs, side)
