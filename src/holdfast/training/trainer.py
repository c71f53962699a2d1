"""One training run in progress: its state, its step, its epochs' ends, its checkpoints.

The order of a step is: batch, schedules, the objective's loss (its inner attack included),
backward, clipping, weight step, average. The device is waited for only where figures are read. The
global random state is seeded for every step from the recipe's seed and the step's number, for
dropout and its kin, so no random state needs to be saved.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.core.errors import InputError
from holdfast.core.random import Keys
from holdfast.core.results import ObjectiveResult
from holdfast.models.registry import architecture_of
from holdfast.models.store import save_weights
from holdfast.runs.metrics import Metrics
from holdfast.threats.protocol import Threat
from holdfast.training import checkpoints
from holdfast.training.averaging import Average
from holdfast.training.batches import Batch, Batches
from holdfast.training.distributed import World
from holdfast.training.events import EpochDone, Event, Listener, StepDone, Warned
from holdfast.training.interrupts import Interrupts
from holdfast.training.means import Means
from holdfast.training.memory import Memory
from holdfast.training.optimizers import set_learning_rate
from holdfast.training.precision import in_precision, loss_scaler
from holdfast.training.recipe import Recipe
from holdfast.training.resuming import snapshot
from holdfast.training.selection import Selector, Validation, Validator
from holdfast.training.visit import Visit


@dataclass(frozen=True, eq=False)
class Parts:
    """What a run is made of.

    Args:
        recipe: what to do.
        network: what is trained, on the device.
        threat: at its full radius.
        batches: of the training examples.
        validator: of the held-out ones, or None.
        world: who trains together.
        chance: accuracy of guessing.
        checkpoints: the folder of checkpoints, or None to keep none.
        metrics: where figures are recorded, or None.
        listener: who is told, or None.
        log_every: steps between two records.
        checkpoint_seconds: at most so long between two checkpoints; every epoch ends with one.
    """

    recipe: Recipe
    network: nn.Module
    threat: Threat
    batches: Batches
    validator: Validator | None
    world: World
    chance: float
    checkpoints: Path | None
    metrics: Metrics | None
    listener: Listener | None
    log_every: int
    checkpoint_seconds: float


class Trainer:
    """The state of a run, and what changes it.

    Args:
        parts: what it is made of.
    """

    def __init__(self, parts: Parts):
        recipe, device = parts.recipe, parts.world.device
        self.parts, self.recipe, self.spec, self.network = (
            parts,
            recipe,
            recipe.training,
            parts.network,
        )
        self.optimizer = self.spec.optimizer.build(self.network)
        self.scaler = loss_scaler(self.spec.precision, device)
        self.model = parts.world.wrapped(in_precision(self.network, self.spec.precision, device))
        average = self.spec.average
        self.average = None if average is None else Average(self.network, average)
        self.selector, self.interval, self.epoch = Selector(recipe.selection), Means(), Means()
        self.objective_state: Mapping[str, Any] | None = None
        self.memory = Memory(len(parts.batches.data), device)
        self.replays: int = getattr(recipe.objective, "replays", 1)
        self.accumulating = False
        self.chosen: dict[str, Tensor] = {}
        self.chosen_figures: Validation | None = None
        self.chosen_epoch, self.stopped, self.threat = 0, False, parts.threat
        self.history: list[dict[str, Any]] = []
        self.saved = time.monotonic()
        self.set_out()

    def set_out(self, *, done: int = 0, closed: int = 0, seconds: float = 0.0) -> None:
        """Sets the position: steps done, epochs closed, seconds spent; the clock starts."""
        self.done, self.closed, self.seconds = done, closed, seconds
        self.resumed_at, self.began = done, time.monotonic()

    @property
    def per_epoch(self) -> int:
        """Steps of an epoch: its batches, times their replays."""
        return self.parts.batches.per_epoch * self.replays

    @property
    def steps(self) -> int:
        """Steps in all."""
        return self.spec.epochs * self.per_epoch

    @property
    def kept(self) -> nn.Module:
        """The network that is validated and kept: the average where there is one."""
        return self.network if self.average is None else self.average.network

    def shown(self) -> int:
        """Examples that the steps have seen so far, over all processes."""
        batches = self.parts.batches
        epochs, rest = divmod(self.done, self.per_epoch)
        return epochs * len(batches.data) * self.replays + rest * batches.size

    def run(self, interrupts: Interrupts) -> None:
        """Trains to the end, or until patience runs out; saves when interrupted.

        Raises:
            KeyboardInterrupt: when interrupted, after the state is saved.
        """
        try:
            while self.closed < self.spec.epochs and not self.stopped:
                self._run_epoch(interrupts)
        except KeyboardInterrupt:
            if not interrupts.torn and self.complete:
                self.save()
            raise

    @property
    def complete(self) -> bool:
        """Whether a checkpoint would hold all that the next step depends on: no gradient is half
        gathered, no other process has written to the memory."""
        alone = self.parts.world.size == 1 or not self.memory.tensors
        return not self.accumulating and (alone or self.done == self.closed * self.per_epoch)

    def _run_epoch(self, interrupts: Interrupts) -> None:
        end = (self.closed + 1) * self.per_epoch
        while self.done < end:
            with interrupts.whole():
                self._step()
                event = self._record_step() if self.done % self.parts.log_every == 0 else None
                due = time.monotonic() - self.saved >= self.parts.checkpoint_seconds
                if due and self.done < end and self.complete:
                    self.save()
            self.tell(event)
        last = self.closed + 1 == self.spec.epochs
        validator, every = self.parts.validator, self.recipe.selection.every
        figures = None
        if validator is not None and (last or (self.closed + 1) % every == 0):
            figures = validator.measure(self.kept)
        with interrupts.whole():
            told = self._close_epoch(figures)
        for each in told:
            self.tell(each)

    def _step(self) -> None:
        """One weight step."""
        epoch, number = divmod(self.done, self.per_epoch)
        progress = (self.done + 1) / self.steps
        self._seed()
        batch = self.parts.batches.batch(epoch, number // self.replays)
        self.memory.recording = batch.rows > 0
        self.threat = self._threat(progress)
        set_learning_rate(self.optimizer, self.spec.schedule(progress))
        result = self.recipe.objective.loss(
            self.model,
            batch.x,
            batch.y,
            self.threat,
            progress=progress,
            state=self.objective_state,
            keys=batch.keys,
            visit=self._visit(batch, epoch, number % self.replays),
        )
        self.objective_state = result.state
        self._update(result, batch)
        self.done += 1
        for means in (self.interval, self.epoch):
            means.add(result.logs, batch.rows)

    def _visit(self, batch: Batch, epoch: int, replay: int) -> Visit:
        batches = self.parts.batches
        return Visit(
            places=batch.places,
            count=self.memory.count,
            epoch=epoch,
            epochs=self.spec.epochs,
            memory=self.memory,
            augment=batches.augment,
            params=batch.params,
            batch_size=batches.size,
            replay=replay,
        )

    def _update(self, result: ObjectiveResult, batch: Batch) -> None:
        """The gradient of a loss, and the weight step unless more gradients are to come."""
        if not self.accumulating:
            self.optimizer.zero_grad(set_to_none=True)
        loss = result.loss if batch.factor == 1 else result.loss * batch.factor
        torch.autograd.backward(loss if self.scaler is None else self.scaler.scale(loss))
        if result.finish is not None:
            self.objective_state = result.finish()
        self.accumulating = result.accumulate
        if not self.accumulating:
            self._weight_step()

    def _weight_step(self) -> None:
        """The step along the gathered gradient, clipped, and the average."""
        if self.scaler is not None:
            self.scaler.unscale_(self.optimizer)
        weights = [each for each in self.network.parameters() if each.grad is not None]
        if self.spec.clip is not None:
            nn.utils.clip_grad_norm_(weights, self.spec.clip)
        if self.spec.clip_value is not None:
            nn.utils.clip_grad_value_(weights, self.spec.clip_value)
        if self.scaler is None:
            self.optimizer.step()
        else:
            self.scaler.step(self.optimizer)
            self.scaler.update()
        if self.average is not None:
            self.average.update(self.network)

    def _threat(self, progress: float) -> Threat:
        factor = self.spec.radius_schedule(progress)
        full = self.parts.threat
        return full if factor == 1 else full.at(full.radius * factor)

    def _seed(self) -> None:
        """Seeds torch's generators for what the network itself draws in this step."""
        keys = Keys.of(self.recipe.seed, [self.parts.world.rank]).fold("torch").fold(self.done)
        seed = int(keys.bits(1)) & (1 << 63) - 1
        torch.default_generator.manual_seed(seed)
        if self.parts.world.device.type == "cuda":
            index = self.parts.world.device.index or 0
            torch.cuda.default_generators[index].manual_seed(seed)

    def _record_step(self) -> StepDone:
        """Reads the figures since the last record."""
        logs = self.interval.read(self.parts.world)
        self.interval.reset()
        rate = float(self.optimizer.param_groups[0]["lr"])
        if not all(abs(value) < float("inf") for value in logs.values()):
            remedy = "lower the learning rate, or give training.clip"
            problem = f"made the loss {logs.get('loss')} at step {self.done}"
            raise InputError("training.schedule", rate, problem, remedy)
        event = StepDone(
            epoch=self.closed + 1,
            step=self.done,
            steps=self.steps,
            logs=logs,
            learning_rate=rate,
            radius=float(self.threat.radius),
            seconds=self.elapsed(),
            left=self._left(),
        )
        facts = {"learning_rate": rate, "radius": event.radius, "seconds": event.seconds}
        self._write(event="step", step=self.done, epoch=self.closed + 1, **logs, **facts)
        return event

    def _close_epoch(self, figures: Validation | None) -> list[Event]:
        """What is done once per epoch: the choice, records, a checkpoint."""
        warned = len(self.selector.best.warnings)
        epoch, logs = self.closed + 1, self.epoch.read(self.parts.world)
        self.epoch.reset()
        self.memory.share(self.parts.world)
        improved = figures is not None and self.selector.update(epoch, figures)
        keep_last = self.recipe.selection.choose == "last" or self.parts.validator is None
        self.closed = epoch
        self.stopped = self.selector.stop
        if improved or keep_last:
            self._choose(figures)
        record: dict[str, Any] = {"epoch": epoch, **logs}
        if figures is not None:
            record |= {"clean_accuracy": figures.clean, "robust_accuracy": figures.robust}
        self.history.append(record)
        seconds = self.elapsed()
        self._write(
            event="epoch", step=self.done, epochs_done=epoch, **record, seconds=round(seconds, 3)
        )
        self.save()
        clean, robust = figures or (None, None)
        told: list[Event] = [Warned(text) for text in self.selector.best.warnings[warned:]]
        done = EpochDone(
            epoch=epoch,
            epochs=self.spec.epochs,
            logs=logs,
            clean=clean,
            robust=robust,
            improved=improved,
            seconds=seconds,
            left=0.0 if self.stopped else self._left(),
        )
        return [done, *told]

    def _choose(self, figures: Validation | None) -> None:
        """Keeps the present weights as the result so far."""
        self.chosen_epoch, self.chosen_figures = self.closed, figures
        self.chosen = {
            key: value.detach().cpu().clone() for key, value in self.kept.state_dict().items()
        }
        self.write_chosen()

    def write_chosen(self) -> None:
        """Writes the chosen weights in the form of every saved model."""
        folder = self.parts.checkpoints
        if folder is None or not self.parts.world.first or not self.chosen:
            return
        clean, robust = self.chosen_figures or (None, None)
        facts: dict[str, Any] = {"recipe": self.recipe.name, "threat": self.recipe.threat}
        facts |= {"epoch": self.chosen_epoch, "clean": clean, "robust": robust}
        architecture = architecture_of(self.network)
        save_weights(folder / checkpoints.BEST, self.chosen, architecture, facts)

    def save(self) -> None:
        """Writes the checkpoint from which the run goes on."""
        self.saved = time.monotonic()
        if self.parts.checkpoints is not None and self.parts.world.first:
            checkpoints.save(self.parts.checkpoints / checkpoints.LAST, snapshot(self))

    def _write(self, **record: Any) -> None:
        if self.parts.metrics is not None and self.parts.world.first:
            self.parts.metrics.write(**record)

    def tell(self, event: Event | None) -> None:
        """Tells the listener; on the first process only."""
        if event is not None and self.parts.listener is not None and self.parts.world.first:
            self.parts.listener(event)

    def elapsed(self) -> float:
        """Seconds of training so far, interruptions aside."""
        return self.seconds + time.monotonic() - self.began

    def _left(self) -> float:
        """Seconds to the end at the pace of this process, validation included."""
        done = max(1, self.done - self.resumed_at)
        return (time.monotonic() - self.began) / done * (self.steps - self.done)
