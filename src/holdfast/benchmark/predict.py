"""What an evaluation will cost, before it is run: passes from above, memory, and seconds.

Passes are upper bounds: every example is counted as if no method decided it before the last one.
Seconds are those passes, in whole blocks, times what one forward and one backward of a whole block
took just now.

What one attack takes at most on one example follows from what it declares: `runs` and `cost` (or
`passes`) of attacks that the engine walks, `queries` of those that count their questions, `tries`
of those that try candidates. An attack of one's own may say it itself: `most(classes, threat)`.
"""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from holdfast.attacks.attack import Attack, GradientAttack
from holdfast.attacks.jsma import JSMA
from holdfast.attacks.linearised import LinearisedAttack
from holdfast.attacks.one_pixel import OnePixel
from holdfast.attacks.transfer import Transfer
from holdfast.attacks.universal import Universal
from holdfast.attacks.worst_of import WorstOf
from holdfast.benchmark.protocol import Board, Protocol
from holdfast.core.frozen import FrozenModel, Model, default_block
from holdfast.core.ledger import Ledger
from holdfast.data.images import ImageData
from holdfast.threats.protocol import Threat

_BOUND_FORWARDS = 3  # of the rigorous interval bound, in float64
_CHECK_PASSES = (13, 2)  # per example of a block: the checks of the model
_CURVE_PASSES = (4 * 13, 4 * 10)  # per example: a short attack at four radii
_CURVE = 32
_TAKEN_BACK = 2  # looks of APGD in L1 that are no steps


@dataclass(frozen=True)
class StageCost:
    """The most that one stage can take.

    Args:
        stage: its name.
        examples: how many it can see.
        forwards: rows sent forward.
        backwards: rows sent backward.
    """

    stage: str
    examples: int
    forwards: int
    backwards: int

    def seconds(self, forward: float, backward: float, block: int) -> float:
        """What it takes in whole blocks.

        Args:
            forward, backward: seconds of one row.
        """
        filled = math.ceil(self.examples / block) * block / max(1, self.examples)
        return filled * (self.forwards * forward + self.backwards * backward)


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
    threat: Threat | None = None,
    *,
    protocol: Protocol | None = None,
    bounds: Sequence[str] = (),
    radii: Sequence[float] = (),
    block: int | None = None,
    device: torch.device | str | None = None,
) -> Prediction:
    """Times one block and multiplies.

    Args:
        threat: None predicts clean predictions alone.
        protocol: whose steps are counted as if no example were decided before the last; an adaptive
            one is asked twice, as if all examples fell that it asks about, and as if none did.
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
    forward, backward, classes = _timed(frozen, data, rows)
    stages = [StageCost("clean", count, count, 0)]
    if threat is not None:
        curve = min(count, _CURVE)
        checks = (a * rows + b * curve for a, b in zip(_CHECK_PASSES, _CURVE_PASSES, strict=True))
        stages.append(StageCost("checks", rows, *checks))
    stages += [StageCost(name, count, _BOUND_FORWARDS * count * times, 0) for name in bounds]
    if threat is not None and protocol is not None:
        stages += _steps(protocol, data, threat, classes, times)
    total = sum(stage.seconds(forward, backward, rows) for stage in stages)
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


@dataclass(frozen=True, eq=False)
class _Supposed(Board):
    """A board on which no example is ever decided, while of those that a protocol asks about all
    fell, or none."""

    all_fell: bool

    def fell(self, at: Tensor) -> int:
        return len(at) if self.all_fell else 0


def _steps(
    protocol: Protocol, data: ImageData, threat: Threat, classes: int, times: int
) -> Iterator[StageCost]:
    """The steps that a protocol takes where all fall and where none does, each at its most."""
    blank = torch.full_like(data.inputs(torch.arange(1)), math.nan).expand(len(data), *data.shape)
    most: dict[str, tuple[int, int, int]] = {}
    for all_fell in (False, True) if protocol.adaptive else (False,):
        ledger = Ledger(data.index, data.labels)
        board = _Supposed(ledger, threat, classes, {}, {}, all_fell=all_fell)
        for step in protocol.steps(board):
            seen = len(data) if step.at is None else len(step.at)
            forwards, backwards = cost(step.attack, classes, threat)
            found = seen, forwards * seen * times, backwards * seen * times
            most[step.name] = max(most.get(step.name, found), found)
            board.points[step.name] = blank
    for name, passes in most.items():
        yield StageCost(name, *passes)


def cost(attack: Attack, classes: int, threat: Threat | None = None) -> tuple[int, int]:
    """Forwards and backwards per example that the attack needs at most, where every success that
    it claims is confirmed at once.

    Args:
        threat: None is the one that costs most.

    Example:
        >>> from holdfast.attacks.pgd import PGD
        >>> cost(PGD(steps=50, restarts=10), 10)
        (512, 500)
    """
    most = getattr(attack, "most", None)
    if callable(most):
        forwards, backwards = most(classes, threat)
        return int(forwards), int(backwards)
    if isinstance(attack, GradientAttack):
        return _walked(attack, classes, threat)
    if isinstance(attack, WorstOf):
        return _tried(attack, threat)
    if isinstance(attack, Transfer | Universal):
        return 3, 0
    if isinstance(attack, OnePixel):
        return attack.population * (attack.generations + 1) + 2, 0
    if isinstance(attack, JSMA):
        looks = min(attack.classes, classes - 1) * (2 * attack.steps + 1)
        return looks + 2, looks
    queries = getattr(attack, "queries", None)
    if queries is not None:
        return int(queries) + 2, 0
    steps = int(getattr(attack, "steps", 1))
    return steps + 3, steps


def _walked(attack: Any, classes: int, threat: Threat | None) -> tuple[int, int]:
    """Of a walk of the engine: the looks of all runs, the last point of each, the clean input and
    the confirmation."""
    per_look = attack.cost
    if isinstance(attack, LinearisedAttack):
        per_look = attack.passes(classes)
    looks = attack.steps + _uncounted(attack, threat)
    runs = attack.runs(classes)
    return runs * (looks * per_look[0] + 1) + 2, runs * looks * per_look[1]


def _uncounted(attack: Any, threat: Threat | None) -> int:
    """Looks of a run that are no steps: halvings from a given start, and in L1 two that APGD takes
    back."""
    halvings = getattr(attack, "halvings", -1) + 1
    l1 = threat is None or getattr(threat, "p", None) == 1
    return halvings + (_TAKEN_BACK if l1 and hasattr(attack, "widening") else 0)


def _tried(attack: Any, threat: Threat | None) -> tuple[int, int]:
    """Of an attack that tries candidates."""
    try:
        tries = attack.tries(threat)
    except AttributeError:  # a grid, of a threat that is not known or has none
        tries = 2 * attack.rotations * attack.shifts**2 * attack.scales
    return 2 + tries * (attack.moves + 1), tries * attack.moves


def _timed(frozen: FrozenModel, data: ImageData, rows: int) -> tuple[float, float, int]:
    """Seconds of one example's forward, and of what its backward adds, in a full block; and the
    number of classes."""
    at = torch.arange(rows) % len(data)
    x = data.inputs(at).to(frozen.device)
    forward = backward = math.inf
    with frozen:
        for _ in range(3):
            began = _now(frozen.device)
            classes = frozen.logits(x).shape[1]
            middle = _now(frozen.device)
            frozen.value_and_grad(x, lambda logits: logits[:, 0])
            end = _now(frozen.device)
            forward, backward = min(forward, middle - began), min(backward, end - middle)
    return forward / rows, max(0.0, backward - forward) / rows, classes


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
