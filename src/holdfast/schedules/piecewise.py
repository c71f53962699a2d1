"""Staircases: values that jump at given fractions of training.

At the very fraction of a jump the new value holds already: with drops at 100 and 150 of 200 epochs,
epoch 99.99 still has the first value and epoch 100 the second.

Source: Wong 2020, sec 4.3.2 (piecewise and multiple decay).
"""

from bisect import bisect_right

from holdfast.core.errors import InputError
from holdfast.core.recipes import Positive, hyperparameters
from holdfast.schedules.protocol import check_progress, check_rising


@hyperparameters
class Piecewise:
    """A value multiplied by `factor` at each of the fractions `at`.

    Args:
        value: the value at the start.
        at: rising fractions of training.
        factor: what each of them multiplies the value with.

    Source: Wong 2020, sec 4.3.2, the primary schedule: 0.1 divided by 10 at 1/2 and 3/4.

    Example:
        >>> Piecewise(value=0.1, factor=0.5)(0.6)
        0.05
    """

    value: float
    at: tuple[float, ...] = (0.5, 0.75)
    factor: Positive = 0.1

    def __post_init__(self) -> None:
        check_rising("at", self.at)

    def __call__(self, progress: float) -> float:
        """The value at `progress` in [0, 1]."""
        drops = bisect_right(self.at, check_progress(progress))
        return self.value * self.factor**drops


@hyperparameters
class Steps:
    """The values in order, each held until the next fraction of `at`.

    Args:
        values: the values of the plateaus.
        at: where the second and later plateaus begin, one fewer than the values; None means
            plateaus of equal length.

    Source: Wong 2020, sec 4.3.2: multiple decay is 0.1, 0.09, ..., 0.01 in ten plateaus.

    Example:
        >>> Steps(values=(0.3, 0.2, 0.1))(0.5)
        0.2
    """

    values: tuple[float, ...]
    at: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if not self.values:
            raise InputError("values", self.values, "is empty", "give at least one value")
        check_rising("at", self.jumps)
        if len(self.jumps) != len(self.values) - 1:
            raise InputError(
                "at",
                self.at,
                f"does not fit {len(self.values)} values",
                f"give {len(self.values) - 1} fractions",
            )

    @property
    def jumps(self) -> tuple[float, ...]:
        """The fractions at which the second and later plateaus begin."""
        if self.at is not None:
            return self.at
        count = len(self.values)
        return tuple(i / count for i in range(1, count))

    def __call__(self, progress: float) -> float:
        """The value at `progress` in [0, 1]."""
        return self.values[bisect_right(self.jumps, check_progress(progress))]
