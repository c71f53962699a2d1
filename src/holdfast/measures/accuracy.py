"""Accuracy, clean or under an attack.

    clean:   mean 1[argmax f(x) = y]
    robust:  mean 1[the attack finds no x' in the threat that f gets wrong]

What is summed over examples (`update`) and what is done once (`compute`) are apart, so the value
does not depend on batches or on who held which examples.

Source: Wong 2020, sec 4.1 (robust accuracy under a stated adversary).
"""

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from holdfast.attacks.attack import Attack
from holdfast.attacks.catalogue import ATTACKS
from holdfast.core.errors import InputError, described
from holdfast.core.frozen import FrozenModel, Model, default_block, device_of
from holdfast.core.random import Keys
from holdfast.core.recipes import From, hyperparameters
from holdfast.core.results import Estimate, Outcome
from holdfast.threats.protocol import Searchable


@dataclass(frozen=True, eq=False)
class Sums:
    """What accuracy adds up over examples.

    Args:
        right: (n,) bool, each example's answer, in the order of the updates.
    """

    right: Tensor

    def __add__(self, other: "Sums") -> "Sums":
        return Sums(torch.cat([self.right, other.right]))


@hyperparameters
class Accuracy:
    """The share of examples that a model gets right.

    Args:
        attack: what searches for errors; None measures clean accuracy.

    Guarantee: computed in evaluation mode and in the model's own precision, never under autocast;
        with an attack an upper bound on the true robust accuracy of these examples.
    Cost: one forward per example, or the attack's passes.

    Example:
        >>> model = torch.nn.Linear(2, 3)
        >>> x, y = torch.rand(5, 2), torch.tensor([0, 1, 2, 0, 1])
        >>> accuracy = Accuracy()
        >>> accuracy.compute(accuracy.update(model, x, y)).n
        5
    """

    attack: Annotated[Attack | None, From(ATTACKS)] = None

    def update(
        self,
        model: Model | FrozenModel,
        x: Tensor,
        y: Tensor,
        threat: Searchable | None = None,
        *,
        keys: Keys | None = None,
    ) -> Sums:
        """Counts right answers.

        Args:
            model: inputs (B, *E) to logits (B, K); a `FrozenModel` fixes block and device.
            x: (B, *E) inputs.
            y: (B,) labels.
            threat: what the attack searches; needed with one, unused without.
            keys: of the examples, for the attack.

        Raises:
            InputError: no examples, an attack without a threat, or what the attack refuses.
        """
        if len(x) == 0:
            raise InputError("x", described("no examples"), "is empty", "give at least one")
        frozen = model if isinstance(model, FrozenModel) else _freeze(model)
        with torch.autocast(frozen.device.type, enabled=False):
            if self.attack is None:
                return Sums(_clean(frozen, x, y))
            if threat is None:
                remedy = "give a threat, such as linf:0.3"
                raise InputError("threat", None, "is missing", remedy)
            result = self.attack.run(frozen, x, y, threat, keys=keys)  # type: ignore[arg-type]
        return Sums(result.outcome == Outcome.UNDECIDED)

    def compute(self, sums: Sums) -> Estimate:
        """The share of right answers, with the standard error of a share."""
        n = len(sums.right)
        share = int(sums.right.sum()) / n
        return Estimate(share, (share * (1 - share) / n) ** 0.5, n, sums.right)


def _freeze(model: Model) -> FrozenModel:
    return FrozenModel(model, block=default_block(device_of(model)))


def _clean(frozen: FrozenModel, x: Tensor, y: Tensor) -> Tensor:
    with frozen:
        logits = frozen.logits(x.to(frozen.device))
    return logits.argmax(dim=1) == y.to(frozen.device)
