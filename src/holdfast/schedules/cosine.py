"""Half a period of a cosine.

Source: Loshchilov and Hutter 2017, arXiv:1608.03983, eq 5, without restarts; Wong 2020, sec 4.3.2.
"""

import math

from holdfast.core.recipes import hyperparameters
from holdfast.schedules.protocol import check_progress


@hyperparameters
class Cosine:
    """From `value` to `end` along half a cosine, flat at both ends; rising if `end` is larger.

    Args:
        value: the value at the start.
        end: the value at the end.

    Example:
        >>> round(Cosine(value=0.1)(0.5), 12)
        0.05
    """

    value: float
    end: float = 0.0

    def __call__(self, progress: float) -> float:
        """The value at `progress` in [0, 1]."""
        share = (1 - math.cos(math.pi * check_progress(progress))) / 2
        return (1 - share) * self.value + share * self.end
