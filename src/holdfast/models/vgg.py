"""VGG-16 with batch norm and a width factor, for 32x32 images.

Source: Simonyan and Zisserman 2014, arXiv:1409.1556; Liu 2022, Table 4.1, whose row is broken over
two lines. Its average pool acts on a 1x1 map, so it is left out.
"""

from torch import nn

from holdfast.core.recipes import Count
from holdfast.models.layers import chain
from holdfast.models.options import Classes, ImageShape, constructor, halved

STAGES = ((4, 4), (8, 8), (16, 16, 16), (32, 32, 32), (32, 32, 32))


@constructor
def vgg16(
    *, input_shape: ImageShape = (3, 32, 32), classes: Classes = 10, factor: Count = 16
) -> nn.Sequential:
    """Thirteen 3x3 convolutions with batch norm and ReLU in five stages, each max-pooled; FC.

    Args:
        factor: the width factor w; 16 gives VGG-16, 8 is the thesis's default.

    Returns:
        14,728,266 parameters at the defaults.
    """
    channels, height, width = input_shape
    layers: list[nn.Module] = []
    for stage in STAGES:
        for multiple in stage:
            outputs = multiple * factor
            layers.append(nn.Conv2d(channels, outputs, 3, padding=1))
            layers += [nn.BatchNorm2d(outputs), nn.ReLU()]
            channels = outputs
        layers.append(nn.MaxPool2d(2))
    features = channels * halved(height, 5) * halved(width, 5)
    return chain(*layers, nn.Flatten(), nn.Linear(features, classes))
