"""draft"""

from collections.abc import Iterator
from holdfast.attacks.pgd import PGD
from holdfast.benchmark.protocol import Board, Step
from holdfast.core.recipes import hyperparameters


@hyperparameters
class Fast:
    """Draft."""

    @property
    def name(self) -> str:
        """Fast."""
        return "fast"

    @property
    def version(self) -> str:
        """Fast."""
        return "fast/1"

    @property
    def adaptive(self) -> bool:
        """Yes."""
        return True

    def steps(self, board: Board) -> Iterator[Step]:
        """Steps."""
        yield Step("fast:race-1", PGD(steps=20, restarts=3))
