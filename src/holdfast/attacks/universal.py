"""Universal perturbations: one change that fools a model on most inputs.

A fit looks for a delta in the ball of the threat around zero over a data set; `Universal` then adds
it to any input. Two fits:

    UniversalDeepFool   delta <- P(delta + r_i), for the inputs x_i that x_i + delta does not fool,
                        r_i the shortest change that takes x_i + delta across the boundary;
    UniversalSGD        delta <- P(delta + a v(g)),  g the gradient over a batch of
                        sum_i min(l(x_i + delta), beta), v the steepest direction of the norm.

Symbols: a = `step_size`, beta = `most_loss`; P projects onto the ball.
Source: Moosavi-Dezfooli et al. 2017, arXiv:1610.08401, algorithm 1; Shafahi et al. 2020,
    arXiv:1811.11304, algorithm 1 and the clipped loss.
Departures: "fooled" is misclassified, not changed in class. Inputs x + delta are clipped to the box
    before the model sees them, in the fits as well.
"""

import hashlib
import math
from collections.abc import Callable
from typing import Annotated

import torch
from torch import Tensor

from holdfast.attacks.attack import Attack, frozen_view, parse_step, step_length
from holdfast.attacks.catalogue import ATTACKS
from holdfast.attacks.decisions import check_geometry
from holdfast.attacks.deepfool import DeepFool
from holdfast.attacks.lockstep import LockstepAttack, Oracle
from holdfast.core.errors import InputError, described
from holdfast.core.frozen import FrozenModel, Model
from holdfast.core.random import Keys
from holdfast.core.recipes import Count, From, Positive, Range, hyperparameters
from holdfast.data.checks import check_inputs, check_labels
from holdfast.losses.catalogue import LOSSES
from holdfast.losses.cross_entropy import CrossEntropy
from holdfast.losses.margin import margin
from holdfast.losses.protocol import Loss
from holdfast.threats import projections
from holdfast.threats.protocol import Threat

_EXPONENTS = (math.inf, 2.0, 1.0)


@hyperparameters
class Universal(LockstepAttack):
    """One given change, added to every input and projected onto the threat around it.

    Args:
        delta: (1, *E), of the inputs' shape.

    Guarantee: the mean of `success` is the fooling rate of delta in the threat.
    Cost: per example 3 forwards: the clean look, one question, the final check.
    Needs: decisions.
    Source: Moosavi-Dezfooli et al. 2017, arXiv:1610.08401.

    Example:
        >>> import torch
        >>> from holdfast.threats import Linf
        >>> model = torch.nn.Linear(4, 3)
        >>> x, y = torch.full((2, 4), 0.5), torch.tensor([0, 1])
        >>> delta = UniversalSGD(epochs=1).fit(model, x, y, Linf(0.1))
        >>> Universal(delta=delta).run(model, x, y, Linf(0.1)).success.shape
        torch.Size([2])
    """

    delta: Tensor

    def __post_init__(self) -> None:
        if self.delta.ndim < 2 or len(self.delta) != 1 or not bool(self.delta.isfinite().all()):
            shown = described(f"tensor of shape {tuple(self.delta.shape)}")
            raise InputError("delta", shown, "is no finite change (1, *E)", "give one from a fit")
        object.__setattr__(self, "delta", self.delta.detach().clone())

    def __repr__(self) -> str:
        return f"Universal(delta={tuple(self.delta.shape)}:{self._digest()[:12]})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Universal) and self._digest() == other._digest()

    def __hash__(self) -> int:
        return hash(self._digest())

    def walk(self, oracle: Oracle) -> None:
        """Asks about the one point."""
        if self.delta.shape[1:] != oracle.x.shape[1:]:
            shown = described(f"tensor of shape {tuple(self.delta.shape)}")
            raise InputError("delta", shown, "does not fit the inputs", "fit one on such inputs")
        oracle.ask(oracle.threat.project(oracle.x + self.delta.to(oracle.x), oracle.x))

    def _digest(self) -> str:
        plain = self.delta.cpu().contiguous()
        text = f"{plain.dtype}{tuple(plain.shape)}".encode()
        return hashlib.sha256(text + plain.view(torch.uint8).numpy().tobytes()).hexdigest()


@hyperparameters
class UniversalSGD:
    """Projected stochastic gradient ascent on one change for all inputs.

    Args:
        epochs: passes over the data.
        batch: inputs of a step.
        step_size: a number in input units, or relative to the radius: `eps/10`.
        most_loss: where each example's loss is cut off, so that none dominates.
        loss: what is maximised.

    Guarantee: `fit` returns a point of the ball, and depends on the data as a set, and the keys.
    Cost: `epochs` forwards and backwards per example.
    Source: Shafahi et al. 2020, arXiv:1811.11304.
    """

    epochs: Count = 10
    batch: Count = 128
    step_size: float | str = "eps/10"
    most_loss: Positive = 9.0
    loss: Annotated[Loss, From(LOSSES)] = CrossEntropy()

    def __post_init__(self) -> None:
        parse_step(self.step_size, self.epochs)

    def fit(
        self,
        model: Model | FrozenModel,
        x: Tensor,
        y: Tensor,
        threat: Threat,
        keys: Keys | None = None,
    ) -> Tensor:
        """The change, (1, *E), for a data set x (N, *E), y (N,)."""
        frozen, x, y, keys = _prepared(model, x, y, threat, keys)
        length, delta = step_length(self.step_size, threat, self.epochs), torch.zeros_like(x[:1])
        with frozen, torch.no_grad():
            for epoch in range(self.epochs):
                for rows in torch.split(_order(keys, epoch), self.batch):
                    gradient = self._slope(frozen, x[rows], y[rows], delta, threat)
                    delta = in_ball(delta + threat.steepest(gradient, length), threat)
        return delta

    def _slope(
        self, frozen: FrozenModel, x: Tensor, y: Tensor, delta: Tensor, threat: Threat
    ) -> Tensor:
        """The gradient of the cut-off loss over a batch, (1, *E), zero through clipped features."""
        points, block = boxed(x + delta, threat), frozen.block or len(x)
        total = torch.zeros_like(delta)
        for part in torch.split(torch.arange(len(x), device=x.device), block):
            full = torch.cat([part, part[:1].expand(block - len(part))])
            _, _, gradient = frozen.value_and_grad(points[full], self._value(y[full]))
            free = points[part] == x[part] + delta
            total += (gradient[: len(part)] * free).sum(dim=0, keepdim=True)
        return total

    def _value(self, y: Tensor) -> Callable[[Tensor], Tensor]:
        """The cut-off loss of logits beside these labels."""
        return lambda logits: self.loss(logits, y).clamp_max(self.most_loss)


@hyperparameters
class UniversalDeepFool:
    """Shortest changes of one input after the other, added up in the ball.

    Args:
        epochs: passes over the data at most.
        fooling_rate: share of inputs to fool, at which to stop.
        attack: what finds the shortest change of one input.

    Guarantee: `fit` returns a point of the ball: the one of the highest fooling rate over the data
        among those after each pass.
    Cost: per pass, of each example one forward and what the attack takes on it.
    Source: Moosavi-Dezfooli et al. 2017, arXiv:1610.08401; defaults are the paper's.
    """

    epochs: Count = 10
    fooling_rate: Annotated[float, Range(gt=0, le=1)] = 0.8
    attack: Annotated[Attack, From(ATTACKS)] = DeepFool()

    def fit(
        self,
        model: Model | FrozenModel,
        x: Tensor,
        y: Tensor,
        threat: Threat,
        keys: Keys | None = None,
    ) -> Tensor:
        """The change, (1, *E), for a data set x (N, *E), y (N,)."""
        frozen, x, y, keys = _prepared(model, x, y, threat, keys)
        single = FrozenModel(frozen.model, mode=frozen.mode, block=1, device=frozen.device)
        best, best_rate, delta = torch.zeros_like(x[:1]), -1.0, torch.zeros_like(x[:1])
        with frozen, single, torch.no_grad():
            for epoch in range(self.epochs):
                for row in torch.split(_order(keys, epoch), 1):
                    change = self._shortest(single, x[row], y[row], keys[row], delta, threat)
                    delta = in_ball(delta + change, threat)
                wrong = margin(frozen.logits(boxed(x + delta, threat)), y) <= 0
                rate = float(wrong.float().mean())
                if rate > best_rate:
                    best, best_rate = delta, rate
                if rate >= self.fooling_rate:
                    break
        return best

    def _shortest(
        self, model: FrozenModel, x: Tensor, y: Tensor, keys: Keys, delta: Tensor, threat: Threat
    ) -> Tensor:
        """The change of one input that takes x + delta across the boundary, (1, *E); zero where it
        is across already, or none was found."""
        point = boxed(x + delta, threat)
        found = self.attack.run(model, point, y, threat.at("inf"), keys=keys)
        return torch.where(found.success.view(-1, *(1,) * (x.ndim - 1)), found.x_adv - point, 0.0)


def in_ball(delta: Tensor, threat: Threat) -> Tensor:
    """The nearest point of the threat's ball around zero, without its box, (1, *E)."""
    assert isinstance(threat.radius, float)
    project = {math.inf: projections.linf, 2.0: projections.l2, 1.0: projections.l1}[threat.p]
    return project(delta, torch.zeros_like(delta), threat.radius, None)


def boxed(points: Tensor, threat: Threat) -> Tensor:
    """Points (B, *E), clipped to the threat's box."""
    return points if threat.box is None else points.clamp(*threat.box)


def _prepared(
    model: Model | FrozenModel, x: Tensor, y: Tensor, threat: Threat, keys: Keys | None
) -> tuple[FrozenModel, Tensor, Tensor, Keys]:
    """The frozen view, and the data on its device, once everything is checked."""
    check_geometry(threat, _EXPONENTS, "a universal fit")
    if not isinstance(threat.radius, float) or math.isinf(threat.radius):
        raise InputError("radius", threat.radius, "is not one finite number", "give one for all")
    check_inputs(x, threat.box)
    frozen = frozen_view(model)
    x, y = x.to(frozen.device), y.to(frozen.device)
    if len(y) != len(x):
        raise InputError("y", len(y), f"does not fit {len(x)} inputs", "give one each")
    with frozen:
        check_labels(y, frozen.logits(x[:1]).shape[1])
    return frozen, x, y, Keys.by_content(0, x) if keys is None else keys.to(frozen.device)


def _order(keys: Keys, epoch: int) -> Tensor:
    """The examples in the order of a pass, (N,)."""
    return keys.fold("order").bits(1, epoch)[:, 0].argsort()
