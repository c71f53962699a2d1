"""Schedules of straight lines between knots.

Source: Wong 2020, sec 4.2.2 and 4.3.2 (cyclic and linear), sec 4.2.3 (the phases of ImageNet);
    Wong 2020, sec 3.3.1 (the ramp of the radius).
"""

from bisect import bisect_right
from typing import Annotated

from holdfast.core.errors import InputError
from holdfast.core.recipes import Fraction, Range, hyperparameters
from holdfast.schedules.protocol import check_progress, check_rising


@hyperparameters
class Linear:
    """A straight line from `start` to `end`, held before `begin` and after `finish`.

    Args:
        start: the value until `begin`.
        end: the value from `finish` on.
        begin: fraction of training at which the line begins.
        finish: fraction of training at which it ends.

    Example:
        >>> Linear(start=0.0, end=0.3, finish=0.5)(0.25)
        0.15
    """

    start: float
    end: float
    begin: Fraction = 0.0
    finish: Fraction = 1.0

    def __post_init__(self) -> None:
        if self.begin >= self.finish:
            raise InputError(
                "begin", self.begin, f"is not before finish={self.finish:g}", "give a smaller one"
            )

    def __call__(self, progress: float) -> float:
        """The value at `progress` in [0, 1]."""
        points = ((self.begin, self.start), (self.finish, self.end))
        return interpolate(points, check_progress(progress))


@hyperparameters
class Cyclic:
    """A triangle: from 0 up to `peak` at the fraction `at`, and back to 0.

    Args:
        peak: the largest value.
        at: where it is reached; 2/5 in Wong 2020, sec 4.3.2, and on MNIST.
    """

    peak: float
    at: Annotated[float, Range(gt=0, lt=1)] = 0.5

    def __call__(self, progress: float) -> float:
        """The value at `progress` in [0, 1]."""
        points = ((0.0, 0.0), (self.at, self.peak), (1.0, 0.0))
        return interpolate(points, check_progress(progress))


@hyperparameters
class Knots:
    """Straight lines through the given points; the general form of this file.

    Args:
        points: (fraction of training, value), fractions not falling. Two points at one fraction
            make a jump, at which the later one holds. Before the first and after the last point
            the value is held.

    Example:
        >>> Knots(points=((0, 0), (0.2, 0.4), (1, 0)))(0.1)
        0.2
    """

    points: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        if not self.points:
            raise InputError("points", self.points, "is empty", "give at least one point")
        check_rising("points", [place for place, _ in self.points], ties=True)

    def __call__(self, progress: float) -> float:
        """The value at `progress` in [0, 1]."""
        return interpolate(self.points, check_progress(progress))


def interpolate(points: tuple[tuple[float, float], ...], place: float) -> float:
    """The value at `place` on the line through the points, exact at the points themselves."""
    after = bisect_right(points, place, key=lambda point: point[0])
    if after == 0:
        return points[0][1]
    if after == len(points):
        return points[-1][1]
    (left, low), (right, high) = points[after - 1], points[after]
    share = (place - left) / (right - left)
    return (1 - share) * low + share * high
