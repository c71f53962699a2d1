"""Initialisation of weights, where a network's source departs from the framework's default.

- `framework`: what PyTorch does.
- `fan-out`: convolutions N(0, 2 / (kh kw out)) with zero bias; linear layers as the framework does.
- `he`: convolutions as `fan-out`, linear layers N(0, 2 / in), all biases zero.

The second argument of N is the variance.

Source: He et al. 2015, arXiv:1502.01852; `fan-out` is what the CIFAR networks of Wong 2020,
sec 3.5, use; `he` what Andriushchenko 2024, sec 2.3, uses.
"""

from typing import TypeVar

from torch import nn

from holdfast.models.options import InitScheme

Module = TypeVar("Module", bound=nn.Module)


def initialise(model: Module, scheme: InitScheme) -> Module:
    """Draws the weights of all convolutions and linear layers anew, in place; the same model."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and scheme != "framework":
            fan_out = module.out_channels * module.kernel_size[0] * module.kernel_size[1]
            _draw(module, fan_out)
        elif isinstance(module, nn.Linear) and scheme == "he":
            _draw(module, module.in_features)
    return model


def _draw(layer: nn.Conv2d | nn.Linear, fan: int) -> None:
    nn.init.normal_(layer.weight, 0.0, (2 / fan) ** 0.5)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
