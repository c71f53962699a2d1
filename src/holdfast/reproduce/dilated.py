"""A small network with dilated convolutions, which stands for the dilated residual networks.

Source: Yu, Koltun and Funkhouser 2017, arXiv:1705.09914 (DRN); Andriushchenko 2024, sec 3.12.3.
Departures: three convolutions, no residuals.
"""

from torch import nn


def dilated_conv(
    *, input_shape: tuple[int, int, int] = (3, 32, 32), classes: int = 10
) -> nn.Module:
    """Convolutions 24 (stride 2), 48 (stride 2, dilation 2), 48 (dilation 4), mean, linear."""
    return nn.Sequential(
        nn.Conv2d(input_shape[0], 24, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(24, 48, 3, stride=2, padding=2, dilation=2),
        nn.ReLU(),
        nn.Conv2d(48, 48, 3, padding=4, dilation=4),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(4),
        nn.Flatten(),
        nn.Linear(48 * 16, classes),
    )
