"""What a training objective is. Imports torch for type checkers only, so that recipes can be listed
without it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor, nn

    from holdfast.core.random import Keys
    from holdfast.core.results import ObjectiveResult
    from holdfast.threats.protocol import Threat
    from holdfast.training.visit import Visit


class Passes(NamedTuple):
    """What one training step costs for each of its examples.

    Args:
        forwards: forward passes.
        backwards: backward passes, to the input or to the weights.
    """

    forwards: int
    backwards: int


@runtime_checkable
class AtPoints(Protocol):
    """An objective whose loss can be had at inputs that are perturbed already.

    `loss(..., x_adv=points)` leaves its attack out. All else is that of a step: logs, the next
    state, what is written to a visit's memory.
    """

    @property
    def weight_passes(self) -> Passes:
        """The cost of a step, per example, without its attack."""
        ...


def replays_of(objective: object) -> int:
    """How often an objective wants each batch in a row; once, where it does not say."""
    replays: int = getattr(objective, "replays", 1)
    return replays


@runtime_checkable
class Objective(Protocol):
    """What training minimises: a frozen record of hyperparameters with one verb.

    One that wants each batch several times in a row has a property `replays`, how often; each
    showing is a step of the schedules.
    """

    @property
    def passes(self) -> Passes:
        """The cost of a step, per example."""
        ...

    def loss(
        self,
        model: "nn.Module",
        x: "Tensor",
        y: "Tensor",
        threat: "Threat",
        *,
        progress: float,
        state: Mapping[str, Any] | None = None,
        keys: "Keys | None" = None,
        visit: "Visit | None" = None,
    ) -> "ObjectiveResult":
        """The loss of a batch, to be differentiated by the caller.

        Args:
            model: inputs (B, *E) to logits (B, K), in the mode of the weight step.
            x: (B, *E) clean inputs.
            y: (B,) labels, or (B, K) probabilities.
            threat: what may happen to the inputs at this step.
            progress: fraction of training that is done, in [0, 1].
            state: what the call before returned as state; its tensors are kept in checkpoints,
                anything else is made anew when it is missing.
            keys: of the examples.
            visit: which examples these are, how they are augmented, and what is remembered of them.

        Returns:
            the loss (mean over the batch), what was trained on, what to log, the next state, and
            what is to be done after the backward pass.

        Guarantee: no optimiser step, no gradient of a weight; buffers change only by forward
            passes in training mode, weights only until `finish` is called.
        """
        ...
