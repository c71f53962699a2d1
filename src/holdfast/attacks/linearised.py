"""Attacks that step to a linearised decision boundary: what they see, and the verb around it.

At a point with logits z, the boundary between the label y and another class j is, to first order,

    gap_j + <slope_j, d> = 0,   gap_j = z_j - z_y,   slope_j = grad (z_j - z_y)

and its distance in the p-norm is |gap_j| / ||slope_j||_q with 1/p + 1/q = 1. The nearest one needs
the gradients of all classes; an attack that aims at one class needs one gradient.

Source: Moosavi-Dezfooli et al. 2016, arXiv:1511.04599, eq 8; Croce and Hein 2020,
    arXiv:1907.02044, eq 7.
"""

import math
from typing import ClassVar, cast

import torch
from torch import Tensor

from holdfast.attacks.attack import GradientAttack
from holdfast.attacks.protocol import Listener, Seen, Walk
from holdfast.attacks.rows import Rows
from holdfast.core.errors import UnsupportedThreat
from holdfast.core.frozen import FrozenModel, Model
from holdfast.core.random import Keys
from holdfast.core.results import AttackResult
from holdfast.core.tensors import dual_exponent, norm
from holdfast.losses.margin import Margin, margin, others
from holdfast.losses.protocol import Loss
from holdfast.threats.protocol import Threat

Sight = tuple[Tensor, Tensor, Tensor | None]


class LinearisedAttack(GradientAttack):
    """The verb of attacks that step to a linearised boundary; subclasses say how."""

    smallest: ClassVar[bool] = True

    @property
    def objective(self) -> Loss:
        """The gap: the logit of the other class less that of the label."""
        return Margin()

    def passes(self, classes: int | None) -> tuple[int, int]:
        """Forwards and backwards of one look, for a model with this many classes; None where the
        run aims at one class."""
        raise NotImplementedError

    def observe(
        self, model: FrozenModel, rows: Rows, *, aimed: bool, classes: int | None = None
    ) -> Sight:
        """Logits at the rows' points, and gap and slope of the boundary to step to.

        Args:
            aimed: whether `rows.target` is the goal, not just a direction.
            classes: of the model, where known.
        """
        raise NotImplementedError

    def look(self, model: FrozenModel, rows: Rows) -> Sight:
        """Logits, gap and slope."""
        return self.observe(model, rows, aimed=False)

    def run(
        self,
        model: Model | FrozenModel,
        x: Tensor,
        y: Tensor,
        threat: Threat,
        *,
        keys: Keys | None = None,
        start: Tensor | None = None,
        targets: Tensor | None = None,
        on_event: Listener | None = None,
    ) -> AttackResult:
        """Searches the threat around each example; arguments and guarantee as for gradient attacks.

        With `targets`, the boundary is that between the target and the best other class.

        Raises:
            UnsupportedThreat: no norm ball, or one radius per feature.
            InputError: shapes, types, ranges or labels do not fit.
        """
        check_ball(threat, type(self).__name__)
        walk = _Counted(self, aimed=targets is not None)
        options = {"keys": keys, "start": start, "targets": targets, "on_event": on_event}
        return GradientAttack.run(walk, model, x, y, threat, **options)  # type: ignore[arg-type]


class _Counted(GradientAttack):
    """The walk of one call, which knows the goal, and the number of classes for its cost."""

    smallest = True

    def __init__(self, attack: LinearisedAttack, *, aimed: bool):
        self._attack, self._walk, self._aimed = attack, cast(Walk, attack), aimed
        self._classes: int | None = None

    @property
    def steps(self) -> int:
        return self._walk.steps

    @property
    def objective(self) -> Loss:
        return _Lead() if self._aimed else self._walk.objective

    @property
    def cost(self) -> tuple[int, int]:  # type: ignore[override]
        return self._attack.passes(None if self._aimed else self._classes)

    def runs(self, classes: int) -> int:
        self._classes = classes
        return self._walk.runs(2 if self._aimed else classes)

    def target(self, run: Tensor, y: Tensor, logits: Tensor) -> Tensor | None:
        return self._walk.target(run, y, logits)

    def begin(self, rows: Rows) -> Tensor:
        return self._walk.begin(rows)

    def look(self, model: FrozenModel, rows: Rows) -> Sight:
        return self._attack.observe(model, rows, aimed=self._aimed, classes=self._classes)

    def advance(self, rows: Rows, seen: Seen) -> Tensor:
        return self._walk.advance(rows, seen)


class _Lead:
    """The logit of the target less the best other one."""

    def __call__(self, logits: Tensor, y: Tensor, target: Tensor | None = None) -> Tensor:
        assert target is not None
        return margin(logits, target)


def aimed_boundary(
    model: FrozenModel, points: Tensor, rows: Rows, *, aimed: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Logits (b, K), gap (b,) and slope (b, *E) of the boundary towards `rows.target`.

    Args:
        aimed: whether the target has to lead all classes, or only to overtake the label.
    """
    value: Loss = _Lead() if aimed else Margin()
    return model.value_and_grad(points, lambda logits: value(logits, rows.y, rows.target))


def nearest_boundary(
    model: FrozenModel, points: Tensor, y: Tensor, rivals: Tensor, p: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Logits (b, K), gap (b,) and slope (b, *E) of the nearest linearised boundary.

    Args:
        points: (b, *E).
        rivals: (b, k) the other classes considered.
        p: the norm of the distance: inf, 2 or 1.

    Cost: one forward and k + 1 backwards per row.
    """
    logits, gradients = model.jacobian(points, torch.cat([y.unsqueeze(1), rivals], dim=1))
    gaps = logits.gather(1, rivals) - logits.gather(1, y.unsqueeze(1))
    slopes = gradients[:, 1:] - gradients[:, :1]
    length = norm(slopes.flatten(0, 1), dual_exponent(p)).view_as(gaps)
    nearest = (gaps.abs() / (length + 1e-12)).argmin(dim=1)
    row = torch.arange(len(y), device=y.device)
    return logits, gaps[row, nearest], slopes[row, nearest]


def leading_rivals(logits: Tensor, y: Tensor, most: int) -> Tensor:
    """The classes other than y with the largest logits, (b, k), k = min(K - 1, most)."""
    return others(logits, y).topk(min(logits.shape[1] - 1, most), dim=1).indices


def all_rivals(y: Tensor, classes: int) -> Tensor:
    """All classes other than y, (b, K - 1)."""
    return (y.unsqueeze(1) + torch.arange(1, classes, device=y.device)) % classes


def check_ball(threat: Threat, name: str) -> None:
    """Refuses what is no norm ball around the input with one radius.

    Raises:
        UnsupportedThreat: see above.
    """
    remedy = "use linf:R, l2:R or l1:R, with one radius or one per example"
    if getattr(threat, "p", None) not in (1.0, 2.0, math.inf) or not hasattr(threat, "radius"):
        raise UnsupportedThreat(f"{name} does not support {threat}; {remedy}")
    if isinstance(threat.radius, Tensor) and threat.radius.ndim > 1:
        raise UnsupportedThreat(f"{name} does not support one radius per feature; {remedy}")
