"""Small modules that networks are chained from: inlets, activations, normalisation layers.

An inlet stands before the first layer and changes the input: `Clamp` to a box, `Binarize` at a
threshold. `chain` gives it a name of its own, so that the layers keep their numbers, and with them
their keys in a state dict, with and without it.

Source: the clamp is that of the MNIST network of Rice 2023, sec 3.1.6; the threshold, with its
straight-through gradient, that of the binarised networks of Wong 2020, sec 5.2.
"""

from collections import OrderedDict

from torch import Tensor, nn

from holdfast.models.options import ActivationName


class Clamp(nn.Module):
    """The input, clamped to [low, high]; the gradient is zero outside."""

    def __init__(self, low: float = 0.0, high: float = 1.0):
        super().__init__()
        self.low, self.high = low, high

    def forward(self, x: Tensor) -> Tensor:
        """x (B, *E) -> (B, *E)."""
        return x.clamp(self.low, self.high)


class Binarize(nn.Module):
    """1 where the input exceeds the threshold, else 0; gradients pass as through the identity.

    Guarantee: the values are exactly 0 and 1 for finite inputs.
    """

    def __init__(self, threshold: float = 0.5):
        super().__init__()
        self.threshold = threshold

    def forward(self, x: Tensor) -> Tensor:
        """x (B, *E) -> (B, *E)."""
        return (x > self.threshold).to(x.dtype) + (x - x.detach())


def activation(name: ActivationName) -> nn.Module:
    """A new activation module; none works in place."""
    kinds = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}
    return kinds[name]()


def chain(*layers: nn.Module, inlet: nn.Module | None = None) -> nn.Sequential:
    """The layers in sequence, under the names 0, 1, ...; before them `inlet`, under that name."""
    named = OrderedDict((str(i), layer) for i, layer in enumerate(layers))
    if inlet is not None:
        named["inlet"] = inlet
        named.move_to_end("inlet", last=False)
    return nn.Sequential(named)
