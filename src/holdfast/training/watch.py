"""The monitors of a run: who looks when, what they remember, and what they bring about.

All monitors that are due look at the weights between two steps. One that asks for `stop` ends
training there; `rollback` ends it too and brings back the weights of the last moment at which all
that looked passed. Under several processes the first one looks and all do the same.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.core.errors import InputError
from holdfast.core.recipes import kind_of
from holdfast.training.batches import Batch
from holdfast.training.distributed import World
from holdfast.training.monitors.catalogue import MONITORS
from holdfast.training.monitors.protocol import Action, Monitor, Reading, Scene

_ACTIONS: tuple[Action, ...] = ("none", "stop", "rollback")


@dataclass(frozen=True, eq=False)
class Moment:
    """Where training stands between two steps.

    Args:
        step: weight steps done.
        epoch: in progress or just done, from 1.
        ends: whether the epoch is done.
        networks: what is trained and, where there is one, its average.
    """

    step: int
    epoch: int
    ends: bool
    networks: tuple[nn.Module, ...]


class Watch:
    """The monitors of a run.

    Args:
        monitors: those of the recipe.
        world: who trains together.
        validation: whether examples are held out.

    Raises:
        InputError: two monitors of a kind; one that needs held-out examples where there are none.
    """

    def __init__(self, monitors: Sequence[Monitor], world: World, *, validation: bool):
        self.monitors = named(monitors)
        self.world = world
        for name, monitor in self.monitors.items():
            if getattr(monitor, "needs_validation", False) and not validation:
                remedy = "hold some out: data.validation = 0.1, selection.on = 'validation'"
                raise InputError("training.monitors", name, "has no validation examples", remedy)
        self.past: dict[str, Any] = {}
        self.figures: dict[str, float] = {}
        self.warnings: list[str] = []
        self.ended: dict[str, Any] | None = None
        self.passed: dict[str, Tensor] = {}
        self.passed_at: tuple[int, int] | None = None
        self.batch: Batch | None = None
        self.x_adv: Tensor | None = None
        self.seen_at = 0
        self._returns = any(
            getattr(monitor, "action", "none") == "rollback" for monitor in self.monitors.values()
        )

    def saw(self, batch: Batch, x_adv: Tensor | None, step: int, size: int) -> None:
        """Notes the batch of a step, but a short last one of an epoch."""
        if self.monitors and (self.batch is None or len(batch.x) * self.world.size >= size):
            self.batch, self.x_adv = batch, None if x_adv is None else x_adv.detach()
            self.seen_at = step

    def look(
        self, moment: Moment, scene: Callable[[Batch, Tensor | None], Scene]
    ) -> tuple[dict[str, float], list[str]]:
        """Lets those look that are due.

        Args:
            moment: where training stands.
            scene: what they see, for a batch and what was trained on.

        Returns:
            their figures by `<monitor>.<figure>`, and warnings; on the first process only.
        """
        due = {name: each for name, each in self.monitors.items() if _due(each.every, moment)}
        if not due or self.batch is None:
            return {}, []
        readings: dict[str, Reading] = {}
        if self.world.first:
            seen = scene(self.batch, self.x_adv)
            readings = {
                name: each.look(seen, self.past.get(name, {})) for name, each in due.items()
            }
        figures = {
            f"{name}.{figure}": float(value)
            for name, reading in readings.items()
            for figure, value in reading.figures.items()
        }
        self.past |= {name: dict(reading.past) for name, reading in readings.items()}
        warnings = [each.warning for each in readings.values() if each.warning is not None]
        self.figures |= figures
        self.warnings += warnings
        self._act(readings, moment)
        return figures, warnings

    @property
    def chosen_epoch(self) -> int | None:
        """The epoch of the weights that were brought back, or None."""
        found: int | None = None if self.ended is None else self.ended.get("restored_epoch")
        return found

    @property
    def chosen_step(self) -> int | None:
        """The step of the weights that were brought back, or None."""
        found: int | None = None if self.ended is None else self.ended.get("restored_step")
        return found

    def facts(self) -> dict[str, Any]:
        """As plain data."""
        names = ("past", "figures", "warnings", "ended", "passed_at", "seen_at")
        return {name: getattr(self, name) for name in names}

    def tensors(self) -> dict[str, Tensor]:
        """The weights to go back to, and what the noted batch was trained on."""
        return self.passed | ({} if self.x_adv is None else {"x_adv": self.x_adv})

    def restore(
        self,
        facts: Mapping[str, Any],
        tensors: Mapping[str, Tensor],
        batch: Callable[[int], Batch],
    ) -> None:
        """Goes on from `facts()` and `tensors()`.

        Args:
            batch: the batch of the step that made so many done.
        """
        self.past, self.figures = dict(facts["past"]), dict(facts["figures"])
        self.warnings, self.ended = list(facts["warnings"]), facts["ended"]
        at = facts["passed_at"]
        self.passed_at = None if at is None else (at[0], at[1])
        self.passed = {key: each.to(self.world.device) for key, each in tensors.items()}
        self.x_adv, self.seen_at = self.passed.pop("x_adv", None), facts["seen_at"]
        self.batch = batch(self.seen_at) if self.seen_at and self.monitors else None

    def _act(self, readings: Mapping[str, Reading], moment: Moment) -> None:
        """Ends training where a monitor asks for it; else keeps the weights to go back to."""
        asked = [(_ACTIONS.index(each.action), name) for name, each in readings.items()]
        strongest, name = max(asked, default=(0, ""), key=lambda pair: pair[0])
        code = int(self.world.total(torch.tensor([strongest], device=self.world.device)))
        if code == 0:
            if self._returns:
                self._keep(moment)
            return
        self.ended = {
            "by": name,
            "action": _ACTIONS[code],
            "epoch": moment.epoch,
            "step": moment.step,
        }
        if _ACTIONS[code] == "rollback" and self.passed_at is not None:
            step, epoch = self.passed_at
            self.ended |= {"restored_step": step, "restored_epoch": epoch}
            for number, network in enumerate(moment.networks):
                network.load_state_dict(_part(self.passed, number))

    def _keep(self, moment: Moment) -> None:
        self.passed_at = (moment.step, moment.epoch)
        self.passed = {
            f"{number}/{key}": value.detach().clone()
            for number, network in enumerate(moment.networks)
            for key, value in network.state_dict().items()
        }


def named(monitors: Sequence[Monitor]) -> dict[str, Monitor]:
    """The monitors by the names of their kinds.

    Raises:
        InputError: two of a kind.
    """
    found: dict[str, Monitor] = {}
    for monitor in monitors:
        try:
            name = kind_of(monitor, MONITORS)
        except InputError:  # one of the user's own
            name = type(monitor).__name__
        if name in found:
            raise InputError("training.monitors", name, "stands twice", "name each kind once")
        found[name] = monitor
    return found


def _due(every: str | int, moment: Moment) -> bool:
    return moment.ends if isinstance(every, str) else moment.step % every == 0


def _part(tensors: Mapping[str, Tensor], number: int) -> dict[str, Tensor]:
    head = f"{number}/"
    return {key.removeprefix(head): each for key, each in tensors.items() if key.startswith(head)}
