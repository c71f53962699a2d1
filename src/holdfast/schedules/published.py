"""Schedules as they were published, with the number of epochs that each was published for.

Source: Wong 2020, sec 4.3.2 (the five schedules of robust overfitting) and 4.3.3, Table 4.11 (one
    drop, tuned), sec 4.2.3 (ImageNet in three phases); Liu 2022, sec 4.2.4 (periodic scheduling).
Departures: `linear-code` is the curve of the released code, which differs from the text's. The
    learning rate of periodic scheduling is published as a figure only; ours is a reconstruction.
"""

from typing import NamedTuple

from holdfast.core.errors import InputError
from holdfast.schedules.budget import Budget
from holdfast.schedules.composed import Held, Periodic
from holdfast.schedules.cosine import Cosine
from holdfast.schedules.linear import Cyclic, Knots, Linear
from holdfast.schedules.piecewise import Piecewise, Steps
from holdfast.schedules.protocol import Schedule

PERIODS = (0.5, 0.75)
"""Where the periods of 100, 50 and 50 epochs end; the last one ends with training."""


class Published(NamedTuple):
    """A schedule and how long it was published for.

    Args:
        schedule: over the whole training.
        epochs: of that training.
    """

    schedule: Schedule
    epochs: int


LEARNING_RATES = {
    "piecewise": Published(Piecewise(value=0.1), 200),
    "multiple": Published(Steps(values=tuple((10 - i) / 100 for i in range(10))), 500),
    "linear": Published(Linear(start=0.1, end=0.01, begin=0.5, finish=0.75), 200),
    "linear-code": Published(
        Knots(points=((0.0, 0.1), (1 / 3, 0.1), (2 / 3, 0.01), (1.0, 0.001))), 200
    ),
    "cyclic": Published(Cyclic(peak=0.2, at=0.4), 200),
    "cosine": Published(Cosine(value=0.1), 200),
}
"""The learning rates compared for robust overfitting."""

IMAGENET = Published(
    Knots(
        points=(
            (0 / 15, 0.0),
            (1 / 15, 0.4),
            (6 / 15, 0.04),
            (12 / 15, 0.004),
            (15 / 15, 0.0004),
        )
    ),
    15,
)
"""The learning rate of fast training on ImageNet, in phases of 6, 6 and 3 epochs."""


class Tuned(NamedTuple):
    """A row of the tuning of a single drop.

    Args:
        epoch: of the drop.
        start: the learning rate before it.
        end: the learning rate after it.
        error: the best robust error, in percent.
    """

    epoch: int
    start: float
    end: float
    error: float

    @property
    def epochs(self) -> int:
        """How long was trained: 150 epochs, and 110 where the drop was moved."""
        return 150 if self.epoch == 100 else 110

    @property
    def schedule(self) -> Steps:
        """The learning rate of the row."""
        return one_drop(self.epoch / self.epochs, start=self.start, end=self.end)


TUNING = (
    Tuned(100, 0.1, 0.01, 46.7),
    Tuned(60, 0.1, 0.01, 47.4),
    Tuned(70, 0.1, 0.01, 47.3),
    Tuned(80, 0.1, 0.01, 46.9),
    Tuned(90, 0.1, 0.01, 47.3),
    Tuned(100, 0.06, 0.01, 47.4),
    Tuned(100, 0.08, 0.01, 46.7),
    Tuned(100, 0.3, 0.01, 48.7),
    Tuned(100, 0.5, 0.01, 51.0),
    Tuned(100, 0.1, 0.006, 46.0),
    Tuned(100, 0.1, 0.008, 46.1),
    Tuned(100, 0.1, 0.03, 47.8),
    Tuned(100, 0.1, 0.05, 49.3),
)
"""Table 4.11: only the end value helps."""


def one_drop(at: float = 100 / 150, *, start: float = 0.1, end: float = 0.01) -> Steps:
    """A learning rate that drops once, at the fraction `at` of training."""
    return Steps(values=(start, end), at=(at,))


def periodic(
    rate: float = 0.1, *, budget: Budget | None = None, epochs: int = 200
) -> tuple[Periodic, Held]:
    """The learning rate and the radius factor of periodic adversarial scheduling.

    Both start again after 1/2 and 3/4 of training. The learning rate drops to a tenth at half and
    at three quarters of each period; the radius of an epoch is that of its number.

    Args:
        rate: the learning rate at the start of a period: 0.1 for ResNet-18, 0.01 for VGG.
        budget: None takes the cosine towards twice the target, as published for CIFAR-10.
        epochs: of all periods together.

    Raises:
        InputError: a rate that is not positive.
    """
    if not rate > 0:
        raise InputError("rate", rate, "is not positive", "give a learning rate, such as 0.1")
    radius = Periodic(schedule=budget or Budget(), at=PERIODS, boundary="new")
    return Periodic(schedule=Piecewise(value=rate), at=PERIODS), Held(schedule=radius, parts=epochs)
