"""A penalty on the weights, beside any objective.

    L + l1 sum |w| + (l2 / 2) sum w^2

over the weights w of affine layers only: no biases, no parameters of norms. SGD with weight decay
l2 on these weights alone makes the same step as the squared penalty; a penalty comes on top of the
optimiser's weight decay.

Source: Wong 2020, sec 4.4.1; Rice 2023, sec 2.3.6 (explicit regularisation against robust
    overfitting): l1 in {5e-6, ..., 5e-3}, best 5e-5 in the text and 5e-6 in the released logs,
    beside a weight decay of 5e-4 on everything; l2 in {5e-4, ..., 5}, 5e-3 best at the end.
Departures: the released code for l2 lets only one of its parameter groups follow the learning rate.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from holdfast.core.errors import InputError
from holdfast.core.random import Keys
from holdfast.core.recipes import From, NonNegative, hyperparameters
from holdfast.core.results import ObjectiveResult
from holdfast.threats.protocol import Threat
from holdfast.training.objectives.catalogue import OBJECTIVES
from holdfast.training.objectives.fitting import bare
from holdfast.training.objectives.protocol import Objective, Passes, replays_of
from holdfast.training.optimizers import affine_weights
from holdfast.training.visit import Visit


@hyperparameters
class Penalised:
    """An objective with a penalty on the weights of affine layers.

    Args:
        objective: what is penalised.
        l1: weight of the sum of absolute values.
        l2: weight of half the sum of squares.

    Guarantee: with both weights 0, the objective itself; attacks do not see the penalty.
    Cost: that of the objective, and one pass over the weights.
    Source: Wong 2020, sec 4.4.1.
    """

    objective: Annotated[Objective, From(OBJECTIVES)]
    l1: NonNegative = 0.0
    l2: NonNegative = 0.0

    @property
    def passes(self) -> Passes:
        """Those of the objective."""
        return self.objective.passes

    @property
    def replays(self) -> int:
        """How often the objective wants each batch."""
        return replays_of(self.objective)

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
        """The loss of a batch; see `Objective.loss`. Logged: `penalty`."""
        result = self.objective.loss(
            model, x, y, threat, progress=progress, state=state, keys=keys, visit=visit
        )
        if not (self.l1 or self.l2):
            return result
        penalty = self.penalty(bare(model))
        logs = {**result.logs, "penalty": penalty.detach()}
        return replace(result, loss=result.loss + penalty, logs=logs)

    def penalty(self, model: nn.Module) -> Tensor:
        """l1 sum |w| + (l2 / 2) sum w^2, a scalar.

        Raises:
            InputError: the model has no affine layer to train.
        """
        weights = affine_weights(model)
        if not weights:
            remedy = "train without a penalty"
            raise InputError("model", type(model).__name__, "has no affine weights", remedy)
        total = torch.zeros((), dtype=weights[0].dtype, device=weights[0].device)
        parts: tuple[tuple[float, Callable[[Tensor], Tensor]], ...] = (
            (self.l1, torch.Tensor.abs),
            (self.l2 / 2, torch.Tensor.square),
        )
        for factor, size in parts:
            if factor:
                total = total + factor * torch.stack([size(each).sum() for each in weights]).sum()
        return total
