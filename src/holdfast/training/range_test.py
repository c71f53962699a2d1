"""The learning-rate range test: train a little with a growing rate and see where the loss turns.

The rate grows from step to step, by a constant factor or along a line, and the loss of each batch
is recorded and smoothed. At first it falls, the faster the larger the rate; from some rate on every
step does harm and it rises. The rate of the step before the smallest loss is the largest one that
still lowered it: the peak to suggest for a cyclic schedule. For gradient descent on a quadratic
with curvature h that is 2 / h, up to the growth of one step.

Source: Smith 2017, arXiv:1506.01186, sec 3.3; Wong 2020, sec 4.2.2: the peak of each method is the
    largest rate at which its training loss does not diverge (FGSM 0.2, PGD 0.2, Free 0.04).
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from torch import nn

from holdfast.core.errors import InputError
from holdfast.core.frozen import device_of
from holdfast.core.recipes import Count, From, Positive, Range, hyperparameters
from holdfast.threats.protocol import Threat
from holdfast.training.batches import Batch, Batches
from holdfast.training.catalogue import OPTIMIZERS
from holdfast.training.memory import Memory
from holdfast.training.objectives.protocol import Objective, replays_of
from holdfast.training.optimizers import SGD, set_learning_rate
from holdfast.training.visit import Visit


@dataclass(frozen=True)
class RangeTestResult:
    """What a range test saw.

    Args:
        rates: the learning rate of each step.
        losses: of its batch, before the step.
        smoothed: means of the losses around each step.
        suggestion: the largest rate that still lowered the smoothed loss; None where none did.
        diverged: the rate at which the loss was out of bounds and the test stopped; None where it
            stayed in bounds to the end, so that larger rates might do.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]
    suggestion: float | None
    diverged: float | None


@hyperparameters
class RangeTest:
    """A range test of the learning rate.

    Args:
        low: the first rate.
        high: the last rate.
        steps: from the one to the other, as long as the loss is in bounds.
        growth: `exponential`, by a constant factor; `linear`, by a constant amount.
        optimizer: what makes the steps.
        window: how many losses a smoothed one is the mean of.
        bound: the test stops when the mean of the last losses is so many times the smallest such
            mean, or not finite.

    Guarantee: the network, its gradients and modes, and the global random state are as before.
    Cost: at most `steps` steps of training.
    Source: Smith 2017, arXiv:1506.01186; Wong 2020, sec 4.2.2.
    """

    low: Positive = 1e-4
    high: Positive = 10.0
    steps: Annotated[int, Range(ge=2)] = 200
    growth: Literal["exponential", "linear"] = "exponential"
    optimizer: Annotated[Any, From(OPTIMIZERS)] = SGD()
    window: Count = 11
    bound: Annotated[float, Range(gt=1)] = 3.0

    def __post_init__(self) -> None:
        if self.low >= self.high:
            problem = f"is not below high={self.high:g}"
            raise InputError("low", self.low, problem, "give a smaller one")

    def rate(self, step: int) -> float:
        """The learning rate of a step, from 0."""
        share = step / (self.steps - 1)
        if self.growth == "linear":
            return self.low + (self.high - self.low) * share
        return float(self.low * (self.high / self.low) ** share)

    def run(
        self, network: nn.Module, objective: Objective, batches: Batches, threat: Threat
    ) -> RangeTestResult:
        """Trains a network on as many batches as it takes, and puts it back.

        Args:
            network: with the weights to start from, on the device of the batches.
            batches: of training examples, of one process; each step takes the next one.

        Raises:
            InputError: the first loss is not finite.
        """
        losses: list[float] = []
        lowest, out = math.inf, False
        with _restored(network, batches.seed):
            for loss in self._losses(network, objective, batches, threat):
                losses.append(loss)
                latest = sum(losses[-self.window :]) / self.window
                if len(losses) >= self.window:
                    lowest = min(lowest, latest)
                out = not math.isfinite(loss) or latest > self.bound * lowest
                if out:
                    break
        if not math.isfinite(losses[0]):
            raise InputError("loss", losses[0], "is not finite to begin with", "check the model")
        rates = tuple(self.rate(step) for step in range(len(losses)))
        means = smoothed(losses, self.window)
        best = means.index(min(means))
        return RangeTestResult(
            rates=rates,
            losses=tuple(losses),
            smoothed=means,
            suggestion=rates[best - 1] if best else None,
            diverged=rates[-1] if out else None,
        )

    def _losses(
        self, network: nn.Module, objective: Objective, batches: Batches, threat: Threat
    ) -> Iterator[float]:
        """The loss of each step, which is made before the next one is asked for."""
        optimizer: torch.optim.Optimizer = self.optimizer.build(network.train())
        memory, state = Memory(batches.count, device_of(network)), None
        replays = replays_of(objective)
        fresh = True
        for step in range(self.steps):
            epoch, number = divmod(step // replays, batches.per_epoch)
            batch = batches.batch(epoch, number)
            result = objective.loss(
                network,
                batch.x,
                batch.y,
                threat,
                progress=(step + 1) / self.steps,
                state=state,
                keys=batch.keys,
                visit=_visit(batches, batch, memory, epoch, step % replays),
            )
            if fresh:
                optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(result.loss)
            state = result.state if result.finish is None else result.finish()
            fresh = not result.accumulate
            if fresh:
                set_learning_rate(optimizer, self.rate(step))
                optimizer.step()
            yield result.loss.item()


def smoothed(losses: Sequence[float], window: int) -> tuple[float, ...]:
    """Means over windows around each place, which become smaller towards both ends and so stay
    centred."""
    last, found = len(losses) - 1, []
    for i in range(len(losses)):
        reach = min(window // 2, i, last - i)
        around = losses[i - reach : i + reach + 1]
        found.append(
            math.fsum(around) / len(around) if all(map(math.isfinite, around)) else math.inf
        )
    return tuple(found)


def _visit(batches: Batches, batch: Batch, memory: Memory, epoch: int, replay: int) -> Visit:
    return Visit(
        places=batch.places,
        count=memory.count,
        epoch=epoch,
        epochs=epoch + 1,
        memory=memory,
        augment=batches.augment,
        params=batch.params,
        batch_size=batches.size,
        replay=replay,
    )


@contextmanager
def _restored(network: nn.Module, seed: int) -> Iterator[None]:
    """On exit, the network's tensors, gradients and modes, and the global random state, as they
    were; inside, what the network draws comes from the seed."""
    tensors = [
        (each, each.detach().clone()) for each in (*network.parameters(), *network.buffers())
    ]
    gradients = [(each, each.grad) for each in network.parameters()]
    modes = [(module, module.training) for module in network.modules()]
    device = device_of(network)
    devices = [device.index or 0] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.default_generator.manual_seed(seed)
        for index in devices:
            torch.cuda.default_generators[index].manual_seed(seed)
        for parameter, _ in gradients:
            parameter.grad = None
        try:
            yield
        finally:
            with torch.no_grad():
                for tensor, kept in tensors:
                    tensor.copy_(kept)
            for parameter, gradient in gradients:
                parameter.grad = gradient
            for module, training in modes:
                module.training = training
