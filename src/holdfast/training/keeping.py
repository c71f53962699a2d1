"""The weights that a run keeps: the chosen ones, those of every so many epochs, an ensemble's.

All are written in the form of every saved model, so that they can be evaluated as they are.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from holdfast.core.errors import InputError
from holdfast.models.registry import architecture_of
from holdfast.models.store import save_model, save_weights
from holdfast.training import checkpoints
from holdfast.training.recipe import Recipe
from holdfast.training.selection import Validation
from holdfast.training.snapshots import Snapshots, period_ends


class Keeper:
    """What a run keeps of its weights.

    Args:
        recipe: what is trained.
        network: of the architecture.
        folder: where files go, or None; only one process is given one.
        steps: of training.
        recorded: whether there is a run to keep epochs in.

    Raises:
        InputError: epochs are to be kept and there is no run.
    """

    def __init__(
        self, recipe: Recipe, network: nn.Module, folder: Path | None, *, steps: int, recorded: bool
    ):
        self.recipe, self.folder = recipe, folder
        self.architecture = architecture_of(network)
        self.chosen: dict[str, Tensor] = {}
        self.figures: Validation | None = None
        self.epoch = self.step = 0
        every = recipe.training.keep_every
        if every is not None and not recorded:
            remedy = "give one, or leave keep_every out"
            raise InputError("training.keep_every", every, "has no run to keep weights in", remedy)
        ends = _ends(recipe)
        self.snapshots = None if ends is None else Snapshots(ends, steps)

    def choose(
        self, network: nn.Module, epoch: int, figures: Validation | None, *, step: int
    ) -> None:
        """Takes the present weights as the result so far."""
        self.epoch, self.figures, self.step = epoch, figures, step
        self.chosen = {
            key: value.detach().cpu().clone() for key, value in network.state_dict().items()
        }
        self.write()

    def write(self) -> None:
        """Writes the chosen weights."""
        if self.folder is not None and self.chosen:
            facts = self._facts(self.epoch, self.figures)
            save_weights(self.folder / checkpoints.BEST, self.chosen, self.architecture, facts)

    def end_epoch(self, network: nn.Module, epoch: int, figures: Validation | None) -> None:
        """Writes the weights after an epoch (0: at the beginning), where it is one to keep."""
        every = self.recipe.training.keep_every
        if self.folder is not None and every is not None and epoch % every == 0:
            file = checkpoints.epoch_file(self.folder, epoch)
            facts = self._facts(epoch, figures)
            save_weights(file, network.state_dict(), self.architecture, facts)

    def end_step(self, network: nn.Module, done: int) -> None:
        """Takes the weights after a step, where a period ends with it."""
        if self.snapshots is not None:
            self.snapshots.offer(done, network)

    def ensemble(self, network: nn.Module) -> nn.Module | None:
        """The ensemble that is the result, written as the chosen model; None where there is none.

        Args:
            network: of the members' architecture.
        """
        if self.snapshots is None or not self.snapshots.kept:
            return None
        made = self.snapshots.ensemble(network)
        if self.folder is not None:
            save_model(self.folder / checkpoints.BEST, made, metadata=self._facts(self.epoch, None))
        return made

    def facts(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "chosen_epoch": self.epoch,
            "chosen_step": self.step,
            "chosen_figures": self.figures,
        }

    def restore(
        self,
        facts: Mapping[str, Any],
        chosen: Mapping[str, Tensor],
        snapshots: Mapping[str, Tensor],
    ) -> None:
        """Goes on from `facts()`, the chosen weights and those of the ensemble."""
        figures = facts["chosen_figures"]
        self.chosen, self.step = dict(chosen), facts["chosen_step"]
        self.epoch = facts["chosen_epoch"]
        self.figures = None if figures is None else Validation(*figures)
        if self.snapshots is not None:
            self.snapshots.restore(snapshots)
        self.write()

    def _facts(self, epoch: int, figures: Validation | None) -> dict[str, Any]:
        clean, robust = figures or (None, None)
        facts: dict[str, Any] = {"recipe": self.recipe.name, "threat": self.recipe.threat}
        return facts | {"epoch": epoch, "clean": clean, "robust": robust}


def _ends(recipe: Recipe) -> tuple[float, ...] | None:
    """The fractions of training after which weights are taken for the ensemble.

    Raises:
        InputError: those of periods, where no schedule has any.
    """
    spec = recipe.training
    if spec.ensemble != "periods":
        return spec.ensemble
    found = {period_ends(each) for each in (spec.schedule, spec.radius_schedule)} - {(1.0,)}
    if len(found) != 1:
        problem = "finds no periods" if not found else "finds two kinds of periods"
        remedy = "give fractions, such as [0.5, 0.75, 1.0], or a schedule of kind 'periodic'"
        raise InputError("training.ensemble", spec.ensemble, problem, remedy)
    return found.pop()
