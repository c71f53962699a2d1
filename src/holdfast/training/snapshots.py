"""Weights that are kept at given moments of training, for an ensemble of them.

Source: Liu 2022, sec 4.2.4: periodic adversarial scheduling keeps the network at the end of each
    period and predicts with all of them; Huang et al. 2017, arXiv:1704.00109.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy

from torch import Tensor, nn

from holdfast.core.errors import InputError
from holdfast.models.ensemble import ensemble_of
from holdfast.schedules.composed import Periodic
from holdfast.schedules.protocol import Schedule, check_rising


def period_ends(schedule: Schedule) -> tuple[float, ...]:
    """Where the periods of a schedule end, as fractions of training; 1 alone where it has none.

    Schedules that are made from another one (warmed up, clipped, held, dropped) have its periods.
    """
    while not isinstance(schedule, Periodic):
        if not hasattr(schedule, "schedule"):
            return (1.0,)
        schedule = schedule.schedule
    return (*schedule.at, 1.0)


def snapshot_steps(ends: Sequence[float], steps: int) -> tuple[int, ...]:
    """The steps, counted from 1, after which the weights are kept: the last of each period.

    With values set before step i of T at (i + 1) / T, that is the last step whose progress does not
    exceed the end.

    Args:
        ends: rising fractions of training, above 0.
        steps: of the training.

    Raises:
        InputError: no or unordered fractions, or a period without a step.

    Example:
        >>> snapshot_steps((0.5, 0.75, 1.0), 10)
        (5, 7, 10)
    """
    check_rising("snapshots", (0.0, *ends))
    found = tuple(int(round(end * steps, 6)) for end in ends)
    if not found or len({0, *found}) <= len(found):
        problem = f"leaves a period of {steps} steps empty"
        raise InputError("snapshots", tuple(ends), problem, "give fewer periods, or more steps")
    return found


class Snapshots:
    """The weights and buffers of a network at the ends of periods, on the CPU.

    Args:
        ends: of the periods, as fractions of training.
        steps: of the training.
    """

    def __init__(self, ends: Sequence[float], steps: int):
        self.steps = snapshot_steps(ends, steps)
        self.kept: dict[int, dict[str, Tensor]] = {}

    def offer(self, done: int, network: nn.Module) -> bool:
        """Keeps a copy of the network's weights if step `done` (from 1) ends a period."""
        if done not in self.steps:
            return False
        state = network.state_dict()
        self.kept[done] = {key: each.detach().cpu().clone() for key, each in state.items()}
        return True

    @property
    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint keeps, by step and name."""
        return {
            f"{step}/{name}": tensor
            for step, state in self.kept.items()
            for name, tensor in state.items()
        }

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Takes over `tensors` of a checkpoint."""
        self.kept = {}
        for key, tensor in tensors.items():
            step, _, name = key.partition("/")
            self.kept.setdefault(int(step), {})[name] = tensor

    def ensemble(self, network: nn.Module, last: int | None = None) -> nn.Module:
        """The ensemble of the kept weights, or of the last so many, in evaluation mode.

        Args:
            network: of the architecture they belong to; it is copied, not changed.

        Raises:
            InputError: none is kept.
        """
        if not self.kept:
            raise InputError("snapshots", self.steps, "are not reached yet", "train on")
        chosen = [self.kept[step] for step in sorted(self.kept)][-last if last else 0 :]
        members = [deepcopy(network).requires_grad_(True) for _ in chosen]
        for member, state in zip(members, chosen, strict=True):
            member.load_state_dict(state)
        return ensemble_of(members).eval()
