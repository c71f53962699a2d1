"""What an attack supplies to the engine, what the engine answers, and the events it sends."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from holdfast.attacks.rows import Rows
from holdfast.core.frozen import FrozenModel
from holdfast.core.results import AttackResult
from holdfast.losses.protocol import Loss
from holdfast.threats.protocol import Threat


@dataclass(frozen=True, eq=False)
class Seen:
    """What the model answered at the rows' points.

    Args:
        logits: (b, K).
        margin: (b,) not positive where the goal is reached.
        loss: (b,) the attack's objective.
        gradient: (b, *E) of the objective, or what the attack's `look` puts there; None where the
            attack sees scores only.
    """

    logits: Tensor
    margin: Tensor
    loss: Tensor
    gradient: Tensor | None

    @property
    def slope(self) -> Tensor:
        """The gradient, of an attack that asked for one."""
        assert self.gradient is not None
        return self.gradient


class Walk(Protocol):
    """What an attack supplies to the engine.

    A walk looks for any success in the threat and keeps the smallest margin; one that is `smallest`
    keeps the smallest success, and ends a run early only at one within a finite radius.
    """

    @property
    def steps(self) -> int:
        """Moves of a run; its points are the start and one after each move."""

    @property
    def objective(self) -> Loss:
        """What is maximised: (logits, y, target) -> (b,)."""

    @property
    def smallest(self) -> bool:
        """Whether the smallest success is wanted, rather than any."""

    @property
    def foresees(self) -> bool:
        """Whether its next moves can be tried before it is known what this one gives."""

    @property
    def cost(self) -> tuple[int, int]:
        """Forward and backward passes of one look."""

    def check(self, threat: Threat) -> None:
        """Raises UnsupportedThreat for a threat in which the attack cannot move."""

    def runs(self, classes: int) -> int:
        """Runs of an example, for a model with this many classes."""

    def target(self, run: Tensor, y: Tensor, logits: Tensor) -> Tensor | None:
        """The class each run aims at, (b,), from the clean logits (b, K); None if untargeted."""

    def look(self, model: FrozenModel, rows: Rows) -> tuple[Tensor, Tensor, Tensor | None]:
        """Logits, objective and gradient (or None) at the rows' points."""

    def begin(self, rows: Rows) -> Tensor:
        """The start of each row, (b, *E), in the threat; may fill `rows.memory`."""

    def advance(self, rows: Rows, seen: Seen) -> Tensor:
        """The next point of each row, (b, *E); may change `rows.memory`, and lower `rows.step` of
        rows whose move shall not count."""


@dataclass(frozen=True, eq=False)
class Finished:
    """Examples whose answer is final, while a search goes on.

    Args:
        rows: (n,) their positions in the call's batch.
        result: their part of the result.
    """

    rows: Tensor
    result: AttackResult


@dataclass(frozen=True)
class Tick:
    """A sign of life: rows that went forward and backward since the search began."""

    forwards: int
    backwards: int


Listener = Callable[[Finished | Tick], None]
