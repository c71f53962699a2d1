"""Training on interval bounds: the worst cross-entropy that the bounds admit, mixed with the clean
one.

    kappa CE(z, y) + (1 - kappa) CE(-m, y),   m_j <= z_y - z_j for all inputs of the threat

with m from interval bounds in which the last layer is merged with the margins. The second term
bounds the worst cross-entropy over the threat from above. Training it at the full radius from the
beginning stalls: the radius is brought in by the loop's `radius_schedule`, kappa falls from 1.

Source: Gowal et al. 2018, arXiv:1810.12715; Liu 2022, sec 3.3.3 (the IBP rows of the tables); Wong
2020, sec 3.1.4 (Theorem 2).
Departures: batch norm enters the bounds with its running statistics, which the clean pass updates.
"""

from collections.abc import Mapping
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from holdfast.certify.bounds.interval import interval_margins
from holdfast.certify.graphs.graph import Graph, capture
from holdfast.core.errors import UnsupportedThreat
from holdfast.core.random import Keys
from holdfast.core.recipes import From, hyperparameters
from holdfast.core.results import ObjectiveResult
from holdfast.schedules.catalogue import SCHEDULES
from holdfast.schedules.linear import Linear
from holdfast.schedules.protocol import Schedule
from holdfast.threats.protocol import Threat
from holdfast.training.objectives.fitting import accuracy_in, fit, plain
from holdfast.training.objectives.protocol import Passes
from holdfast.training.visit import Visit


@hyperparameters
class IBP:
    """Training on interval bounds.

    Args:
        kappa: weight of the clean cross-entropy, in [0, 1], over training.

    Guarantee: with kappa 0 the loss is at least the cross-entropy at every point of the threat, up
        to float32 rounding; at radius 0 it is the clean loss up to rounding.
    Cost: 3 forwards and 3 backwards: the clean one and two for the bounds. Bounds are in float32
        whatever the precision of training.
    Needs: a model that `holdfast.certify.capture` knows.
    Source: Gowal et al. 2018; Liu 2022, sec 3.3.3.
    """

    kappa: Annotated[Schedule, From(SCHEDULES)] = Linear(start=1.0, end=0.5)

    @property
    def passes(self) -> Passes:
        """The clean pass, and the bounds at about two more."""
        return Passes(3, 3)

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
        """The loss of a batch; see `Objective.loss`.

        Raises:
            CaptureError: the model holds an operation without an interval rule.
        """
        del keys, visit
        if not hasattr(threat, "hull"):
            problem = f"IBP needs the smallest box around the threat; {type(threat).__name__}"
            raise UnsupportedThreat(f"{problem} has none; use a ball, such as linf:0.1")
        graph: Graph | None = state["graph"] if state else None
        if graph is None or graph.input_shape != tuple(x.shape[1:]):
            graph = capture(plain(model), x.shape[1:])
        clean, logs = fit(model, x, y)
        with torch.autocast(x.device.type, enabled=False):
            margins = interval_margins(graph, *threat.hull(x), y)
            worst = cross_entropy(-margins, y)
        kappa = self.kappa(progress)
        loss = kappa * clean + (1 - kappa) * worst
        logs |= {
            "loss": loss.detach(),
            "clean_loss": clean.detach(),
            "bound_loss": worst.detach(),
            "certified": accuracy_in(margins.detach(), y),
        }
        return ObjectiveResult(loss, x, logs, {"graph": graph})
