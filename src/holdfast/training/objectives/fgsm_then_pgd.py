"""One objective in the first part of training, another in the rest; such as FGSM, then PGD.

    loss_t = first   while t / T <= at,      then   afterwards

Weak, cheap attacks are good enough early on; towards the end the inner maximum has to be found
more accurately.

Source: Wang et al. 2019, On the convergence and robustness of adversarial training,
arXiv:2112.08304; Andriushchenko 2024, sec 2.3.
Departures: the switch is at a fraction of training, not when a criterion of convergence falls.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from torch import Tensor, nn

from holdfast.attacks.fgsm import FGSM
from holdfast.core.errors import InputError
from holdfast.core.random import Keys
from holdfast.core.recipes import Fraction, From, hyperparameters
from holdfast.core.results import ObjectiveResult
from holdfast.threats.protocol import Threat
from holdfast.training.objectives.catalogue import OBJECTIVES
from holdfast.training.objectives.pgd_at import PGDAT
from holdfast.training.objectives.protocol import Objective, Passes, replays_of
from holdfast.training.visit import Visit


@hyperparameters
class Switch:
    """One objective after the other; by default FGSM training, then PGD training.

    Args:
        first: until the switch.
        then: after it; it begins without a state.
        at: fraction of training at which the switch happens: 0 is `then` alone, 1 `first` alone.

    Guarantee: each step is exactly that of the objective whose turn it is, which sees the progress
        of the whole training; what one of them carries on is never given to the other.
    Cost: that of the objective whose turn it is; `passes` is the larger of the two.
    Source: Wang et al. 2019.
    """

    first: Annotated[Objective, From(OBJECTIVES)] = PGDAT(attack=FGSM())
    then: Annotated[Objective, From(OBJECTIVES)] = PGDAT()
    at: Fraction = 0.5

    def __post_init__(self) -> None:
        replays = [replays_of(each) for each in (self.first, self.then)]
        if replays[0] != replays[1]:
            problem = f"shows a batch {replays[1]} times, the first {replays[0]} times"
            raise InputError("then", self.then, problem, "give both the same replays")

    @property
    def passes(self) -> Passes:
        """The larger of the two."""
        both = (self.first.passes, self.then.passes)
        return Passes(max(each.forwards for each in both), max(each.backwards for each in both))

    @property
    def replays(self) -> int:
        """How often either wants a batch shown."""
        return replays_of(self.first)

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
        early = self.at > 0 and progress <= self.at
        objective, mark = (self.first, "first.") if early else (self.then, "then.")
        result = objective.loss(
            model, x, y, threat, progress=progress, state=_own(state, mark), keys=keys, visit=visit
        )
        finish = result.finish
        return ObjectiveResult(
            result.loss,
            result.x_adv,
            result.logs,
            _marked(result.state, mark),
            None if finish is None else lambda: _marked(finish(), mark),
            result.accumulate,
        )


def _marked(state: Mapping[str, Any] | None, mark: str) -> dict[str, Any] | None:
    """A state under names that say whose it is."""
    return None if state is None else {mark + name: value for name, value in state.items()}


def _own(state: Mapping[str, Any] | None, mark: str) -> dict[str, Any] | None:
    """The part of a state that belongs to one objective, or None where there is none."""
    own = {name: value for name, value in (state or {}).items() if name.startswith(mark)}
    return {name.removeprefix(mark): value for name, value in own.items()} or None
