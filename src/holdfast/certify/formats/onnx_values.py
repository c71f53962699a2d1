"""The operands of an ONNX operator: constants, and values for many examples at once.

A network of the verification competitions computes on arrays with a first axis of one, which is the
batch, or on arrays without any batch axis. A `Value` holds such an array for B examples at once:

    shape (1, *E) of rank two or more  ->  tensor (B, *E)      ("led": the one is the batch)
    any other shape S                  ->  tensor (B, *S)

A rule that touches only the axes of E works on (B, *E); one that moves the leading axis works on
(B, 1, *E) and is settled afterwards. Nothing is ever mixed between examples, and a batch of one
that is written into a `Reshape` is no obstacle.

Source: the ONNX operator specification.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn

import numpy as np
from torch import Tensor

from holdfast.core.errors import CaptureError

Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]


class Known(NamedTuple):
    """An operand that does not depend on the input: its array, and its tensor on the device."""

    array: Array
    tensor: Tensor


class Value(NamedTuple):
    """An operand that depends on the input, for B examples."""

    tensor: Tensor
    led: bool

    @property
    def shape(self) -> Shape:
        """Its shape in the file, for a batch of one."""
        inner = tuple(self.tensor.shape[1:])
        return (1, *inner) if self.led else inner

    @property
    def whole(self) -> Tensor:
        """The tensor (B, *shape)."""
        return self.tensor.unsqueeze(1) if self.led else self.tensor


def is_led(shape: Shape) -> bool:
    """Whether the first axis of this shape stands for the batch."""
    return len(shape) > 1 and shape[0] == 1


def shaped(tensor: Tensor, shape: Shape) -> Value:
    """The numbers of each example, (B, ...), as a value of this shape."""
    led = is_led(shape)
    inner = shape[1:] if led else shape
    if tuple(tensor.shape[1:]) != inner:
        tensor = tensor.reshape(tensor.shape[0], *inner)
    return Value(tensor, led)


def settled(tensor: Tensor, led: bool) -> Value:
    """A result in either layout as a value."""
    return shaped(tensor, Value(tensor, led).shape)


@dataclass(frozen=True, eq=False)
class OnnxCall:
    """One node of the file, with its operands.

    Args:
        operator: its name, such as `Gemm`.
        attributes: as in the file.
        inputs: one per input of the node; None for one that is left out.
    """

    operator: str
    attributes: Mapping[str, Any]
    inputs: Sequence[Value | Known | None]

    def __getitem__(self, place: int) -> Value | Known | None:
        return self.inputs[place] if place < len(self.inputs) else None

    @property
    def x(self) -> Value:
        """The first operand, which must depend on the input."""
        first = self[0]
        return first if isinstance(first, Value) else self.refuse("its first input is a constant")

    def attribute(self, name: str, default: Any) -> Any:
        """An attribute, or what the specification gives where it is absent."""
        return self.attributes.get(name, default)

    def known(self, place: int, name: str) -> Known:
        """An operand that must be a constant."""
        value = self[place]
        return value if isinstance(value, Known) else self.refuse(f"its {name} is no constant")

    def place(self, axis: int, rank: int) -> int:
        """An axis of an array of this rank, counted from the front."""
        if not -rank <= int(axis) < rank:
            self.refuse(f"there is no axis {int(axis)} in {rank}")
        return int(axis) % rank

    def numbers(self, name: str, place: int) -> list[Any] | None:
        """Plain numbers from an attribute (older sets) or from a constant operand (newer ones)."""
        if name in self.attributes:
            return list(np.atleast_1d(self.attributes[name]).tolist())
        if self[place] is None:
            return None
        return list(np.atleast_1d(self.known(place, name).array).tolist())

    def refuse(self, problem: str) -> NoReturn:
        """Raises CaptureError: this use of the operator has no rule."""
        raise CaptureError(problem)
