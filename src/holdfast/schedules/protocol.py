"""What a schedule is, and the checks that schedules share."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Protocol, runtime_checkable

from holdfast.core.errors import InputError


@runtime_checkable
class Schedule(Protocol):
    """A number as a function of training progress."""

    def __call__(self, progress: float) -> float:
        """The value at `progress`, the fraction of training that is done, in [0, 1]."""
        ...


def check_progress(progress: float) -> float:
    """The progress itself, if it is in [0, 1]; else an InputError."""
    if not 0 <= progress <= 1:
        raise InputError("progress", progress, "is not in [0, 1]", "give steps done / all steps")
    return progress


def check_rising(argument: str, places: Sequence[float], *, ties: bool = False) -> None:
    """Raises an InputError unless the places lie in [0, 1] and rise; with `ties`, equal neighbours
    are admitted."""
    inside = all(0 <= place <= 1 for place in places)
    if not inside or any(a > b or (a == b and not ties) for a, b in pairwise(places)):
        raise InputError(
            argument,
            tuple(places),
            "is not a rising list of fractions of training",
            "give fractions in [0, 1] in order, such as (0.5, 0.75)",
        )
