"""Catastrophic overfitting: single-step training whose robustness collapses within an epoch.

    fires when   r_t < r_{t-1} - 0.2      while   f_t >= f_{t-1} - 0.2
    or           r_t < 0.3 max_s r_s   while   f_t >= 0.3 max_s f_s   and   max_s r_s > 1/K + 0.2,

with r the accuracy under a PGD attack and f that under one FGSM step, on training examples. The
collapse shows on training data, so nothing has to be held out. Before it the loss under PGD is
hardly above that under FGSM (a ratio up to 1.05), and input gradients are aligned (about 0.95);
after it the ratio is large and the alignment about 0.05.

Symbols: 0.2 = `drop`, 0.3 = `floor`, K classes.
Source: Wong 2020, sec 4.1.2 (PGD-5 on one minibatch per epoch, an absolute fall, back to the last
epoch that passed); Liu 2022, sec 5.2 (the running best); Andriushchenko 2024, sec 2.5 (ratio and
alignment).
Departures: published is one training batch, another at every look, of which the accuracy differs by
0.1 and more without any collapse; by default the examples are always the same. A fall of both
accuracies, as when the learning rate is too large, is no overfitting and does not fire. The attack
runs in evaluation mode. The running best counts once it is above chance by `drop`: before a network
has learned anything, its accuracy wanders by more than its own size.
"""

from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from holdfast.attacks.attack import check_searchable
from holdfast.attacks.catalogue import ATTACKS
from holdfast.attacks.fgsm import FGSM
from holdfast.attacks.pgd import PGD
from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.core.recipes import Count, Fraction, From, hyperparameters
from holdfast.measures.gradient_alignment import GradientAlignment
from holdfast.training.monitors.protocol import Action, Reading, Scene, When
from holdfast.training.objectives.pgd_at import InnerAttack
from holdfast.training.subsets import spread


@hyperparameters
class Catastrophic:
    """Watches the accuracy under PGD on training examples.

    Args:
        every: `epoch`, as published, or so many steps.
        attack: one run of it.
        drop: an absolute fall from one look to the next that fires.
        floor: the fraction of the best accuracy so far, below which it fires as well.
        examples: how many are looked at, always the same and without augmentation; None: the latest
            batch, as published.
        action: what happens then; `rollback`, as published, ends training with the weights of the
            last look that passed.

    Cost: for the default attack 11 forwards and 8 backwards of one batch.
    Needs: a threat with steps, projections and random points.
    """

    every: When = "epoch"
    attack: Annotated[InnerAttack, From(ATTACKS)] = PGD(steps=5, restarts=1, step_size="eps/4")
    drop: Fraction = 0.2
    floor: Fraction = 0.3
    examples: Count | None = 128
    action: Action = "rollback"

    def look(self, scene: Scene, past: Mapping[str, Any]) -> Reading:
        """Accuracies and losses under one step and several, and the gradient alignment."""
        check_searchable(scene.threat, type(self).__name__)
        x, y, keys = self._examples(scene)
        with FrozenModel(scene.network, device=x.device) as frozen, torch.no_grad():
            clean, _ = _fit(frozen, x, y)
            points = [
                attack.perturb(frozen, x, y, scene.threat, keys=keys)
                for attack in (FGSM(), self.attack)
            ]
            (once, fgsm_loss), (robust, pgd_loss) = (_fit(frozen, each, y) for each in points)
        alignment = GradientAlignment()
        sums = alignment.update(scene.network, x, y, scene.threat, keys=keys)
        figures = {
            "clean_accuracy": clean,
            "fgsm_accuracy": once,
            "pgd_accuracy": robust,
            "loss_ratio": pgd_loss / max(fgsm_loss, 1e-12),
            "alignment": alignment.compute(sums).value,
        }
        chance = 1 / scene.training.classes
        after, text = judged(past, robust, once, drop=self.drop, floor=self.floor, chance=chance)
        if text is not None:
            text = f"catastrophic overfitting at step {scene.step}: {text}"
        action: Action = "none" if text is None else self.action
        return Reading(figures | {"collapsed": float(after["collapsed"])}, after, text, action)

    def _examples(self, scene: Scene) -> tuple[Tensor, Tensor, Keys]:
        """What is looked at: inputs, labels, keys."""
        if self.examples is None:
            return scene.x, scene.y, scene.keys.fold("catastrophic")
        data = spread(scene.training, self.examples)
        keys = Keys.of(scene.seed, data.index).fold("catastrophic")
        return data.inputs(), data.labels, keys


class _Course(NamedTuple):
    """The accuracies so far: the latest and the best, each under PGD and under one step."""

    previous: float = 0.0
    previous_once: float = 0.0
    best: float = 0.0
    best_once: float = 0.0
    collapsed: bool = False


def judged(
    past: Mapping[str, Any],
    robust: float,
    once: float,
    *,
    drop: float,
    floor: float,
    chance: float = 0.0,
) -> tuple[dict[str, Any], str | None]:
    """What a pair of accuracies means after those before.

    Args:
        past: what the judgement before returned; empty at first.
        robust: accuracy under PGD now.
        once: accuracy under FGSM now.
        drop: see `Catastrophic`.
        floor: likewise.
        chance: accuracy of guessing.

    Returns:
        the next past, and what happened, in words, when it begins to collapse.

    Example:
        >>> past, text = judged({}, 0.4, 0.5, drop=0.2, floor=0.3)
        >>> judged(past, 0.1, 0.8, drop=0.2, floor=0.3)[1]
        'accuracy under PGD fell from 0.400 to 0.100 in training, under FGSM it is 0.800'
    """
    course = _Course(**past)
    fell = course.previous - robust > drop >= course.previous_once - once
    low = robust < floor * course.best and course.best > chance + drop
    lost = low and once >= floor * course.best_once
    best, best_once = max(course.best, robust), max(course.best_once, once)
    collapsed = fell or lost or (course.collapsed and robust < floor * best)
    after = _Course(robust, once, best, best_once, collapsed)._asdict()
    if not (fell or lost) or course.collapsed:
        return after, None
    before = course.previous if fell else course.best
    return after, (
        f"accuracy under PGD fell from {before:.3f} to {robust:.3f} in training, "
        f"under FGSM it is {once:.3f}"
    )


def _fit(frozen: FrozenModel, x: Tensor, y: Tensor) -> tuple[float, float]:
    """Accuracy and mean loss."""
    logits = frozen.logits(x)
    return float((logits.argmax(dim=1) == y).double().mean()), float(cross_entropy(logits, y))
