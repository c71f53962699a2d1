"""FGSM adversarial training with a random start: one gradient step, then the weight step.

    d ~ start;   d = P( d + a v(g(x + d)) );   one weight step on L( f(x + d), y )

For an l_inf ball without box, a uniform start and a step a <= 2 eps: E[s d] = a - a^2 / (4 eps) for
s = sign(g), and a coordinate ends on the boundary with probability a / (2 eps).

Symbols: a = `step_size`, v the steepest direction of the threat, P its projection.
Source: Wong, Rice and Kolter 2020, arXiv:2001.03994; Wong 2020, sec 4.1.1 and Alg. 7 (starts, Table
4.1), sec 4.1.4 (R+FGSM); Rice 2023, sec 2.2.1, Alg. 4.
Departures: every channel is drawn from its own range.
"""

from collections.abc import Mapping
from typing import Any, Literal

from torch import Tensor, nn

from holdfast.attacks.attack import parse_step
from holdfast.attacks.fgsm import FGSM
from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.core.recipes import hyperparameters
from holdfast.core.results import ObjectiveResult
from holdfast.threats.base import unboxed
from holdfast.threats.protocol import Threat
from holdfast.training.objectives.carried import carried, kept
from holdfast.training.objectives.fitting import AttackMode, Smoothing, bare, fit, keys_or_content
from holdfast.training.objectives.protocol import Passes
from holdfast.training.visit import Visit

_OWN_STARTS: dict[str, Literal["clean", "random", "corner"]] = {
    "uniform": "random",
    "corner": "corner",
}
"""The starts that the attack draws itself; the others are given to it, or are the clean input."""
_STEPS = {
    "uniform": "1.25*eps",
    "ball": "1.25*eps",
    "previous": "eps",
    "zero": "eps",
    "corner": "eps/2",
}


@hyperparameters
class FGSMRS:
    """Adversarial training with one step from a random start ("fast" adversarial training).

    Args:
        start: `uniform`, the threat's random start, inside the box (the published one for CIFAR-10
            and ImageNet); `ball`, the same with the box left out until after the step (for MNIST:
            at a pixel of value 0 a start clipped to [0, 1] and a step of 1.25 eps end on 0 or eps
            only, and training on such corners collapses); `previous`, the perturbation of the
            batch before (zero at the beginning); `zero`, plain FGSM, which collapses; `corner`,
            R+FGSM.
        step_size: in input units or relative, such as `1.25*eps`; `auto` is what was published for
            the start: 1.25 eps, and eps for `previous` and `zero`, eps/2 for `corner`.
        attack_mode: batch norm while the gradient is taken; `train`, as in the theses' code, lets
            this pass update the running statistics.
        label_smoothing: weight of the uniform distribution in the labels of the weight step.

    Guarantee: the inputs trained on lie in the threat; with `uniform`, those of PGD-AT with one
        step from the same start.
    Cost: 2 forwards and 2 backwards.
    Source: Wong 2020, sec 4.1.1.
    """

    start: Literal["uniform", "ball", "previous", "zero", "corner"] = "uniform"
    step_size: float | str = "auto"
    attack_mode: AttackMode = "train"
    label_smoothing: Smoothing = 0.0

    def __post_init__(self) -> None:
        parse_step(self.step, 1)

    @property
    def step(self) -> float | str:
        """The step size, with `auto` resolved."""
        return _STEPS[self.start] if self.step_size == "auto" else self.step_size

    @property
    def passes(self) -> Passes:
        """One pass through the input, one through the weights."""
        return Passes(2, 2)

    @property
    def weight_passes(self) -> Passes:
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
        x_adv: Tensor | None = None,
    ) -> ObjectiveResult:
        """The loss of a batch; see `Objective.loss`, and `AtPoints` for `x_adv`."""
        del progress, visit
        if x_adv is None:
            with FrozenModel(bare(model), mode=self.attack_mode, device=x.device) as frozen:
                x_adv = self._perturbed(frozen, x, y, threat, state, keys_or_content(keys, x))
        loss, logs = fit(model, x_adv, y, self.label_smoothing)
        after = kept(x_adv - x, state) if self.start == "previous" else None
        return ObjectiveResult(loss, x_adv, logs, after)

    def _perturbed(
        self,
        frozen: FrozenModel,
        x: Tensor,
        y: Tensor,
        threat: Threat,
        state: Mapping[str, Any] | None,
        keys: Keys,
    ) -> Tensor:
        """The inputs after the one step, (B, *E)."""
        start = None
        if self.start == "previous":
            start = threat.project(x + carried(state, x), x)
        elif self.start == "ball":
            free = unboxed(threat, "use a ball, such as linf:0.3, or start = 'uniform'")
            start = free.sample(x, keys=keys.fold(0).fold("start"))
        own = _OWN_STARTS.get(self.start, "clean")
        attack = FGSM(start=own, step_size=self.step)
        return attack.perturb(frozen, x, y, threat, keys=keys, start=start)
