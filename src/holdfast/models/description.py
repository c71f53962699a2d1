"""What a network consists of: parameters, layers, hidden units."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from holdfast.core.frozen import device_of, evaluation_mode
from holdfast.models.registry import Architecture, architecture_of

ACTIVATIONS = (nn.ReLU, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Softplus, nn.Tanh, nn.Sigmoid)


@dataclass(frozen=True)
class Layer:
    """One module without children.

    Args:
        path: its name in the model, such as `layer1.0.conv1`.
        kind: its class.
        parameters: how many numbers it learns.
    """

    path: str
    kind: str
    parameters: int


@dataclass(frozen=True)
class Description:
    """A network in numbers.

    Args:
        architecture: how to build it, where it is known.
        parameters: learned numbers, each shared tensor once.
        trainable: those of them that ask for a gradient.
        bytes: memory of parameters and buffers.
        layers: the modules without children, in order.
        hidden_units: outputs of activation modules for one example; None where the shape of the
            input is not known.
    """

    architecture: Architecture | None
    parameters: int
    trainable: int
    bytes: int
    layers: tuple[Layer, ...]
    hidden_units: int | None


def describe(model: nn.Module, *, input_shape: Sequence[int] | None = None) -> Description:
    """The network in numbers.

    Args:
        input_shape: of one example; None takes the recorded architecture's.

    Cost: one forward pass of two examples of zeros where the shape is known.
    """
    architecture = architecture_of(model)
    shape = input_shape or (architecture and architecture.options.get("input_shape"))
    tensors = (*model.parameters(), *model.buffers())
    return Description(
        architecture=architecture,
        parameters=parameter_count(model),
        trainable=sum(each.numel() for each in model.parameters() if each.requires_grad),
        bytes=sum(each.numel() * each.element_size() for each in tensors),
        layers=tuple(
            Layer(path, type(module).__name__, parameter_count(module))
            for path, module in model.named_modules()
            if not any(True for _ in module.children())
        ),
        hidden_units=hidden_units(model, shape) if shape else None,
    )


def parameter_count(model: nn.Module) -> int:
    """How many numbers the module learns; a tensor shared by two layers counts once."""
    return sum(each.numel() for each in model.parameters())


def hidden_units(model: nn.Module, input_shape: Sequence[int]) -> int:
    """The outputs of the model's activation modules for one example of shape `input_shape`.

    Activations that are called as functions are not seen.

    Cost: one forward pass of two examples.
    """
    found = _Counter()
    kinds = (each.dtype for each in model.parameters() if each.is_floating_point())
    kind = next(kinds, torch.float32)
    example = torch.zeros(2, *input_shape, dtype=kind, device=device_of(model))
    with evaluation_mode(model), _hooked(model, found), torch.no_grad():
        model(example)
    return found.units


class _Counter:
    units = 0

    def __call__(self, module: nn.Module, inputs: object, output: Tensor) -> None:
        self.units += math.prod(output.shape[1:])


@contextmanager
def _hooked(model: nn.Module, counter: _Counter) -> Iterator[None]:
    handles = [
        each.register_forward_hook(counter)
        for each in model.modules()
        if isinstance(each, ACTIVATIONS)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
