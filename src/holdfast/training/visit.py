"""Where the examples of a batch stand in training: which they are, how they are shown, and what is
remembered of them."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from holdfast.core.errors import InputError
from holdfast.data.augment import Augment
from holdfast.training.memory import Memory


@dataclass(frozen=True, eq=False)
class Visit:
    """One showing of a batch.

    Args:
        places: (B,) int64 rows of the examples in the training set.
        count: N, the examples of the training set.
        epoch: from 0.
        epochs: in all.
        memory: what is kept per example.
        augment: how inputs are augmented.
        params: its parameters for these examples, see `Augment.draw`.
        batch_size: examples of a whole batch, over all processes.
        replay: how often these examples were shown just before, from 0; see `Objective`.
    """

    places: Tensor
    count: int
    epoch: int
    epochs: int
    memory: Memory
    augment: Augment
    params: tuple[Tensor, ...]
    batch_size: int
    replay: int = 0

    def frame(self, shape: Sequence[int]) -> tuple[int, ...]:
        """The shape in which images of `shape` (C, H, W) are kept from epoch to epoch."""
        return self.augment.frame(shape)

    def carry(self, stored: Tensor) -> Tensor:
        """From the kept frame (B, C, H', W') to the present view (B, C, H, W)."""
        return self.augment.carry(stored, self.params)

    def store(self, stored: Tensor, x: Tensor) -> Tensor:
        """The kept tensors with what is visible replaced by x (B, C, H, W), of the view."""
        return self.augment.store(stored, x, self.params)


def visit_of(visit: Visit | None, objective: str) -> Visit:
    """The visit, for an objective that needs one.

    Raises:
        InputError: there is none.
    """
    if visit is None:
        problem = f"is needed by {objective}"
        raise InputError("visit", None, problem, "train through holdfast.train, or pass a Visit")
    return visit
