"""What perturbations look like, and how those of one step compare with those of many.

    histogram     delta_i / eps over all coordinates: at the boundary, inside, or zero
    cosine        cos(delta_FGSM, delta_PGD), after all projections
    loss ratio    mean loss at the PGD points over mean loss at the FGSM points

When single-step training collapses, PGD finds perturbations inside the ball, where the network was
never trained; their cosine with the one step falls, and the loss ratio, which stays below about
1.05 before, rises.

Source: Wong 2020, sec 4.1.2, Fig 4.3 (histogram); Andriushchenko 2024, sec 2.5, Fig 2.4 (cosine,
    loss ratio).
Departures: attacks take all their steps, with no early exit, as in training.
"""

from collections.abc import Mapping
from typing import Annotated, Protocol, runtime_checkable

import torch
from torch import Tensor

from holdfast.attacks.catalogue import ATTACKS
from holdfast.attacks.fgsm import FGSM
from holdfast.attacks.pgd import PGD
from holdfast.core.errors import InputError, described
from holdfast.core.frozen import FrozenModel, Model
from holdfast.core.random import Keys
from holdfast.core.recipes import Count, From, Range, hyperparameters
from holdfast.core.results import Estimate
from holdfast.core.tensors import norm, per_example
from holdfast.losses.catalogue import LOSSES
from holdfast.losses.cross_entropy import CrossEntropy
from holdfast.losses.protocol import Loss
from holdfast.measures.columns import Block, Columns, look_at, needed
from holdfast.measures.gradient_alignment import cosines
from holdfast.threats.protocol import Threat


@runtime_checkable
class Perturbing(Protocol):
    """An attack that can be asked for its last iterate, such as `FGSM` and `PGD`."""

    def perturb(
        self,
        frozen: FrozenModel,
        x: Tensor,
        y: Tensor,
        threat: Threat,
        *,
        keys: Keys,
        start: Tensor | None = None,
    ) -> Tensor:
        """The last iterate of one run, (B, *E)."""
        ...


ONE_STEP = FGSM()
MANY_STEPS = PGD(steps=10, restarts=1, step_size="eps/5", start="clean")


@hyperparameters
class Perturbations:
    """Where in the ball an attack ends, coordinate by coordinate.

    Args:
        attack: whose last iterate is looked at.
        tolerance: |delta_i| within this share of the radius of 0 or of the radius counts as zero or
            as at the boundary; the rest is interior.
        bins: bins of the histogram of delta_i / radius over [-1, 1].

    Guarantee: `boundary`, `interior` and `zero` add up to 1.
    Cost: the attack's passes.
    Needs: a threat with one radius per example.

    Example:
        >>> from holdfast.threats import Linf
        >>> model, measure = torch.nn.Linear(4, 2), Perturbations(attack=FGSM())
        >>> x, y = torch.full((3, 4), 0.5), torch.tensor([0, 1, 1])
        >>> measure.compute(measure.update(model, x, y, Linf(0.1))).value
        1.0
    """

    attack: Annotated[Perturbing, From(ATTACKS)] = MANY_STEPS
    tolerance: Annotated[float, Range(ge=0, lt=0.5)] = 0.01
    bins: Count = 41

    def update(
        self,
        model: Model | FrozenModel,
        x: Tensor,
        y: Tensor,
        threat: Threat | None = None,
        *,
        keys: Keys | None = None,
    ) -> Columns:
        """The columns `boundary`, `interior`, `zero` (shares of coordinates), `mean_abs` (of
        delta_i / radius), `l2` (of delta) and `histogram` (n, bins), shares of coordinates.

        Raises:
            InputError: no examples, no threat, a radius of 0 or one per feature.
        """
        return look_at(model, x, y, needed(threat), keys, self._look)

    def compute(self, sums: Columns) -> Estimate:
        """The mean share of coordinates at the boundary."""
        return sums.mean("boundary")

    def _look(self, frozen: FrozenModel, block: Block) -> Mapping[str, Tensor]:
        delta = _moved(self.attack, frozen, block) - block.x
        scaled = delta.double() / _radius(needed(block.threat), block.x)
        boundary, interior, zero = shares(scaled, self.tolerance)
        return {
            "boundary": boundary,
            "interior": interior,
            "zero": zero,
            "mean_abs": scaled.abs().flatten(1).mean(dim=1),
            "l2": norm(delta.double(), 2),
            "histogram": histogram(scaled, self.bins),
        }


@hyperparameters
class PerturbationCosine:
    """The mean cosine of two attacks' perturbations: of FGSM and PGD by default.

    Args:
        first: an attack.
        second: another.

    Guarantee: in [-1, 1] up to rounding; examples where either does not move count as 0 and are
        counted in the column `undefined`.
    Cost: both attacks' passes.
    """

    first: Annotated[Perturbing, From(ATTACKS)] = ONE_STEP
    second: Annotated[Perturbing, From(ATTACKS)] = MANY_STEPS

    def update(
        self,
        model: Model | FrozenModel,
        x: Tensor,
        y: Tensor,
        threat: Threat | None = None,
        *,
        keys: Keys | None = None,
    ) -> Columns:
        """The columns `cosine` and `undefined`.

        Raises:
            InputError: no examples, no threat, or shapes that do not fit.
        """
        return look_at(model, x, y, needed(threat), keys, self._look)

    def compute(self, sums: Columns) -> Estimate:
        """The mean cosine."""
        return sums.mean("cosine")

    def _look(self, frozen: FrozenModel, block: Block) -> Mapping[str, Tensor]:
        pair = [_moved(each, frozen, block) - block.x for each in (self.first, self.second)]
        cosine, defined = cosines(pair[0].double(), pair[1].double())
        return {"cosine": cosine, "undefined": (~defined).double()}


@hyperparameters
class LossRatio:
    """The mean loss under a strong attack over that under a weak one.

    Args:
        weak: an attack, FGSM by default.
        strong: another, PGD by default.
        loss: what is averaged at their points.

    Cost: both attacks' passes and 2 forwards per example.
    """

    weak: Annotated[Perturbing, From(ATTACKS)] = ONE_STEP
    strong: Annotated[Perturbing, From(ATTACKS)] = MANY_STEPS
    loss: Annotated[Loss, From(LOSSES)] = CrossEntropy()

    def update(
        self,
        model: Model | FrozenModel,
        x: Tensor,
        y: Tensor,
        threat: Threat | None = None,
        *,
        keys: Keys | None = None,
    ) -> Columns:
        """The columns `weak` and `strong`, the losses, and `weak_right` and `strong_right`.

        Raises:
            InputError: no examples, no threat, or shapes that do not fit.
        """
        return look_at(model, x, y, needed(threat), keys, self._look)

    def compute(self, sums: Columns) -> Estimate:
        """The ratio of the means, with the standard error of a ratio to first order.

        Raises:
            InputError: the mean loss under the weak attack is 0.
        """
        weak, strong = sums["weak"].double(), sums["strong"].double()
        if not float(weak.mean()):
            raise InputError("sums", described("weak losses"), "average 0", "use a positive loss")
        ratio = float(strong.mean() / weak.mean())
        residual = (strong - ratio * weak) / weak.mean()
        stderr = float(residual.std()) / len(sums) ** 0.5 if len(sums) > 1 else None
        return Estimate(ratio, stderr, len(sums))

    def _look(self, frozen: FrozenModel, block: Block) -> Mapping[str, Tensor]:
        columns = {}
        for name, attack in (("weak", self.weak), ("strong", self.strong)):
            logits = frozen.logits(_moved(attack, frozen, block))
            columns[name] = self.loss(logits, block.y)
            columns[f"{name}_right"] = logits.argmax(dim=1) == block.y
        return columns


def shares(scaled: Tensor, tolerance: float = 0.01) -> tuple[Tensor, Tensor, Tensor]:
    """The shares of coordinates at the boundary, inside and at zero, each (B,) float64.

    Args:
        scaled: delta / radius, (B, *E).
        tolerance: |scaled| >= 1 - tolerance is the boundary, <= tolerance is zero.
    """
    size = scaled.abs().flatten(1)
    boundary = (size >= 1 - tolerance).double().mean(dim=1)
    zero = (size <= tolerance).double().mean(dim=1)
    return boundary, 1 - boundary - zero, zero


def histogram(scaled: Tensor, bins: int) -> Tensor:
    """The share of coordinates in each of `bins` equal parts of [-1, 1], (B, bins) float64."""
    place = ((scaled.flatten(1) + 1) / 2 * bins).long().clamp(0, bins - 1)
    counts = torch.zeros(len(scaled), bins, dtype=torch.float64, device=scaled.device)
    counts.scatter_add_(1, place, torch.ones_like(place, dtype=torch.float64))
    return counts / place.shape[1]


def _moved(attack: Perturbing, frozen: FrozenModel, block: Block) -> Tensor:
    return attack.perturb(frozen, block.x, block.y, needed(block.threat), keys=block.keys)


def _radius(threat: Threat, x: Tensor) -> Tensor:
    radius = torch.as_tensor(threat.radius, dtype=torch.float64, device=x.device)
    if radius.ndim > 1 or not bool((radius > 0).all()):
        shown = described(f"radius of shape {tuple(radius.shape)}")
        raise InputError("threat", shown, "scales no perturbation", "give one radius above 0")
    return per_example(radius, x.double())
