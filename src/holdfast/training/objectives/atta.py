"""ATTA: fast adversarial training that goes on with each example's perturbation of the last epoch.

    d_i kept from epoch to epoch;   one step d_i <- P( d_i + a v(g(x_i + d_i)) );
    one weight step on L( f(x_i + d_i), y_i )

After a few epochs the kept perturbation is the result of that many steps, against models that
change slowly, at the cost of one step per visit.

Symbols: a = `step_size`, v the steepest direction of the threat, P its projection.
Source: Zheng et al. 2020, arXiv:1912.11969; Liu 2022, sec 4.3.5 (system of Alg 4.1) and sec 5.2.
Departures: published code of the comparisons differs in the attack's batch norm; here `eval`.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from holdfast.attacks.attack import parse_step, step_length
from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.core.recipes import Count, hyperparameters
from holdfast.core.results import ObjectiveResult
from holdfast.threats.protocol import Threat
from holdfast.training.objectives.fitting import AttackMode, Smoothing, bare, fit, keys_or_content
from holdfast.training.objectives.protocol import Passes
from holdfast.training.objectives.remembered import Stored, ascended, recalled
from holdfast.training.visit import Visit, visit_of


@hyperparameters
class ATTA:
    """Adversarial training with transferable perturbations (ATTA-1).

    Args:
        steps: gradient steps per visit.
        step_size: in input units, or relative such as `eps/2`; 4/255 is published for 8/255.
        reset: epochs between two random starts; None starts once.
        attack_mode: batch norm while the gradient is taken.
        label_smoothing: weight of the uniform distribution in the labels of the weight step.
        stored: the type in which perturbations are kept.
        stored_size: height and width in which they are kept, for large images; None for all pixels.

    Guarantee: the inputs trained on lie in the threat.
    Cost: `steps` + 1 forwards and backwards; memory for one padded image per example.
    Needs: a visit; a norm ball with one radius.
    Source: Zheng et al. 2020; Liu 2022, sec 4.3.5 and Table 5.11.
    """

    steps: Count = 1
    step_size: float | str = "4/255"
    reset: Count | None = 10
    attack_mode: AttackMode = "eval"
    label_smoothing: Smoothing = 0.0
    stored: Stored = "float32"
    stored_size: Count | None = None

    def __post_init__(self) -> None:
        parse_step(self.step_size, self.steps)

    @property
    def passes(self) -> Passes:
        """The steps through the input, and one pass through the weights."""
        return Passes(self.steps + 1, self.steps + 1)

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
        del progress, state
        kept = recalled(
            visit_of(visit, "ATTA"),
            x,
            threat,
            keys_or_content(keys, x),
            reset=self.reset,
            stored=self.stored,
            side=self.stored_size,
        )
        x_adv, length = kept.point(x, threat), step_length(self.step_size, threat, self.steps)
        with FrozenModel(bare(model), mode=self.attack_mode, device=x.device) as frozen:
            for _ in range(self.steps):
                x_adv, _ = ascended(frozen, x_adv, x, y, threat, length)
        kept.keep(x_adv - x)
        loss, logs = fit(model, x_adv, y, self.label_smoothing)
        return ObjectiveResult(loss, x_adv, logs)
