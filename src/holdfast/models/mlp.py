"""Fully connected networks.

| name | layers | source |
|---|---|---|
| `mlp` | hidden layers as given; three of 100 by default | Liu 2022, sec 3.2.2 |
| `fc1` | one hidden layer of 1024: 784-1024-10 | Liu 2022, sec 3.3.4 |
| `fc500` | one hidden layer of 500: 784-500-10 | Wong 2020, sec 3.3 (LP-NN) |

Inputs of any shape are flattened.
"""

import math
from itertools import pairwise

from torch import nn

from holdfast.core.recipes import Count
from holdfast.models.initialise import initialise
from holdfast.models.layers import activation as activation_module
from holdfast.models.layers import chain
from holdfast.models.options import ActivationName, Classes, InitScheme, InputShape, constructor


@constructor
def mlp(
    *,
    input_shape: InputShape = (1, 28, 28),
    classes: Classes = 10,
    hidden: tuple[Count, ...] = (100, 100, 100),
    activation: ActivationName = "relu",
    init: InitScheme = "framework",
) -> nn.Sequential:
    """A fully connected network.

    Args:
        input_shape: of one example: (1, 28, 28), or (561,) for vectors.
        hidden: widths of the hidden layers; none gives a linear model.

    Returns:
        99,710 parameters at the defaults.
    """
    widths = (math.prod(input_shape), *hidden, classes)
    layers: list[nn.Module] = [nn.Flatten()]
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), activation_module(activation)]
    return initialise(chain(*layers[:-1]), init)


@constructor
def fc1(
    *,
    input_shape: InputShape = (1, 28, 28),
    classes: Classes = 10,
    width: Count = 1024,
    activation: ActivationName = "relu",
    init: InitScheme = "framework",
) -> nn.Sequential:
    """FC1: one hidden layer of `width` units; 814,090 parameters at the defaults."""
    return mlp(
        input_shape=input_shape, classes=classes, hidden=(width,), activation=activation, init=init
    )


@constructor
def fc500(*, input_shape: InputShape = (1, 28, 28), classes: Classes = 10) -> nn.Sequential:
    """One hidden layer of 500 units; 397,510 parameters at the defaults."""
    return mlp(input_shape=input_shape, classes=classes, hidden=(500,))
