"""What an attack is, and what every gradient attack does around the engine."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor

from holdfast.attacks.engine import ascend, search
from holdfast.attacks.protocol import Listener, Walk
from holdfast.attacks.rows import Rows
from holdfast.core.errors import InputError, UnsupportedThreat, described
from holdfast.core.frozen import FrozenModel, Model, default_block, device_of
from holdfast.core.numbers import number
from holdfast.core.random import Keys
from holdfast.core.results import AttackResult
from holdfast.data.checks import check_inputs
from holdfast.threats.box import Box
from holdfast.threats.protocol import Searchable, Threat


@runtime_checkable
class Attack(Protocol):
    """Anything that searches a threat: a frozen record of hyperparameters with one verb."""

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
        """Searches the threat around each x (B, *E) for an input that the model gets wrong."""
        ...


class GradientAttack:
    """The verb of attacks that move by input gradients; the engine walks, subclasses say how."""

    smallest: ClassVar[bool] = False
    cost: ClassVar[tuple[int, int]] = (1, 1)

    def run(
        self: Walk,
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
        """Searches the threat around each example for an input that the model gets wrong.

        Args:
            model: inputs (B, *E) to logits (B, K); a `FrozenModel` fixes block and device.
            x: (B, *E) float, in the threat's box.
            y: (B,) int64 labels.
            keys: of the examples; None keys each by its own bytes, with seed 0.
            start: (B, *E) where the first run begins, such as another attack's best iterate.
            targets: (B,) classes to reach; None asks for any misclassification.
            on_event: called with `Finished` and `Tick` while the search goes on.

        Guarantee: `x_adv` lies in the threat and is never worse than the clean input; the last
            iterate is evaluated; `success` holds on a fresh forward pass; an example's result does
            not depend on the other examples.
        Raises:
            InputError: shapes, types, ranges or labels do not fit.
        """
        self.check(threat)
        with admitted(model, x, y, threat.box, keys, start) as (frozen, x, y, keys):
            return search(
                self,
                frozen,
                x,
                y,
                threat,
                keys=keys,
                start=start,
                targets=targets,
                on_event=on_event,
            )

    def perturb(
        self: Walk,
        frozen: FrozenModel,
        x: Tensor,
        y: Tensor,
        threat: Threat,
        *,
        keys: Keys,
        start: Tensor | None = None,
    ) -> Tensor:
        """The last iterate of one run on a whole batch, (B, *E): the inner maximiser of training.

        Args:
            start: (B, *E) where the run begins, taken as it is; None is the attack's own start.

        Cost: `steps` forwards and backwards per example; no result is checked or re-evaluated.

        Raises:
            UnsupportedThreat: the attack cannot move in the threat.
        """
        self.check(threat)
        return ascend(self, frozen, x, y, threat, keys=keys, start=start)

    @property
    def foresees(self) -> bool:
        """Every look is waited for."""
        return False

    def check(self, threat: Threat) -> None:
        """Refuses threats in which the attack cannot move; by default those that cannot project."""
        check_searchable(threat, type(self).__name__)

    def runs(self, classes: int) -> int:
        """One run of each example."""
        return 1

    def target(self, run: Tensor, y: Tensor, logits: Tensor) -> Tensor | None:
        """Untargeted."""
        return None

    def look(self: Walk, model: FrozenModel, rows: Rows) -> tuple[Tensor, Tensor, Tensor | None]:
        """Logits, objective, and the objective's gradient at the rows' points."""
        return model.value_and_grad(
            rows.point, lambda logits: self.objective(logits, rows.y, rows.target)
        )


class ScoreAttack(GradientAttack):
    """The same of attacks that see scores only: a look is one forward pass."""

    cost: ClassVar[tuple[int, int]] = (1, 0)

    def look(self: Walk, model: FrozenModel, rows: Rows) -> tuple[Tensor, Tensor, Tensor | None]:
        """Logits and objective at the rows' points."""
        logits = model.logits(rows.point)
        return logits, self.objective(logits, rows.y, rows.target), None


def check_searchable(threat: object, attack: str) -> None:
    """Refuses, for the attack of this name, a threat without steps and projections.

    Raises:
        UnsupportedThreat: the threat is not `Searchable`.
    """
    if not isinstance(threat, Searchable):
        raise UnsupportedThreat(
            f"{attack} needs steps and projections, and {type(threat).__name__} has none;"
            " use SpatialGrid for moved images, NoiseSearch for noise"
        )


@contextmanager
def admitted(
    model: Model | FrozenModel,
    x: Tensor,
    y: Tensor,
    box: Box | None,
    keys: Keys | None,
    start: Tensor | None,
) -> Iterator[tuple[FrozenModel, Tensor, Tensor, Keys]]:
    """The arguments of an attack's `run`, checked and on the model's device, with the frozen view
    entered and gradients off.

    Raises:
        InputError: inputs, labels or the start do not fit.
    """
    check_inputs(x, box)
    if len(y) != len(x):
        raise InputError("y", len(y), f"does not fit {len(x)} inputs", "give one each")
    if start is not None:
        check_start(start, x)
    frozen = frozen_view(model)
    x, y = x.to(frozen.device), y.to(frozen.device)
    with frozen, torch.no_grad():
        yield frozen, x, y, Keys.by_content(0, x) if keys is None else keys.to(frozen.device)


def check_start(start: Tensor, x: Tensor) -> None:
    """Refuses a start that does not fit the inputs or is not finite."""
    shape = described(f"tensor of shape {tuple(start.shape)}")
    if start.shape != x.shape:
        raise InputError("start", shape, f"does not fit {tuple(x.shape)}", "give one per input")
    if not bool(start.isfinite().all()):
        raise InputError("start", shape, "holds NaN or infinity", "give finite points")


def step_length(text: float | str, threat: Threat, steps: int) -> float | Tensor:
    """A step's length in the threat's units: a number, or a (b,) tensor for per-example radii.

    Args:
        text: a number in input units, `auto` (2.5 eps / steps), `eps`, `eps/4` or `1.25*eps`.

    Raises:
        InputError: not such a text, or relative to an infinite radius.
    """
    factor, relative = parse_step(text, steps)
    if not relative:
        return factor
    reach = threat.reach
    if not isinstance(reach, Tensor) and reach == float("inf"):
        raise InputError("step_size", text, "is relative to an infinite radius", "give a number")
    return factor * reach


@lru_cache
def parse_step(text: float | str, steps: int) -> tuple[float, bool]:
    """A step size as (factor, whether it is relative to the radius)."""
    if isinstance(text, str) and text == "auto":
        return 2.5 / steps, True
    if isinstance(text, str) and "eps" in text:
        before, _, after = text.partition("eps")
        try:
            factor = number(before.removesuffix("*") or 1.0) / number(
                after.removeprefix("/") or 1.0
            )
        except (InputError, ZeroDivisionError):
            raise _bad_step(text) from None
        if (before and not before.endswith("*")) or (after and not after.startswith("/")):
            raise _bad_step(text)
        return factor, True
    value = number(text, "step_size")
    if value <= 0:
        raise _bad_step(text)
    return value, False


def _bad_step(text: object) -> InputError:
    return InputError(
        "step_size", text, "is no step size", "give a number > 0, 'auto', 'eps/4' or '1.25*eps'"
    )


def frozen_view(model: Model | FrozenModel) -> FrozenModel:
    """The frozen view of a model, made with the default block where it is not one already."""
    if isinstance(model, FrozenModel):
        return model
    return FrozenModel(model, block=default_block(device_of(model)))
