"""Schedules made from another schedule: warmed up, clipped, repeated, held, cut off by drops.

Source: Liu 2022, sec 4.2.4 (budget warm-up clipped at its target; periodic scheduling);
    Andriushchenko 2024, sec 6.4 (growth until a drop); Andriushchenko 2024, sec 2.9 (radius
    warm-up).
"""

import math
from bisect import bisect_left, bisect_right
from typing import Annotated, Literal

from holdfast.core.errors import InputError
from holdfast.core.recipes import Count, From, Positive, Range, hyperparameters
from holdfast.schedules.catalogue import SCHEDULES
from holdfast.schedules.protocol import Schedule, check_progress, check_rising

Part = Annotated[Schedule, From(SCHEDULES)]


@hyperparameters
class Warmup:
    """A schedule multiplied by progress / fraction until `fraction`, and left alone after it.

    Args:
        schedule: what is warmed up; it keeps its own time.
        fraction: how long the warm-up lasts.
    """

    schedule: Part
    fraction: Annotated[float, Range(gt=0, le=1)] = 0.1

    def __call__(self, progress: float) -> float:
        """The value at `progress` in [0, 1]."""
        return self.schedule(progress) * min(1.0, check_progress(progress) / self.fraction)


@hyperparameters
class Clipped:
    """A schedule kept between `low` and `high`.

    Args:
        schedule: what is clipped.
        low: the smallest value, or None.
        high: the largest value, or None.

    Source: Liu 2022, eq 4.29: the radius rises towards 0.6 along a cosine and stops at 0.4.
    """

    schedule: Part
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        if self.low is not None and self.high is not None and self.low > self.high:
            raise InputError("low", self.low, f"is above high={self.high:g}", "give a smaller one")

    def __call__(self, progress: float) -> float:
        """The value at `progress` in [0, 1]."""
        value = self.schedule(progress)
        value = value if self.low is None else max(value, self.low)
        return value if self.high is None else min(value, self.high)


@hyperparameters
class Periodic:
    """A schedule that starts again after each of the fractions `at`, stretched over each period.

    Args:
        schedule: what is repeated.
        at: rising fractions of training, strictly between 0 and 1.
        boundary: to which period a fraction of `at` itself belongs. The loop sets the values of
            step i of T at (i + 1) / T, so the step that arrives at a boundary is the last one of
            the `old` period, and the weights after it are those that the period ends with. `new`
            is for values taken at the beginning of a step or an epoch, as by `Held`.

    Source: Liu 2022, sec 4.2.4: periods that end at 1/2, 3/4 and 1.

    Example:
        >>> from holdfast.schedules import Linear
        >>> Periodic(schedule=Linear(start=1, end=0), at=(0.5,))(0.75)
        0.5
    """

    schedule: Part
    at: tuple[float, ...] = (0.5, 0.75)
    boundary: Literal["old", "new"] = "old"

    def __post_init__(self) -> None:
        check_rising("at", (0.0, *self.at, 1.0))

    def __call__(self, progress: float) -> float:
        """The value at `progress` in [0, 1]."""
        bisect = bisect_left if self.boundary == "old" else bisect_right
        period = bisect(self.at, check_progress(progress))
        begin, end = (0.0, *self.at, 1.0)[period : period + 2]
        return self.schedule((progress - begin) / (end - begin))


@hyperparameters
class Held:
    """A schedule that is looked at once per part of training, at its beginning, and held.

    Args:
        schedule: what is looked at; a `Periodic` one wants boundary = 'new' here.
        parts: of equal length: the number of epochs makes a schedule that changes by epoch.

    Source: Liu 2022, sec 4.2.4: the budget of an epoch is that of its number.

    Example:
        >>> from holdfast.schedules import Linear
        >>> Held(schedule=Linear(start=0, end=1), parts=4)(0.74)
        0.5
    """

    schedule: Part
    parts: Count

    def __call__(self, progress: float) -> float:
        """The value at `progress` in [0, 1]; the end of a part belongs to it."""
        passed = round(check_progress(progress) * self.parts, 9)  # 3.0000000000000004 is 3
        return self.schedule(max(0, math.ceil(passed) - 1) / self.parts)


@hyperparameters
class Drops:
    """A schedule until the first of the fractions `at`; from there on constants.

    The value reached at the first of them is multiplied by `factor` there, and by `factor` again at
    each further one.

    Args:
        schedule: what runs until the first drop; it keeps its own time.
        at: rising fractions of training.
        factor: what each drop multiplies with.

    Source: Andriushchenko 2024, sec 6.4: growth until 10, 30 or 50 percent of training, then a
        tenth, then at 0.9 a hundredth of what was reached.
    """

    schedule: Part
    at: tuple[float, ...] = (0.5, 0.9)
    factor: Positive = 0.1

    def __post_init__(self) -> None:
        if not self.at:
            raise InputError("at", self.at, "is empty", "give at least one fraction")
        check_rising("at", self.at)

    def __call__(self, progress: float) -> float:
        """The value at `progress` in [0, 1]."""
        drops = bisect_right(self.at, check_progress(progress))
        return self.schedule(min(progress, self.at[0])) * self.factor**drops
