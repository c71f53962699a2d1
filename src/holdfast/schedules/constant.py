"""A number that does not change."""

from holdfast.core.recipes import hyperparameters
from holdfast.schedules.protocol import check_progress


@hyperparameters
class Constant:
    """The same value throughout.

    Args:
        value: the value.
    """

    value: float

    def __call__(self, progress: float) -> float:
        """The value at `progress` in [0, 1]."""
        check_progress(progress)
        return self.value
