"""What training tells while it goes on; the caller shows it, the library prints nothing."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Started:
    """Training begins or goes on.

    Args:
        epochs: in all.
        steps: weight steps in all.
        done: steps done before, by a run that is resumed.
        examples: trained on.
        validation: held out.
        forwards: forward passes of examples that the whole training takes, validation aside.
        backwards: backward passes likewise.
    """

    epochs: int
    steps: int
    done: int
    examples: int
    validation: int
    forwards: int
    backwards: int


@dataclass(frozen=True)
class StepDone:
    """Some steps were done since the last such event.

    Args:
        epoch: the current one, from 1.
        step: steps done, of `steps`.
        steps: weight steps in all.
        logs: means over the examples since the last event: `loss`, `accuracy` and what the
            objective logs.
        learning_rate: of the last step.
        radius: of the last step's threat.
        seconds: of training so far, interruptions aside.
        left: seconds to the end, estimated.
    """

    epoch: int
    step: int
    steps: int
    logs: Mapping[str, float]
    learning_rate: float
    radius: float
    seconds: float
    left: float


@dataclass(frozen=True)
class EpochDone:
    """An epoch ended.

    Args:
        epoch: which, from 1, of `epochs`.
        epochs: in all.
        logs: means over the epoch's examples.
        clean: clean accuracy on the validation examples, or None where it was not measured.
        robust: robust accuracy there, or None.
        improved: whether this is the best checkpoint so far.
        seconds: of training so far, interruptions aside.
        left: seconds to the end, estimated.
    """

    epoch: int
    epochs: int
    logs: Mapping[str, float]
    clean: float | None
    robust: float | None
    improved: bool
    seconds: float
    left: float


@dataclass(frozen=True)
class Warned:
    """Something about the training should be looked at.

    Args:
        text: one line.
    """

    text: str


Event = Started | StepDone | EpochDone | Warned
Listener = Callable[[Event], None]
