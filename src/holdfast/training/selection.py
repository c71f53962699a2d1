"""The choice of the checkpoint by robust accuracy on held-out training examples; early stopping.

Robust accuracy on training data rises while that on new data falls (robust overfitting), so the
checkpoint is chosen on examples that were not trained on, and never on test data unless the record
says so. Validation is in evaluation mode and float32, with the same random numbers every time.

Source: Rice, Wong and Kolter 2020, arXiv:2002.11569; Rice 2023, sec 2.3.4 (validation-based early
stopping); Wong 2020, sec 4.1.2 (catastrophic overfitting: a fall by more than 0.2).
Departures: it is noted only where clean accuracy does not fall as far.
"""

from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import torch
from torch import nn

from holdfast.attacks.attack import Attack
from holdfast.attacks.text import parse
from holdfast.core.frozen import FrozenModel, default_block
from holdfast.core.random import Keys
from holdfast.data.images import ImageData
from holdfast.measures.accuracy import Accuracy
from holdfast.threats.protocol import Threat
from holdfast.training.distributed import World
from holdfast.training.recipe import SelectionSpec

_NEAR = 0.005  # robust accuracy this close to the clean one is suspicious


class Validation(NamedTuple):
    """Accuracies on the validation examples.

    Args:
        clean: without an attack.
        robust: under the attack, or None where there is none.
    """

    clean: float
    robust: float | None

    @property
    def score(self) -> float:
        """What the choice is made by."""
        return self.clean if self.robust is None else self.robust


@dataclass
class Best:
    """The best validation so far, and what came of the others.

    Args:
        epoch: of the best, from 1; 0 before the first validation.
        clean: its clean accuracy.
        robust: its robust accuracy, or None.
        stale: validations since then.
        previous: robust accuracy of the latest validation.
        previous_clean: its clean accuracy.
        warnings: what was noticed.
    """

    epoch: int = 0
    clean: float = 0.0
    robust: float | None = None
    stale: int = 0
    previous: float | None = None
    previous_clean: float | None = None
    warnings: list[str] = field(default_factory=list)


class Selector:
    """Keeps the best checkpoint's figures and says when to stop.

    Args:
        spec: what the recipe says about the choice.
    """

    def __init__(self, spec: SelectionSpec):
        self.spec, self.best = spec, Best()

    def update(self, epoch: int, now: Validation) -> bool:
        """Takes a validation into account; whether it is the best so far.

        The earliest of equals wins; among equal robust accuracies a higher clean one does.
        """
        best = self.best
        self._watch(epoch, now)
        before = Validation(best.clean, best.robust)
        improved = best.epoch == 0 or (now.score, now.clean) > (before.score, before.clean)
        if improved:
            best.epoch, best.clean, best.robust, best.stale = epoch, now.clean, now.robust, 0
        else:
            best.stale += 1
        return improved

    @property
    def stop(self) -> bool:
        """Whether patience has run out."""
        return self.spec.patience is not None and self.best.stale >= self.spec.patience

    def suspicion(self, now: Validation, chance: float) -> str | None:
        """A warning where robust accuracy is hardly below the clean one, or None.

        Args:
            chance: accuracy of guessing.
        """
        if now.robust is None or now.clean - now.robust > _NEAR or now.clean < 2 * chance:
            return None
        return (
            f"robust validation accuracy {now.robust:.3f} is as high as the clean one "
            f"{now.clean:.3f}: the radius is small, or the attack {self.spec.attack} is fooled"
        )

    def state(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self.best)

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on from `state()`."""
        self.best = Best(**state)

    def _watch(self, epoch: int, now: Validation) -> None:
        """Warns of a fall of robust accuracy alone: where clean accuracy falls as far, as at too
        large a learning rate, nothing is overfitted."""
        best, drop = self.best, self.spec.collapse
        previous, clean = best.previous, best.previous_clean
        best.previous, best.previous_clean = now.robust, now.clean
        if previous is None or now.robust is None or previous - now.robust <= drop:
            return
        if clean is not None and clean - now.clean > drop:
            return
        best.warnings.append(
            f"catastrophic overfitting: robust validation accuracy fell from {previous:.3f} to "
            f"{now.robust:.3f} at epoch {epoch}, the clean one is {now.clean:.3f}"
        )


class Validator:
    """Measures a network on the validation examples.

    Args:
        data: the examples, on the device.
        spec: the attack's name, and how many examples.
        threat: at its full radius.
        seed: of the attack's random numbers.
        world: who shares the examples.
    """

    def __init__(
        self, data: ImageData, spec: SelectionSpec, threat: Threat, *, seed: int, world: World
    ):
        self.data = data.first(min(spec.examples, len(data))).loaded()
        self.attack, self.threat, self.seed, self.world = attack_named(spec), threat, seed, world

    def measure(self, network: nn.Module) -> Validation:
        """Clean and robust accuracy; the network is left as found."""
        clean = self._share(network, Accuracy())
        if self.attack is None:
            return Validation(clean, None)
        return Validation(clean, self._share(network, Accuracy(attack=self.attack)))

    def _share(self, network: nn.Module, accuracy: Accuracy) -> float:
        rows = torch.arange(self.world.rank, len(self.data), self.world.size)
        right = torch.zeros((), dtype=torch.float64, device=self.world.device)
        if len(rows):
            part = self.data.select(rows)
            keys = Keys.of(self.seed, part.index).fold("validation")
            frozen = FrozenModel(network, block=default_block(self.world.device))
            x, y = part.inputs(), part.labels
            right += accuracy.update(frozen, x, y, self.threat, keys=keys).right.sum()
        return float(self.world.total(right)) / len(self.data)


def attack_named(spec: SelectionSpec) -> Attack | None:
    """The attack of the choice, or None for `none`."""
    return None if spec.attack == "none" else parse(spec.attack)
