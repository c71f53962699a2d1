"""LeNet with a width factor.

Source: Liu 2022, Table 4.1; kernels 5x5 with padding 2 and biases, as in the author's code. Its
196w inputs of the first linear layer ask for a 2x2 max-pool after each convolution.
"""

from torch import nn

from holdfast.core.recipes import Count
from holdfast.models.layers import chain
from holdfast.models.options import Classes, ImageShape, constructor, halved


@constructor
def lenet(
    *, input_shape: ImageShape = (1, 28, 28), classes: Classes = 10, factor: Count = 16
) -> nn.Sequential:
    """Conv 2w, pool, conv 4w, pool, FC 64w, FC.

    Args:
        factor: the width factor w.

    Returns:
        3,274,634 parameters at the defaults.
    """
    depth, height, width = input_shape
    first, second, hidden = 2 * factor, 4 * factor, 64 * factor
    return chain(
        *(nn.Conv2d(depth, first, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(first, second, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
        *(nn.Linear(second * halved(height, 2) * halved(width, 2), hidden), nn.ReLU()),
        nn.Linear(hidden, classes),
    )
