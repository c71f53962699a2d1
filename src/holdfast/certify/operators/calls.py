"""One call of an exported program, as the rules of `aten.py` read it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from holdfast.certify.operators.constants import Constant
from holdfast.core.errors import CaptureError


@dataclass(frozen=True)
class Data:
    """An argument that depends on the input: the place of its node and its shape without batch."""

    index: int
    shape: tuple[int, ...]


class Size:
    """An argument that is the batch size, or computed from it."""


@dataclass(frozen=True, eq=False)
class Call:
    """One call of the exported program.

    Args:
        name: base name of the operation, such as `conv2d`.
        arguments: by their names in the schema, defaults filled in; tensors as `Data` or
            `Constant`, the rest plain.
        shape: of the result, without the batch axis.
        place: where it stands, for messages.
        intern: puts a number into the table of constants.
    """

    name: str
    arguments: Mapping[str, Any]
    shape: tuple[int, ...]
    place: str
    intern: Callable[[float], Constant]

    def __getitem__(self, name: str) -> Any:
        return self.arguments[name]

    @property
    def operands(self) -> tuple[Data, ...]:
        """The arguments that depend on the input, in order."""
        flat = [
            each
            for value in self.arguments.values()
            for each in (value if isinstance(value, list | tuple) else [value])
        ]
        return tuple(value for value in flat if isinstance(value, Data))

    def constant(self, name: str) -> Constant:
        """The argument as a constant; a number becomes one."""
        value = self[name]
        if isinstance(value, Constant):
            return value
        if isinstance(value, int | float):
            return self.intern(value)
        return self.refuse(f"'{name}' must not depend on the input or the batch size")

    def optional(self, name: str) -> Constant | None:
        """The argument as a constant, or None."""
        return None if self[name] is None else self.constant(name)

    def refuse(self, reason: str) -> NoReturn:
        """Raises the error that names the operation and its place."""
        raise CaptureError(f"{self.name} {self.place} cannot be captured: {reason}")
