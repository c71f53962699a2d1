"""Free adversarial training: one backward pass serves the weights and the perturbation.

    m times for every batch:   g_w, g_x = gradients of L( f(x + d), y );
                               w <- step along g_w;   d <- P( d + a v(g_x) )

The weights step at the perturbation as it was before its own step, and the perturbation is never
reset: the next batch begins where this one ended.

Symbols: m = `replays`, a = `step_size`, v the steepest direction of the threat, P its projection.
Source: Shafahi et al. 2019, arXiv:1904.12843; Wong 2020, ch. 4, Alg. 6; Rice 2023, sec 2.2, Alg. 3.
Departures: none. An epoch shows every example m times, so what is published as "T epochs" is T / m
of ours.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from holdfast.attacks.attack import check_searchable, parse_step, step_length
from holdfast.core.random import Keys
from holdfast.core.recipes import Count, hyperparameters
from holdfast.core.results import ObjectiveResult
from holdfast.threats.protocol import Threat
from holdfast.training.objectives.carried import carried, kept
from holdfast.training.objectives.fitting import Smoothing, fit
from holdfast.training.objectives.protocol import Passes
from holdfast.training.visit import Visit


@hyperparameters
class Free:
    """Free adversarial training with minibatch replay.

    Args:
        replays: how often each batch is shown in a row, each time with a weight step.
        step_size: of the perturbation, in input units or relative, such as `eps`.
        label_smoothing: weight of the uniform distribution in the labels.

    Guarantee: the inputs trained on lie in the threat.
    Cost: 1 forward and 1 backward per replay, for input and weights together.
    Source: Shafahi et al. 2019; Wong 2020, sec 4.1, Alg. 6.
    """

    replays: Count = 8
    step_size: float | str = "eps"
    label_smoothing: Smoothing = 0.0

    def __post_init__(self) -> None:
        parse_step(self.step_size, 1)

    @property
    def passes(self) -> Passes:
        """One pass through weights and input at once."""
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
        del progress, keys, visit
        check_searchable(threat, "Free")
        point = threat.project(x + carried(state, x), x).detach().requires_grad_(True)
        loss, logs = fit(model, point, y, self.label_smoothing)

        def finish() -> dict[str, Tensor]:
            assert point.grad is not None
            length = step_length(self.step_size, threat, 1)
            slope = point.grad.nan_to_num()  # scaled losses may overflow
            after = threat.project(point.detach() + threat.steepest(slope, length), x)
            return kept(after - x, state)

        return ObjectiveResult(loss, point.detach(), logs, state, finish)
