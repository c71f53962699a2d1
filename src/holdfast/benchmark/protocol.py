"""What a protocol is: the order in which attacks see the examples that still stand.

A protocol is a generator of steps over a board. Each step is run on the examples it names, less
those decided in the meantime; its findings are on the board before the next step is asked for.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, runtime_checkable
from typing import Protocol as Structural

import torch
from torch import Tensor

from holdfast.attacks.attack import Attack
from holdfast.core.ledger import Ledger
from holdfast.core.results import Outcome
from holdfast.data.images import ImageData
from holdfast.threats.protocol import Threat


@dataclass(frozen=True, eq=False)
class Step:
    """One attack on some examples.

    Args:
        name: unique within the protocol; also the name of its random draws.
        attack: what is run.
        at: (n,) positions of the examples; None for all that stand.
        start: the step at whose best points runs begin; None for the attack's own starts.
    """

    name: str
    attack: Attack
    at: Tensor | None = None
    start: str | None = None


@dataclass(frozen=True, eq=False)
class Board:
    """What a protocol sees: one row per example, over all processes.

    Args:
        ledger: outcomes and smallest margins so far.
        threat: that is searched.
        classes: K, of the model's outputs.
        points: best points (N, *E) of each step so far, NaN where it did not run.
        notes: what the protocol wants in the result, such as its audit.
    """

    ledger: Ledger
    threat: Threat
    classes: int
    points: dict[str, Tensor]
    notes: dict[str, Any]

    def standing(self) -> Tensor:
        """Positions of the examples that no method has decided."""
        return (self.ledger.outcome == Outcome.UNDECIDED).nonzero().flatten()

    def closest(self, count: int, beside: Tensor | None = None) -> Tensor:
        """Positions of the `count` standing examples of smallest margin, ties by position; those
        `beside` aside."""
        at = self.standing()
        at = at if beside is None else at[~torch.isin(at, beside)]
        order = self.ledger.margin[at].argsort(stable=True)
        return at[order[:count]].sort().values

    def fell(self, at: Tensor) -> int:
        """How many of these examples are broken by now."""
        return int((self.ledger.outcome[at] == Outcome.BROKEN).sum())


@runtime_checkable
class Protocol(Structural):
    """An order of attacks: a frozen record with a name and a version.

    A protocol whose steps depend on what others found (`adaptive`) makes processes wait for each
    other between steps, so that all see the same board.
    """

    @property
    def name(self) -> str:
        """What it is called, such as `standard`."""
        ...

    @property
    def version(self) -> str:
        """Name and number; it changes whenever answers may change."""
        ...

    @property
    def adaptive(self) -> bool:
        """Whether steps depend on what was found on other examples."""
        ...

    def steps(self, board: Board) -> Iterator[Step]:
        """The steps, one after the other."""
        ...


@dataclass(frozen=True)
class Listed:
    """Attacks in the order given, each on what the ones before left standing.

    Args:
        attacks: by name.
        name: of the protocol; empty for a list of the user's own.
        version: likewise.
    """

    attacks: tuple[tuple[str, Attack], ...]
    name: str = ""
    version: str = ""
    adaptive: bool = False

    def steps(self, board: Board) -> Iterator[Step]:
        """One step per attack."""
        for name, attack in self.attacks:
            yield Step(name, attack)


def blank(like: Tensor, count: int) -> Tensor:
    """(count, *E) of NaN: points of a step that has not run."""
    return torch.full((count, *like.shape[1:]), float("nan"), dtype=like.dtype)


def check_steps(protocol: Protocol, data: ImageData, threat: Threat) -> None:
    """Refuses a threat in which the protocol's attacks cannot move before anything is computed.

    Of an adaptive protocol the first step is looked at.

    Raises:
        InputError: what the attack's own check says.
    """
    board = Board(Ledger(data.index, data.labels), threat, data.classes, {}, {})
    steps = protocol.steps(board)
    for step in islice(steps, 1) if protocol.adaptive else steps:
        check = getattr(step.attack, "check", None)
        if check is not None:
            check(threat)
