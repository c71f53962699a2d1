"""Single-step adversarial training with dropout after every activation, less and less of it.

    z <- z * m / (1 - p),   m ~ Bernoulli(1 - p),      after each non-linear layer, p = p(t / T)

Early in training a network can learn to prevent single-step attacks from finding anything; dropout
on all layers, also convolutional ones, keeps it from fitting them so closely. The rate falls to 0.
Whole channels are dropped from the outputs (B, C, H, W) of convolutions, single units elsewhere.

Symbols: p = `rate`.
Source: Vivek and Babu 2020, Single-step adversarial training with dropout scheduling,
arXiv:2004.08628; Andriushchenko 2024, sec 2.3.
Departures: an example's masks are a function of its keys, not of its batch. The theses name the
method without a rate, and that of the paper was not at hand: 0.8, falling in a straight line to 0
at half of training, is a choice of ours, to be tuned.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from holdfast.attacks.fgsm import FGSM
from holdfast.core.errors import InputError, described
from holdfast.core.random import Keys
from holdfast.core.recipes import From, hyperparameters
from holdfast.core.results import ObjectiveResult
from holdfast.models.description import ACTIVATIONS
from holdfast.schedules.catalogue import SCHEDULES
from holdfast.schedules.linear import Linear
from holdfast.schedules.protocol import Schedule
from holdfast.threats.protocol import Threat
from holdfast.training.objectives.catalogue import OBJECTIVES
from holdfast.training.objectives.fitting import bare, keys_or_content
from holdfast.training.objectives.pgd_at import PGDAT
from holdfast.training.objectives.protocol import Objective, Passes, replays_of
from holdfast.training.visit import Visit


@hyperparameters
class FGSMDropout:
    """Another objective, FGSM training by default, on a network with dropout put into it.

    Args:
        objective: what is minimised. Its passes in evaluation mode see no dropout, so that its
            `attack_mode` should be `train` or `batch`.
        rate: share of units dropped, in [0, 1), over training.

    Guarantee: of the network nothing is changed on exit; an example's masks depend on its keys, the
        layer and how often that was called in the step, not on the batch. At rate 0 it is the
        objective itself.
    Cost: that of the objective.
    Needs: activations that are modules, such as `nn.ReLU`; forwards of the whole batch, or of
        several copies of it.
    Source: Vivek and Babu 2020.
    """

    objective: Annotated[Objective, From(OBJECTIVES)] = PGDAT(attack=FGSM())
    rate: Annotated[Schedule, From(SCHEDULES)] = Linear(start=0.8, end=0.0, finish=0.5)

    @property
    def passes(self) -> Passes:
        """Those of the objective."""
        return self.objective.passes

    @property
    def replays(self) -> int:
        """Those of the objective."""
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
        """The loss of a batch; see `Objective.loss`.

        Raises:
            InputError: a rate outside [0, 1), a network without activation modules.
        """
        showing = (
            keys_or_content(keys, x).fold("dropout").fold(0 if visit is None else visit.replay)
        )
        with dropout(bare(model), self.rate(progress), showing):
            return self.objective.loss(
                model, x, y, threat, progress=progress, state=state, keys=keys, visit=visit
            )


@contextmanager
def dropout(network: nn.Module, rate: float, keys: Keys) -> Iterator[None]:
    """Dropout after every activation module that is in training mode, while the context lasts.

    Args:
        rate: share of units dropped.
        keys: of the B examples; outputs must have B rows, or a multiple.

    Raises:
        InputError: a rate outside [0, 1), no activation module, a number of rows that does not fit.
    """
    if not 0 <= rate < 1:
        raise InputError("rate", rate, "is not in [0, 1)", "give a schedule with values in it")
    layers = [each for each in network.modules() if isinstance(each, ACTIVATIONS)] if rate else []
    if rate and not layers:
        shown = described(type(network).__name__)
        remedy = "write its activations as modules, such as nn.ReLU"
        raise InputError("model", shown, "has no activation module to put dropout after", remedy)
    handles = [
        each.register_forward_hook(_Dropping(rate, keys.fold(place)))
        for place, each in enumerate(layers)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class _Dropping:
    """The forward hook of one activation: each call draws masks of its own."""

    def __init__(self, rate: float, keys: Keys):
        self.rate, self.keys, self.calls = rate, keys, 0

    def __call__(self, module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor | None:
        """The output with units dropped; as it is outside training mode."""
        if not module.training:
            return None
        copies, rest = divmod(len(output), len(self.keys))
        if rest:
            shown = described(f"an output of {len(output)} rows")
            remedy = "choose an objective that does not split the batch"
            raise InputError("objective", shown, f"is no batch of {len(self.keys)}", remedy)
        spread = output.ndim >= 4
        shape = (output.shape[1], *[1] * (output.ndim - 2)) if spread else output.shape[1:]
        draws = [self.keys.fold(copy).uniform(shape, step=self.calls) for copy in range(copies)]
        self.calls += 1
        kept = (torch.cat(draws) >= self.rate).to(output.dtype)
        return output * (kept / (1 - self.rate))
