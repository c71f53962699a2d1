"""The operations that a threat may offer. A method asks for the protocol it needs, no base class.

`Threat` is the full set that norm balls have. A method that needs less asks for less:
`Membership` to check and report, `Searchable` for gradient attacks, `Boundable` for certificates;
those three can be asked for with `isinstance`.
"""

from typing import Protocol, Self, runtime_checkable

from torch import Tensor

from holdfast.core.random import Keys


@runtime_checkable
class Membership(Protocol):
    """A set around x in which results are checked and measured."""

    def contains(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """Whether x_adv (B, *E) belongs to the set around x, up to a stated tolerance; (B,)."""

    def size(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """The smallest radius that contains it, (B,)."""


@runtime_checkable
class Searchable(Membership, Protocol):
    """A set in which gradient attacks move."""

    @property
    def reach(self) -> float | Tensor:
        """The length, as `steepest` measures it, from the centre to the surface: a number or
        (B,)."""

    def project(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """The nearest point of the set, (B, *E)."""

    def steepest(self, grad: Tensor, length: float | Tensor) -> Tensor:
        """The step of at most this length that maximises <grad, step>, (B, *E)."""

    def sample(self, x: Tensor, *, keys: Keys, step: int | Tensor = 0) -> Tensor:
        """A random member, (B, *E)."""

    def rows(self, which: Tensor) -> Self:
        """The threat of selected examples."""


@runtime_checkable
class Boundable(Membership, Protocol):
    """A set over which linear functions are bounded."""

    def hull(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The smallest box around all that `contains` accepts, (lo, hi)."""

    def support(self, v: Tensor, x: Tensor) -> Tensor:
        """The largest <v, x'> over the set, (B, R), for v (B, R, *E)."""

    def accepted(self) -> Self:
        """The set with the tolerance of `contains` included."""


class Threat(Searchable, Boundable, Protocol):
    """Everything a norm ball offers; for annotations, not for `isinstance`."""

    @property
    def text(self) -> str:
        """The text form; an InputError where there is none."""

    @property
    def p(self) -> float:
        """The exponent of the norm: inf, 2 or 1."""

    @property
    def name(self) -> str:
        """The name in records: the text form."""

    @property
    def radius(self) -> float | Tensor:
        """A number, one per example, or one per feature."""

    @property
    def box(self) -> tuple[float, float] | None:
        """The range of valid inputs, or None."""

    def at(self, radius: float | str | Tensor) -> Self:
        """The same geometry with another radius."""
