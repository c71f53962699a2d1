"""Values that grow: large step sizes reached gradually, without divergence.

Source: Andriushchenko 2024, sec 6.4 (linear, power and exponential warm-up before the decay).
"""

from holdfast.core.recipes import Positive, hyperparameters
from holdfast.schedules.protocol import check_progress


@hyperparameters
class Power:
    """value * (1 + (factor - 1) * progress^exponent).

    Args:
        value: the value at the start.
        factor: how many times larger the value is at the end.
        exponent: 1 grows linearly, 0.5 fast at first.

    Example:
        >>> Power(value=2, factor=3)(0.25)
        3.0
    """

    value: float
    factor: Positive
    exponent: Positive = 1.0

    def __call__(self, progress: float) -> float:
        """The value at `progress` in [0, 1]."""
        return self.value * (1 + (self.factor - 1) * check_progress(progress) ** self.exponent)


@hyperparameters
class Exponential:
    """value * factor^progress.

    Args:
        value: the value at the start.
        factor: how many times larger (or, below 1, smaller) the value is at the end.
    """

    value: float
    factor: Positive

    def __call__(self, progress: float) -> float:
        """The value at `progress` in [0, 1]."""
        return self.value * self.factor ** check_progress(progress)
