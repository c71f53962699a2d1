"""One training run in progress: its state, its step, its epochs' ends, its checkpoints.

The order of a step is: batch, schedules, the objective's loss (its inner attack included),
backward, clipping, weight step, average. The device is waited for only where figures are read. The
global random state is seeded for every step from the recipe's seed and the step's number, for
dropout and its kin, so no random state needs to be saved.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.core.errors import InputError
from holdfast.core.random import Keys
from holdfast.core.results import ObjectiveResult
from holdfast.runs.metrics import Metrics
from holdfast.threats.protocol import Threat
from holdfast.training import checkpoints
from holdfast.training.averaging import Average
from holdfast.training.batches import Batch
from holdfast.training.course import Course, Place, Stretch
from holdfast.training.distributed import World
from holdfast.training.events import EpochDone, Event, Listener, StepDone, Warned
from holdfast.training.interrupts import Interrupts
from holdfast.training.keeping import Keeper
from holdfast.training.means import Means
from holdfast.training.memory import Memory
from holdfast.training.monitors.protocol import Scene
from holdfast.training.objectives.protocol import replays_of
from holdfast.training.optimizers import set_learning_rate
from holdfast.training.precision import in_precision, loss_scaler
from holdfast.training.recipe import Recipe
from holdfast.training.resuming import snapshot
from holdfast.training.selection import Selector, Validation, Validator
from holdfast.training.visit import Visit
from holdfast.training.watch import Moment, Watch

_OWN_NAMES = {"step", "epoch", "event", "learning_rate", "radius", "seconds", "epochs_done"}
"""What the loop itself records of a step."""


@dataclass(frozen=True, eq=False)
class Parts:
    """What a run is made of.

    Args:
        recipe: what to do.
        network: what is trained, on the device.
        threat: at its full radius.
        stretches: the batches of the training examples, in parts of training.
        validator: of the examples that the checkpoint is chosen by, or None.
        world: who trains together.
        chance: accuracy of guessing.
        folder: of the run, or None to keep nothing.
        metrics: where figures are recorded, or None.
        listener: who is told, or None.
        log_every: steps between two records.
        checkpoint_seconds: at most so long between two checkpoints; every epoch ends with one.
    """

    recipe: Recipe
    network: nn.Module
    threat: Threat
    stretches: Sequence[Stretch]
    validator: Validator | None
    world: World
    chance: float
    folder: Path | None
    metrics: Metrics | None
    listener: Listener | None
    log_every: int
    checkpoint_seconds: float

    @property
    def written(self) -> Path | None:
        """The folder of checkpoints, for the process that writes them; else None."""
        return self.folder / "checkpoints" if self.folder is not None and self.world.first else None


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
        self.course = Course(parts.stretches, replays_of(recipe.objective))
        self.memory = Memory(self.course.batches(0).count, device)
        self.accumulating = False
        self.steps, recorded = self.course.steps, parts.folder is not None
        self.keeper = Keeper(
            recipe, parts.network, parts.written, steps=self.steps, recorded=recorded
        )
        held_out = parts.validator is not None and recipe.selection.on != "train"
        self.watch = Watch(self.spec.monitors, parts.world, validation=held_out)
        self.stopped, self.threat = False, parts.threat
        self.history: list[dict[str, Any]] = []
        self.saved = time.monotonic()
        self.set_out()

    def set_out(self, *, done: int = 0, closed: int = 0, seconds: float = 0.0) -> None:
        """Sets the position: steps done, epochs closed, seconds spent; the clock starts."""
        self.done, self.closed, self.seconds = done, closed, seconds
        self.resumed_at, self.began = done, time.monotonic()

    @property
    def kept(self) -> nn.Module:
        """The network that is validated and kept: the average where there is one."""
        return self.network if self.average is None else self.average.network

    def batch_before(self, done: int) -> Batch:
        """The batch of the step that made so many done."""
        return self.course.batch(self.course.at(done - 1))

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
        between = self.closed == 0 or self.done == self.course.end(self.closed - 1)
        return not self.accumulating and (alone or between)

    def _run_epoch(self, interrupts: Interrupts) -> None:
        end = self.course.end(self.closed)
        while self.done < end and self.watch.ended is None:
            with interrupts.whole():
                self._step()
                event = self._record_step() if self.done % self.parts.log_every == 0 else None
                looked = self._looks(ends=self.done == end)
                due = time.monotonic() - self.saved >= self.parts.checkpoint_seconds
                if due and self.done < end and self.complete:
                    self.save()
            for each in (event, *looked):
                self.tell(each)
        figures = self._validation()
        with interrupts.whole():
            told = self._close_epoch(figures)
        for each in told:
            self.tell(each)

    def _validation(self) -> Validation | None:
        """The validation at the end of an epoch, where one is due."""
        validator, spec = self.parts.validator, self.recipe.selection
        last = self.closed + 1 == self.spec.epochs or self.watch.ended is not None
        due = last or (spec.every_steps is None and (self.closed + 1) % spec.every == 0)
        return validator.measure(self.kept) if validator is not None and due else None

    def _looks(self, *, ends: bool) -> list[Event]:
        """What is looked at between two steps: the monitors, and a validation by steps."""
        moment = Moment(self.done, self.closed + 1, ends, self._networks())
        figures, warnings = self.watch.look(moment, self._scene)
        if figures:
            self._write(event="monitor", step=self.done, epoch=self.closed + 1, **figures)
        told: list[Event] = [Warned(text) for text in warnings]
        every, validator = self.recipe.selection.every_steps, self.parts.validator
        due = every is not None and self.done % every == 0 and self.done < self.steps
        if validator is None or not due or self.watch.ended is not None:
            return told
        found, before = validator.measure(self.kept), len(self.selector.best.warnings)
        self._take(found, self.closed + 1)
        accuracies = {"clean_accuracy": found.clean, "robust_accuracy": found.robust}
        self._write(event="validation", step=self.done, epoch=self.closed + 1, **accuracies)
        return told + [Warned(text) for text in self.selector.best.warnings[before:]]

    def _networks(self) -> tuple[nn.Module, ...]:
        return (self.network,) if self.average is None else (self.network, self.average.network)

    def _scene(self, batch: Batch, x_adv: Tensor | None) -> Scene:
        validator, folder = self.parts.validator, self.parts.folder
        held_out = validator is not None and self.recipe.selection.on != "train"
        return Scene(
            network=self.network,
            kept=self.kept,
            x=batch.x,
            y=batch.y if batch.y.ndim == 1 else batch.y.argmax(dim=1),
            x_adv=x_adv,
            keys=batch.keys,
            threat=self.parts.threat,
            step=self.done,
            epoch=self.closed + 1,
            seed=self.recipe.seed,
            training=self.course.batches(self.closed).data,
            validation=validator.data if validator is not None and held_out else None,
            folder=None if folder is None else folder / "monitors",
        )

    def _step(self) -> None:
        """One weight step."""
        place, progress = self.course.at(self.done), self.course.progress(self.done)
        self._seed()
        batch = self.course.batch(place)
        self.memory.recording = batch.rows > 0
        self.threat = self._threat(progress)
        set_learning_rate(self.optimizer, self.course.rate(self.done, self.spec.schedule))
        result = self.recipe.objective.loss(
            self.model,
            batch.x,
            batch.y,
            self.threat,
            progress=progress,
            state=self.objective_state,
            keys=batch.keys,
            visit=self._visit(batch, place),
        )
        self.objective_state = result.state
        self._update(result, batch)
        self.done += 1
        self.keeper.end_step(self.kept, self.done)
        self.watch.saw(batch, result.x_adv, self.done, self.course.batches(place.epoch).size)
        for means in (self.interval, self.epoch):
            means.add(result.logs, batch.rows)

    def _visit(self, batch: Batch, place: Place) -> Visit:
        batches = self.course.batches(place.epoch)
        return Visit(
            places=batch.places,
            count=self.memory.count,
            epoch=place.epoch,
            epochs=self.spec.epochs,
            memory=self.memory,
            augment=batches.augment,
            params=batch.params,
            batch_size=batches.size,
            replay=place.replay,
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
        if taken := _OWN_NAMES & set(logs):
            problem = f"logs {min(taken)!r}, which is the loop's own"
            name = type(self.recipe.objective).__name__
            raise InputError("objective", name, problem, "choose another name")
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
        improved = self._take(figures, self.watch.chosen_epoch or epoch)
        self.closed = epoch
        self.stopped = self.selector.stop or self.watch.ended is not None
        record: dict[str, Any] = {"epoch": epoch, **logs, **self.watch.figures}
        self.watch.figures = {}
        if figures is not None:
            record |= {"clean_accuracy": figures.clean, "robust_accuracy": figures.robust}
        self.history.append(record)
        seconds = self.elapsed()
        self._write(
            event="epoch", step=self.done, epochs_done=epoch, **record, seconds=round(seconds, 3)
        )
        self.keeper.end_epoch(self.kept, epoch, figures)
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

    def _take(self, figures: Validation | None, epoch: int) -> bool:
        """Takes a validation into account and chooses the weights it is of, where they are the best
        or the last ones are wanted; whether they are the best so far."""
        improved = figures is not None and self.selector.update(epoch, figures)
        keep_last = self.recipe.selection.choose == "last" or self.parts.validator is None
        if improved or keep_last:
            step = self.watch.chosen_step or self.done
            self.keeper.choose(self.kept, epoch, figures, step=step)
        return improved

    def save(self) -> None:
        """Writes the checkpoint from which the run goes on."""
        self.saved = time.monotonic()
        if self.parts.written is not None:
            checkpoints.save(self.parts.written / checkpoints.LAST, snapshot(self))

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
