"""Decoupled direction and norm (DDN): a small L2 perturbation, its length apart from its direction.

The direction follows the normalised gradient; the length only asks whether the last point fooled
the model:

    d_{k+1}   = d_k + a_k g_k / ||g_k||_2,
    e_{k+1}   = (1 - gamma) e_k where x + d_k fools the model, else (1 + gamma) e_k,
    x_{k+1}   = clip( x + e_{k+1} d_{k+1} / ||d_{k+1}||_2 ),   a_k from 1 to 0.01 along a cosine.

Symbols: gamma = `gamma`, e_0 = `init_norm`, g the gradient of the cross-entropy.
Source: Rony et al. 2019, arXiv:1811.09600, alg 1.
Departures: no quantisation unless `levels` is given; the last point is evaluated too; the length
stops growing at the farthest corner of the box, beyond which it has no effect. Where a gradient
vanishes the direction is drawn at random, as in the released code.
"""

import math
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from holdfast.attacks.attack import GradientAttack
from holdfast.attacks.lanes import wide
from holdfast.attacks.protocol import Seen
from holdfast.attacks.rows import Rows
from holdfast.core.errors import InputError, UnsupportedThreat
from holdfast.core.recipes import Count, Positive, Range, hyperparameters
from holdfast.core.tensors import norm, per_example
from holdfast.losses.cross_entropy import CrossEntropy
from holdfast.losses.protocol import Loss
from holdfast.threats.protocol import Threat
from holdfast.threats.radius import per_feature
from holdfast.threats.steps import l2


@hyperparameters
class DDN(GradientAttack):
    """A minimum-norm attack for L2 that adapts the length by a constant factor.

    Args:
        steps: gradient steps.
        gamma: factor by which the length shrinks after a success and grows after a failure.
        init_norm: length of the first perturbation, in input units.
        levels: values that a feature may take, evenly spaced over the box (256 for stored images);
            None for any.

    Guarantee: the smallest success of all points; with a finite radius it ends at one inside.
    Cost: per example steps + 3 forwards and `steps` backwards.
    Needs: input gradients; an L2 ball. A `start` is the first point, its length the first length.

    Example:
        >>> import torch
        >>> from holdfast.threats import L2
        >>> model = torch.nn.Linear(4, 2)
        >>> x, y = torch.full((1, 4), 0.5), torch.tensor([0])
        >>> DDN(steps=20).run(model, x, y, L2("inf")).x_adv.shape
        torch.Size([1, 4])
    """

    steps: Count = 100
    gamma: Annotated[float, Range(gt=0, lt=1)] = 0.05
    init_norm: Positive = 1.0
    levels: Annotated[int, Range(ge=2)] | None = None
    smallest: ClassVar[bool] = True

    @property
    def objective(self) -> Loss:
        """Cross-entropy, its gradient rounded as torch does: it may vanish."""
        return CrossEntropy(precise=False)

    def begin(self, rows: Rows) -> Tensor:
        """The clean input."""
        check_norm(rows.threat, (2.0,), "ddn")
        if self.levels is not None and rows.threat.box is None:
            raise InputError("levels", self.levels, "needs a box", "give one, or levels=None")
        rows.memory["length"] = torch.full_like(rows.origin.flatten(1)[:, 0], self.init_norm)
        return rows.origin

    def advance(self, rows: Rows, seen: Seen) -> Tensor:
        """A step along the gradient, brought to the new length."""
        move, length = rows.point - rows.origin, rows.memory["length"]
        given = norm(move, 2)
        length = torch.where((rows.step == 0) & (given > 0), given, length)
        factor = torch.where(seen.margin > 0, 1 + self.gamma, 1 - self.gamma)
        length = torch.minimum(length * factor, farthest(rows.origin, rows.threat))
        rows.memory["length"] = length
        rate = 0.01 + 0.99 * cosine(rows.step, self.steps).to(move)
        move = l2(move + per_example(rate, move) * self._direction(rows, seen.slope), 1.0)
        return self._valid(rows.origin + per_example(length, move) * move, rows.threat)

    def _direction(self, rows: Rows, gradient: Tensor) -> Tensor:
        """The normalised gradient, or a random direction where there is none."""
        direction = l2(gradient, 1.0)
        flat = gradient.flatten(1).abs().amax(dim=1) == 0
        if not bool(flat.any()):
            return direction
        draw = rows.keys.fold("direction").normal(gradient.shape[1:], rows.step).to(gradient)
        return torch.where(wide(flat, draw), l2(draw, 1.0), direction)

    def _valid(self, point: Tensor, threat: Threat) -> Tensor:
        """The point in the box, at one of its levels."""
        if threat.box is None:
            return point
        low, high = threat.box
        if self.levels is not None:
            scale = (self.levels - 1) / (high - low)
            point = ((point - low) * scale).round() / scale + low
        return point.clamp(low, high)


def cosine(step: Tensor, steps: int) -> Tensor:
    """(1 + cos(pi step / steps)) / 2, float64: from 1 towards 0."""
    return (1 + torch.cos(step.double() * (math.pi / steps))) / 2


def farthest(origin: Tensor, threat: Threat) -> Tensor:
    """The size of the largest perturbation in the box, (b,); infinite without one."""
    if threat.box is None:
        return torch.full_like(origin.flatten(1)[:, 0], torch.inf)
    low, high = threat.box
    return threat.size(torch.where(origin - low > high - origin, low, high), origin)


def check_norm(threat: Threat, known: tuple[float, ...], attack: str) -> None:
    """Raises UnsupportedThreat unless the threat is a ball of one of these norms, with one radius
    for all features."""
    if not hasattr(threat, "p"):
        raise UnsupportedThreat(
            f"{attack} works in norm balls, not in {type(threat).__name__}; use spatial-grid for "
            "moved images, noise for noise"
        )
    if threat.p in known and not per_feature(threat.radius):
        return
    names = {0.0: "l0", 1.0: "l1", 2.0: "l2", math.inf: "linf"}
    texts = " or ".join(f"{names[p]}:inf" for p in known)
    shown = f"{names.get(threat.p, threat.p)} ball"
    if per_feature(threat.radius):
        shown += " with one radius per feature"
    raise UnsupportedThreat(f"{attack} does not work in an {shown}; use {texts}, or another attack")
