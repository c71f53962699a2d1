"""Robust overfitting: robust error on new data rises while that on training data falls.

    best = min_e r_e,   final = mean of the last 5 r_e (+- their deviation),   diff = final - best

with r_e the robust error on held-out examples after epoch e. Unlike catastrophic overfitting it is
gradual, sets in after the learning rate has decayed, and does not show on training data.

Source: Rice, Wong and Kolter 2020, arXiv:2002.11569; Wong 2020, sec 4.3; Rice 2023, sec 2.3.2.
Departures: on held-out examples, not on the test set. Training error is that of a fixed subset
without augmentation after the epoch, not that of the batches on the way. The published best clean
error is that of the best robust checkpoint in the text and the least over training in one table:
both are given.
"""

from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Annotated, Any, ClassVar, Literal

from holdfast.attacks.attack import Attack
from holdfast.attacks.catalogue import ATTACKS
from holdfast.attacks.pgd import PGD
from holdfast.core.frozen import FrozenModel, default_block
from holdfast.core.random import Keys
from holdfast.core.recipes import Count, From, hyperparameters
from holdfast.data.images import ImageData
from holdfast.measures.accuracy import Accuracy
from holdfast.training.monitors.protocol import Action, Reading, Scene, When
from holdfast.training.subsets import spread

TAIL = 5
"""So many last epochs make the final error."""


@hyperparameters
class RobustOverfitting:
    """Watches robust error on training and on held-out examples.

    Args:
        every: `epoch`, as published, or so many steps.
        attack: what searches both for errors.
        examples: of each, always the same.
        action: `stop` ends training when held-out error has risen by three times its noise.

    Cost: the attack's passes on twice the examples; a clean forward on the held-out ones.
    Needs: validation examples.
    """

    needs_validation: ClassVar[bool] = True

    every: When = "epoch"
    attack: Annotated[Attack, From(ATTACKS)] = PGD(steps=10, restarts=1, step_size="eps/4")
    examples: Count = 1000
    action: Literal["none", "stop"] = "none"

    def look(self, scene: Scene, past: Mapping[str, Any]) -> Reading:
        """The errors now, and best, final and their difference so far."""
        assert scene.validation is not None
        held = spread(scene.validation, self.examples)
        shown = spread(scene.training, self.examples)
        now = (
            self._error(scene, held, self.attack),
            self._error(scene, held, None),
            self._error(scene, shown, self.attack),
        )
        curve = [*past.get("curve", []), list(now)]
        figures = {"robust_error": now[0], "clean_error": now[1], "train_robust_error": now[2]}
        summary = summarised(curve)
        warned = bool(past.get("warned", False))
        over = not warned and overfits(curve, len(held))
        text = (
            f"robust overfitting: robust validation error rose from {summary['best']:.3f} to "
            f"{summary['final']:.3f} (the mean of {TAIL} looks) while that in training fell"
        )
        after = {"curve": curve, "warned": warned or over}
        action: Action = self.action if over else "none"
        return Reading(figures | summary, after, text if over else None, action)

    def _error(self, scene: Scene, data: ImageData, attack: Attack | None) -> float:
        """The share of examples that the network gets wrong, or the attack breaks."""
        device = scene.x.device
        part = data.to(device)
        frozen = FrozenModel(scene.kept, block=default_block(device), device=device)
        keys = Keys.of(scene.seed, part.index).fold("robust-overfitting")
        measure = Accuracy(attack=attack)
        sums = measure.update(frozen, part.inputs(), part.labels, scene.threat, keys=keys)
        return 1 - measure.compute(sums).value


def summarised(curve: Sequence[Sequence[float]]) -> dict[str, float]:
    """Best and final of a curve of (robust error, clean error, ...).

    Returns:
        `best`, the least robust error, and `best_look`, the first with it, from 1; `final` and
        `final_std` of the last 5; `diff`, final less best; `clean_at_best`, `least_clean` and
        `final_clean` of the clean error.

    Example:
        >>> found = summarised([(0.6, 0.3), (0.5, 0.2), (0.7, 0.1)])
        >>> found["best"], found["best_look"], round(found["final"], 6), round(found["diff"], 6)
        (0.5, 2, 0.6, 0.1)
    """
    robust, clean = [each[0] for each in curve], [each[1] for each in curve]
    place = robust.index(min(robust))
    tail = robust[-TAIL:]
    final = fmean(tail)
    return {
        "best": robust[place],
        "best_look": place + 1,
        "final": final,
        "final_std": stdev(tail) if len(tail) > 1 else 0.0,
        "diff": final - robust[place],
        "clean_at_best": clean[place],
        "least_clean": min(clean),
        "final_clean": fmean(clean[-TAIL:]),
    }


def overfits(curve: Sequence[Sequence[float]], examples: int) -> bool:
    """Whether a curve of (robust error, clean error, robust error in training) has turned: the
    final error is above the best by three deviations, from look to look and of a share of so many
    examples, while that in training has fallen."""
    found = summarised(curve)
    place = int(found["best_look"]) - 1
    if len(curve) - place <= TAIL:
        return False
    share = found["best"]
    noise = max(found["final_std"], (share * (1 - share) / examples) ** 0.5)
    training = [each[2] for each in curve]
    return found["diff"] > 3 * noise and fmean(training[-TAIL:]) < training[place]
