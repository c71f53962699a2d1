"""The course of training: which batch each step shows, and how far training is at it.

Training may have phases, whose batches and images have sizes of their own; then progress is counted
in epochs, of which each takes an equal part whatever its number of steps. Without phases progress
after step i of T is i / T.

Source: Wong 2020, sec 4.2.3: three phases on ImageNet, with learning rates that are linear in
    epochs within each.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from holdfast.schedules.linear import interpolate
from holdfast.schedules.protocol import Schedule
from holdfast.training.batches import Batch, Batches


@dataclass(frozen=True, eq=False)
class Stretch:
    """Some epochs with the same batches.

    Args:
        epochs: how many.
        batches: of each.
        rates: (epoch of the stretch, learning rate) in straight lines, or none.
    """

    epochs: int
    batches: Batches
    rates: tuple[tuple[float, float], ...] = ()


class Place(NamedTuple):
    """Where a step stands.

    Args:
        epoch: from 0.
        number: of its batch in the epoch, from 0.
        replay: how often the batch was shown just before, from 0.
    """

    epoch: int
    number: int
    replay: int


class Course:
    """Stretches, one after the other.

    Args:
        stretches: at least one.
        replays: how often each batch is shown in a row.
    """

    def __init__(self, stretches: Sequence[Stretch], replays: int = 1):
        self.stretches, self.replays = tuple(stretches), replays
        self._of = [stretch for stretch in self.stretches for _ in range(stretch.epochs)]
        self._ends = [0]
        for stretch in self._of:
            self._ends.append(self._ends[-1] + stretch.batches.per_epoch * replays)

    @property
    def epochs(self) -> int:
        """Epochs in all."""
        return len(self._of)

    @property
    def steps(self) -> int:
        """Steps in all."""
        return self._ends[-1]

    def end(self, epoch: int) -> int:
        """Steps done when an epoch (from 0) is over."""
        return self._ends[epoch + 1]

    def at(self, done: int) -> Place:
        """Where the next step stands, after so many."""
        epoch = bisect_right(self._ends, done) - 1
        number, replay = divmod(done - self._ends[epoch], self.replays)
        return Place(epoch, number, replay)

    def batches(self, epoch: int) -> Batches:
        """The batches of an epoch (from 0)."""
        return self._of[epoch].batches

    def batch(self, place: Place) -> Batch:
        """The batch of a step."""
        return self.batches(place.epoch).batch(place.epoch, place.number)

    def progress(self, done: int) -> float:
        """The fraction of training that is done with the step after so many."""
        if len(self.stretches) == 1:
            return (done + 1) / self.steps
        epoch = self.at(done).epoch
        return (epoch + self._within(epoch, done)) / self.epochs

    def rate(self, done: int, schedule: Schedule) -> float:
        """The learning rate of the step after so many."""
        epoch = self.at(done).epoch
        stretch = self._of[epoch]
        if not stretch.rates:
            return schedule(self.progress(done))
        first = self._of.index(stretch)
        return interpolate(stretch.rates, epoch - first + self._within(epoch, done))

    def shown(self, done: int) -> int:
        """Examples that so many steps show, over all processes."""
        if done == self.steps:
            place, total = Place(self.epochs, 0, 0), 0
        else:
            place = self.at(done)
            batches, total = self.batches(place.epoch), 0
            total += place.number * batches.size * self.replays
            total += place.replay * batches.rows(place.number)
        return total + sum(each.batches.examples for each in self._of[: place.epoch]) * self.replays

    def _within(self, epoch: int, done: int) -> float:
        begin, end = self._ends[epoch : epoch + 2]
        return (done + 1 - begin) / (end - begin)
