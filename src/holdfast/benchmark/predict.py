"""What an evaluation will cost, before it is run: passes from above, memory, and seconds.

Passes are upper bounds: every example is counted as if no method decided it before the last one.
Seconds are those passes times what one forward and one backward of a whole block took just now.
"""

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from holdfast.attacks.attack import Attack
from holdfast.attacks.fgsm import FGSM
from holdfast.attacks.pgd import PGD
from holdfast.core.frozen import FrozenModel, Model, default_block
from holdfast.data.images import ImageData

_BOUND_FORWARDS = 3  # of the rigorous interval bound, in float64


@dataclass(frozen=True)
class StageCost:
    """The most that one stage can take.

    Args:
        stage: its name.
        forwards: rows sent forward.
        backwards: rows sent backward.
    """

    stage: str
    forwards: int
    backwards: int


@dataclass(frozen=True)
class Prediction:
    """The most that an evaluation can take.

    Args:
        examples: how many.
        stages: passes of each stage.
        seconds: for all of them, one process; measured on one block.
        memory: bytes of the process (on a GPU, of the device) that the evaluation needs.
        block: rows of every call.
        device: where it was measured.
        forward_seconds: of one example in a full block.
        backward_seconds: likewise, beyond its forward.
    """

    examples: int
    stages: tuple[StageCost, ...]
    seconds: float
    memory: int
    block: int
    device: str
    forward_seconds: float
    backward_seconds: float

    @property
    def forwards(self) -> int:
        """Forward passes of all stages."""
        return sum(stage.forwards for stage in self.stages)

    @property
    def backwards(self) -> int:
        """Backward passes of all stages."""
        return sum(stage.backwards for stage in self.stages)

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self) | {"forwards": self.forwards, "backwards": self.backwards}


def predict(
    model: Model,
    data: ImageData,
    *,
    attacks: Iterable[tuple[str, Attack]],
    bounds: Sequence[str] = (),
    radii: Sequence[float] = (),
    block: int | None = None,
    device: torch.device | str | None = None,
) -> Prediction:
    """Times one block and multiplies.

    Args:
        attacks: with their names.
        radii: further radii; each runs all methods again.

    Guarantee: `forwards` and `backwards` are not exceeded by an evaluation with these methods.
    Cost: three forwards and three backwards of one block.
    Raises:
        InputError: outputs that are no logits.
    """
    count = len(data)
    frozen = FrozenModel(model, device=device)
    rows = default_block(frozen.device) if block is None else block
    frozen = FrozenModel(model, block=rows, device=frozen.device)
    times = 1 + len(radii)
    stages = [StageCost("clean", count, 0)]
    stages += [StageCost(name, _BOUND_FORWARDS * count * times, 0) for name in bounds]
    for name, attack in attacks:
        forwards, backwards = cost(attack, data.classes)
        stages.append(StageCost(name, forwards * count * times, backwards * count * times))
    forward, backward = _timed(frozen, data, rows)
    total = sum(stage.forwards * forward + stage.backwards * backward for stage in stages)
    kept = 2 * 4 * data.images[0].numel() * count  # best iterates, of the ledger and of the sweep
    memory = _memory(frozen.device) + kept
    return Prediction(
        examples=count,
        stages=tuple(stages),
        seconds=total,
        memory=memory,
        block=rows,
        device=frozen.device.type,
        forward_seconds=forward,
        backward_seconds=backward,
    )


def cost(attack: Attack, classes: int) -> tuple[int, int]:
    """Forwards and backwards per example that the attack needs at most.

    Example:
        >>> cost(PGD(steps=50, restarts=10), 10)
        (512, 500)
    """
    if isinstance(attack, FGSM):
        return 4, 1
    if isinstance(attack, PGD):
        runs = attack.runs(classes)
        return runs * (attack.steps + 1) + 2, runs * attack.steps
    steps = int(getattr(attack, "steps", 1))
    return steps + 3, steps


def _timed(frozen: FrozenModel, data: ImageData, rows: int) -> tuple[float, float]:
    """Seconds of one example's forward, and of what its backward adds, in a full block."""
    at = torch.arange(rows) % len(data)
    x = data.inputs(at).to(frozen.device)
    forward = backward = math.inf
    with frozen:
        for _ in range(3):
            began = _now(frozen.device)
            frozen.logits(x)
            middle = _now(frozen.device)
            frozen.value_and_grad(x, lambda logits: logits[:, 0])
            end = _now(frozen.device)
            forward, backward = min(forward, middle - began), min(backward, end - middle)
    return forward / rows, max(0.0, backward - forward) / rows


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _memory(device: torch.device) -> int:
    """The peak so far: of the device, or of this process."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    try:
        import resource
    except ImportError:  # a system without it
        return 0
    return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * 1024
