"""What the verbs of the library return: frozen records whose per-example fields have shape (B,)."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import Any

from torch import Tensor


class Outcome(IntEnum):
    """What is known of one example under one threat.

    The value is the code in tensors and files; `str` gives the word.
    """

    UNDECIDED = 0
    MISCLASSIFIED = 1
    BROKEN = 2
    CERTIFIED = 3

    def __str__(self) -> str:
        return self.name.lower()


class Verdict(Enum):
    """The answer to one verification query."""

    HOLDS = "holds"
    VIOLATED = "violated"
    TIMEOUT = "timeout"
    UNKNOWN = "unknown"


@dataclass(frozen=True, eq=False)
class AttackResult:
    """What an attack found, example by example.

    Args:
        x_adv: (B, *E), the best iterate: the one that fooled the model, else the one of smallest
            margin.
        success: (B,) bool, confirmed on a fresh forward pass and by the threat's `contains`.
        margin: (B,) logit margin at `x_adv` (positive: still correct).
        size: (B,) the threat's size of the perturbation.
        loss: (B,) the attack's loss at `x_adv`.
        forwards: (B,) forward passes that this example needed.
        backwards: (B,) backward passes that this example needed.
        outcome: (B,) codes of `Outcome`: misclassified (before any perturbation), broken, or
            undecided.
        padding: rows computed beyond the examples' own passes: to fill blocks, or restarts run
            ahead and not needed.
        params: (B, P) what was done to each input, for threats whose `contains` needs it (spatial);
            else None.
    """

    x_adv: Tensor
    success: Tensor
    margin: Tensor
    size: Tensor
    loss: Tensor
    forwards: Tensor
    backwards: Tensor
    outcome: Tensor
    padding: int = 0
    params: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Bounds:
    """Bounds on a linear specification of the logits over a threat.

    Args:
        lower: (B, R) lower bounds of the R rows.
        upper: (B, R) upper bounds, or None where the method gives one side only.
        sound: whether rounding is accounted for, so that a positive `lower` is a proof.
        exact: whether the bound is attained.
        cost: what it took, such as `{"forwards": 2}` in multiples of a forward pass.
    """

    lower: Tensor
    upper: Tensor | None
    sound: bool
    exact: bool
    cost: dict[str, float] = field(default_factory=dict)

    @property
    def estimate(self) -> bool:
        """Whether the bounds may be wrong, however they are computed: they certify nothing."""
        return False


@dataclass(frozen=True, eq=False)
class ObjectiveResult:
    """One evaluation of a training objective.

    Args:
        loss: scalar, to be differentiated.
        x_adv: (B, *E) the inputs trained on, or None.
        logs: detached scalars to record, by name; tensors stay on the device.
        state: what the objective carries to the next batch, or None.
        finish: to be called after the backward pass and before the weight step; what it returns
            replaces `state`. None where there is nothing to do.
        accumulate: whether the gradient is kept for the next call, without a weight step.
    """

    loss: Tensor
    x_adv: Tensor | None = None
    logs: dict[str, Tensor] = field(default_factory=dict)
    state: Any = None
    finish: Callable[[], Any] | None = None
    accumulate: bool = False


@dataclass(frozen=True, eq=False)
class Estimate:
    """A measured number.

    Args:
        value: the estimate.
        stderr: its standard error, or None where it is exact on the examples given.
        n: how many examples it rests on.
        per_example: (n,) the examples' own values, or None.
    """

    value: float
    stderr: float | None
    n: int
    per_example: Tensor | None = None
