"""Small convolutional networks for MNIST, and one for 8x8 digits.

| name | layers | source |
|---|---|---|
| `mnist_conv` | conv 16 and 32 (4x4, stride 2), FC 100 | Wong 2020, sec 3.3; Liu 2022, sec 3.3.4 |
| `mnist_maxpool` | conv 32 and 64 (5x5) with max-pools, FC 1024 | Wong 2020, sec 5.4.1 |
| `mnist_strided` | conv 32 and 64 (4x4, stride 2), FC 1024 | Rice 2023, sec 3.1.6 |
| `digits_conv` | conv 16 (3x3) and 32 (4x4, stride 2), FC 64 | of this library |

All are `nn.Sequential`s with biases and an activation after every layer but the last.
"""

from torch import nn

from holdfast.core.recipes import Count
from holdfast.models.layers import Binarize, Clamp, activation, chain
from holdfast.models.options import ActivationName, Classes, ImageShape, constructor, halved


@constructor
def mnist_conv(
    *,
    input_shape: ImageShape = (1, 28, 28),
    classes: Classes = 10,
    activation: ActivationName = "relu",
    threshold: float | None = None,
) -> nn.Sequential:
    """The 16-32-100 network: the common small network of verification and fast training.

    Args:
        activation: also `tanh` or `sigmoid`, for bounds on smooth networks.
        threshold: binarises the input there, inside the model, with a straight-through gradient.

    Returns:
        166,406 parameters at the defaults; parameters under the keys 0, 2, 5 and 7.
    """
    inlet = None if threshold is None else Binarize(threshold)
    return strided(input_shape, classes, (16, 32), 100, activation, inlet)


@constructor
def mnist_strided(
    *, input_shape: ImageShape = (1, 28, 28), classes: Classes = 10, clamp: bool = False
) -> nn.Sequential:
    """The 32-64-1024 network with strides.

    Args:
        clamp: clamps the input to [0, 1] inside the model; perturbations may then leave the box.

    Returns:
        3,255,914 parameters at the defaults.
    """
    return strided(input_shape, classes, (32, 64), 1024, "relu", Clamp() if clamp else None)


@constructor
def mnist_maxpool(*, input_shape: ImageShape = (1, 28, 28), classes: Classes = 10) -> nn.Sequential:
    """The 32-64-1024 network with 5x5 convolutions and 2x2 max-pools.

    Returns:
        3,274,634 parameters at the defaults.
    """
    depth, height, width = input_shape
    return chain(
        *(nn.Conv2d(depth, 32, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 64, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
        *(nn.Linear(64 * halved(height, 2) * halved(width, 2), 1024), nn.ReLU()),
        nn.Linear(1024, classes),
    )


@constructor
def digits_conv(
    *, input_shape: ImageShape = (1, 8, 8), classes: Classes = 10, width: Count = 16
) -> nn.Sequential:
    """A small network for 8x8 digits: trains in seconds, and its interval bounds stay useful.

    Args:
        width: channels of the first convolution; the second has twice as many, the hidden linear
            layer four times.

    Returns:
        41,866 parameters at the defaults.
    """
    depth, height, across = input_shape
    return chain(
        *(nn.Conv2d(depth, width, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(width, 2 * width, 4, stride=2, padding=1), nn.ReLU(), nn.Flatten()),
        *(nn.Linear(2 * width * halved(height, 1) * halved(across, 1), 4 * width), nn.ReLU()),
        nn.Linear(4 * width, classes),
    )


def strided(
    input_shape: ImageShape,
    classes: int,
    channels: tuple[int, int],
    hidden: int,
    kind: ActivationName = "relu",
    inlet: nn.Module | None = None,
) -> nn.Sequential:
    """Two 4x4 convolutions of stride 2, one hidden linear layer, logits."""
    depth, height, width = input_shape
    first, second = channels
    return chain(
        *(nn.Conv2d(depth, first, 4, stride=2, padding=1), activation(kind)),
        *(nn.Conv2d(first, second, 4, stride=2, padding=1), activation(kind), nn.Flatten()),
        *(nn.Linear(second * halved(height, 2) * halved(width, 2), hidden), activation(kind)),
        nn.Linear(hidden, classes),
        inlet=inlet,
    )
