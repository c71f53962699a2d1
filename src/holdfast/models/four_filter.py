"""The four-filter network, on which single-step training fails within a few epochs.

Source: Andriushchenko and Flammarion 2020, arXiv:2007.02617; Andriushchenko 2024, sec 2.5. The
stride and padding of 1 are those of the authors' code, and so is the initialisation `he`, from
which it fails.
"""

from torch import nn

from holdfast.core.recipes import Count
from holdfast.models.initialise import initialise
from holdfast.models.layers import chain
from holdfast.models.options import Classes, ImageShape, InitScheme, constructor


@constructor
def four_filter(
    *,
    input_shape: ImageShape = (3, 32, 32),
    classes: Classes = 10,
    filters: Count = 4,
    init: InitScheme = "framework",
) -> nn.Sequential:
    """One 3x3 convolution, ReLU, one linear layer; 41,082 parameters at the defaults."""
    depth, height, width = input_shape
    net = chain(
        *(nn.Conv2d(depth, filters, 3, padding=1), nn.ReLU(), nn.Flatten()),
        nn.Linear(filters * height * width, classes),
    )
    return initialise(net, init)
