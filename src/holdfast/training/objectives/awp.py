"""Adversarial weight perturbation: the loss at the worst of the weights around the present ones.

    min_w  loss(w + v; x_adv),     v_l = gamma ||w_l|| g_l / ||g_l||,   g = grad_w loss(w; x_adv)

layer by layer l, for weights with at least two axes. The adversarial inputs are found at w; the
gradient of the weight step is taken at w + v and applied at w.

Symbols: gamma = `gamma`, v = the perturbation of the weights.
Source: Wu, Xia and Wang 2020, Adversarial weight perturbation helps robust generalization,
arXiv:2004.05884.
Departures: the weights are restored before the weight step, not after it, so that weight decay acts
on w instead of w + v and nothing is lost to rounding. No copy of the network is made. Under several
processes each perturbs the weights by its own examples.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Annotated, Any, cast

import torch
from torch import Tensor, nn

from holdfast.core.errors import InputError, described
from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.core.recipes import From, NonNegative, Range, hyperparameters
from holdfast.core.results import ObjectiveResult
from holdfast.losses.protocol import Loss
from holdfast.threats.protocol import Threat
from holdfast.training.objectives.catalogue import OBJECTIVES
from holdfast.training.objectives.fitting import bare
from holdfast.training.objectives.pgd_at import PGDAT
from holdfast.training.objectives.protocol import AtPoints, Objective, Passes, replays_of
from holdfast.training.visit import Visit, visit_of


@hyperparameters
class AdversarialWeightPerturbation:
    """Another objective, at weights that are perturbed to make it larger.

    Args:
        objective: what is minimised. One with an `attack`, and one that is `AtPoints` (trades,
            mart, sat, llr, fgsm-rs), attacks once, at the present weights; any other is evaluated
            twice as it is, with the same random numbers.
        gamma: length of each layer's perturbation, relative to the layer; published 5e-3 for TRADES
            and 1e-2 for PGD training.
        warmup: epochs without perturbation.

    Guarantee: weights are moved by the gradient of the objective's own loss, all its terms
        included, at the inputs that the weight step is made at. After `finish` they have the bits
        that they had; no gradient is left on them but that of the loss; buffers and memories
        change only by the pass at the perturbed weights.
    Cost: that of the objective, and its weight step once more.
    Source: Wu, Xia and Wang 2020, eq 10 and alg 1.
    """

    objective: Annotated[Objective, From(OBJECTIVES)] = PGDAT()
    gamma: NonNegative = 5e-3
    warmup: Annotated[int, Range(ge=0)] = 0

    def __post_init__(self) -> None:
        if replays_of(self.objective) != 1:
            problem = "shows each batch several times and changes its own inputs"
            raise InputError("objective", self.objective, problem, "give one without replays")
        attacked_with(self.objective, torch.empty(0))

    @property
    def passes(self) -> Passes:
        """The objective's, and once more without its attack."""
        whole = self.objective.passes
        again = attacked_with(self.objective, torch.empty(0)).passes
        return Passes(whole.forwards + again.forwards, whole.backwards + again.backwards)

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
        """The loss of a batch; see `Objective.loss`. Until `finish` is called the weights are the
        perturbed ones.

        Raises:
            InputError: a warm-up without a visit.
        """

        def evaluated(objective: Objective, model: nn.Module) -> ObjectiveResult:
            return objective.loss(
                model, x, y, threat, progress=progress, state=state, keys=keys, visit=visit
            )

        if self.warmup and visit_of(visit, "the warm-up of awp").epoch < self.warmup:
            return evaluated(self.objective, model)
        network = bare(model)
        with _buffers_aside(network), _not_recording(visit):
            before = evaluated(self.objective, network)
            weights = [
                each for each in network.parameters() if each.ndim > 1 and each.requires_grad
            ]
            gradients = torch.autograd.grad(before.loss, weights, allow_unused=True)
            if before.finish is not None:
                before.finish()
        restore = perturb(weights, gradients, self.gamma)
        try:
            objective = attacked_with(self.objective, before.x_adv)
            result = evaluated(objective, model)
        except BaseException:
            restore()
            raise

        def finish() -> Any:
            after = result.state if result.finish is None else result.finish()
            restore()
            return after

        logs = result.logs | {"unperturbed_loss": before.loss.detach()}
        return replace(result, logs=logs, finish=finish)


def perturb(
    weights: Sequence[Tensor], gradients: Sequence[Tensor | None], gamma: float
) -> Callable[[], None]:
    """Moves each tensor along its gradient by `gamma` times its own norm, in place.

    Args:
        gradients: one per tensor; None and zero leave it where it is.

    Returns:
        what restores the tensors, bit by bit.
    """
    moved = [(w, g) for w, g in zip(weights, gradients, strict=True) if g is not None]
    with torch.no_grad():
        kept = [(weight, weight.clone()) for weight, _ in moved]
        for weight, gradient in moved:
            size = gamma * torch.linalg.vector_norm(weight)
            weight.add_(gradient * (size / (torch.linalg.vector_norm(gradient) + 1e-20)))

    def restore() -> None:
        with torch.no_grad():
            for weight, before in kept:
                weight.copy_(before)

    return restore


@dataclass(frozen=True, eq=False)
class Given:
    """An attack that has been run: it returns the inputs that it found.

    Args:
        points: (B, *E) the result.
        loss: what was maximised; of no effect.
    """

    points: Tensor
    loss: Loss | None = None

    @property
    def steps(self) -> int:
        """None are left."""
        return 0

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
        """The points.

        Raises:
            InputError: the objective asks for a part of the batch.
        """
        if len(x) != len(self.points):
            remedy = (
                "perturb weights around an objective that attacks whole batches, as pgd-at does"
            )
            shown = described("one that attacks parts of the batch")
            raise InputError("objective", shown, "does not fit awp", remedy)
        return self.points


@dataclass(frozen=True, eq=False)
class Attacked:
    """An objective at points that it has found before.

    Args:
        objective: one that is `AtPoints`.
        points: (B, *E), its perturbed inputs.
    """

    objective: Any
    points: Tensor

    @property
    def passes(self) -> Passes:
        """The objective's without its attack."""
        found: Passes = self.objective.weight_passes
        return found

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
        more = {"progress": progress, "state": state, "keys": keys, "visit": visit}
        result: ObjectiveResult = self.objective.loss(
            model, x, y, threat, x_adv=self.points, **more
        )
        return result


def attacked_with(objective: Objective, x_adv: Tensor | None) -> Objective:
    """The objective with its attack's result given; as it is where it takes none."""
    if x_adv is None:
        return objective
    if isinstance(objective, AtPoints):
        return Attacked(objective, x_adv)
    if getattr(objective, "attack", None) is None:
        return objective
    return cast(Objective, replace(cast(Any, objective), attack=Given(x_adv)))


@contextmanager
def _buffers_aside(network: nn.Module) -> Iterator[None]:
    """Copies in the place of the network's buffers; its own are put back unchanged."""
    own = [
        (home, name, value)
        for home in (cast(dict[str, Any], module._buffers) for module in network.modules())
        for name, value in home.items()
        if value is not None
    ]
    try:
        for home, name, value in own:
            home[name] = value.clone()
        yield
    finally:
        for home, name, value in own:
            home[name] = value


@contextmanager
def _not_recording(visit: Visit | None) -> Iterator[None]:
    """Nothing is written to the visit's memory while the context lasts."""
    if visit is None:
        yield
        return
    recording, visit.memory.recording = visit.memory.recording, False
    try:
        yield
    finally:
        visit.memory.recording = recording
