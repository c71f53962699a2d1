"""Ordinary training: the cross-entropy of the clean inputs."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from holdfast.core.random import Keys
from holdfast.core.recipes import hyperparameters
from holdfast.core.results import ObjectiveResult
from holdfast.threats.protocol import Threat
from holdfast.training.objectives.fitting import Smoothing, fit
from holdfast.training.objectives.protocol import Passes
from holdfast.training.visit import Visit


@hyperparameters
class Standard:
    """Cross-entropy on clean inputs; the threat is not looked at.

    Args:
        label_smoothing: weight of the uniform distribution in the labels.

    Cost: 1 forward and 1 backward.
    """

    label_smoothing: Smoothing = 0.0

    @property
    def passes(self) -> Passes:
        """One pass through the weights."""
        return Passes(1, 1)

    def loss(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        threat: Threat,
        *,
        progress: float,
        state: Mapping[str, Any] | None = None,
        keys: Keys | None = None,
        visit: Visit | None = None,
    ) -> ObjectiveResult:
        """The loss of a batch; see `Objective.loss`."""
        del threat, progress, state, keys, visit
        loss, logs = fit(model, x, y, self.label_smoothing)
        return ObjectiveResult(loss, x, logs)
