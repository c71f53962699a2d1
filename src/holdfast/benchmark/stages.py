"""The stages of an evaluation: each takes examples and hands out finished rows.

A stage's rows are all that is kept of it: they go to the journal, and the ledger is built from
them, whether they were just computed, read after a resume, or written by another process. A row
depends on its own example alone.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from holdfast.attacks.attack import Attack
from holdfast.attacks.protocol import Finished, Tick
from holdfast.certify.bounds.interval import Interval
from holdfast.certify.graphs.graph import Graph
from holdfast.certify.spec import margin_rows
from holdfast.core.errors import InputError, described
from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.core.results import AttackResult
from holdfast.data.images import ImageData
from holdfast.losses.margin import margin as margin_of
from holdfast.threats.protocol import Threat

Rows = dict[str, Tensor]
Emit = Callable[[Tensor, Rows], None]


class Stage(Protocol):
    """One method applied to examples."""

    @property
    def name(self) -> str:
        """What its rows are called in the journal."""

    def run(self, data: ImageData, at: Tensor, emit: Emit) -> None:
        """Computes the rows of the examples at positions `at` and emits them as they finish."""


@dataclass(frozen=True, eq=False)
class Clean:
    """Predictions on clean inputs: prediction, confidence, margin."""

    model: FrozenModel

    @property
    def name(self) -> str:
        """`clean`."""
        return "clean"

    def run(self, data: ImageData, at: Tensor, emit: Emit) -> None:
        """One forward per example; refuses outputs that are not finite."""
        clock = _Clock()
        block = self.model.block or len(at)
        for rows in torch.split(at, block):
            x, y, index = _inputs(self.model, data, _filled(rows, block))
            logits = self.model.logits(x)
            _check_scores(logits, y, index)
            confidence, prediction = torch.softmax(logits.double(), dim=1).max(dim=1)
            margin = margin_of(logits, y)
            found = {"prediction": prediction, "confidence": confidence.float(), "margin": margin}
            found["forwards"] = torch.ones_like(prediction)
            found = {name: column[: len(rows)] for name, column in found.items()}
            emit(rows, _on_cpu(found) | clock.share(len(rows)))


@dataclass(frozen=True, eq=False)
class Bound:
    """A certificate: the smallest certified margin over the wrong classes."""

    graph: Graph
    method: Interval
    method_name: str
    threat: Threat
    block: int
    device: torch.device

    @property
    def name(self) -> str:
        """The method and the threat."""
        return f"{self.method_name}@{self.threat.text}"

    def run(self, data: ImageData, at: Tensor, emit: Emit) -> None:
        """One bound per example, in blocks of one shape."""
        clock = _Clock()
        for rows in torch.split(at, self.block):
            padded = _filled(rows, self.block)
            x = data.inputs(padded).to(self.device)
            y = data.labels[padded].to(self.device)
            spec = margin_rows(y, self.graph.output_shape[0])
            bounds = self.method.bound(self.graph, x, self.threat.rows(padded), spec)
            lower = bounds.lower.amin(dim=1)[: len(rows)]
            proof = lower.isfinite() & (not bounds.estimate)
            lower = torch.where(proof, lower, torch.full_like(lower, -torch.inf))
            emit(rows, _on_cpu({"bound": lower}) | clock.share(len(rows)))


@dataclass(frozen=True, eq=False)
class Search:
    """An attack, started at the best iterates so far where `warm` holds them."""

    model: FrozenModel
    attack: Attack
    method_name: str
    threat: Threat
    seed: int
    warm: Tensor | None = None
    tick: Callable[[Tick], None] | None = None

    @property
    def name(self) -> str:
        """The method and the threat."""
        return f"{self.method_name}@{self.threat.text}"

    def run(self, data: ImageData, at: Tensor, emit: Emit) -> None:
        """The attack on groups of examples small enough to hold, with rows as they finish."""
        clock = _Clock()
        for rows in torch.split(at, _group(data)):
            x, y, index = _inputs(self.model, data, rows)
            keys = Keys.of(self.seed, index).fold(self.method_name)
            start = None if self.warm is None else self.warm[rows]

            def listen(event: Finished | Tick, rows: Tensor = rows) -> None:
                if isinstance(event, Finished):
                    which = event.rows.cpu()
                    emit(rows[which], _attack_rows(event.result) | clock.share(len(which)))
                elif self.tick is not None:
                    self.tick(event)

            threat = self.threat.rows(rows)
            self.attack.run(self.model, x, y, threat, keys=keys, start=start, on_event=listen)


def attack_result(rows: Rows) -> AttackResult:
    """The result that an attack stage's rows hold."""
    return AttackResult(**{name: rows[name] for name in _RESULT}, padding=0)


_RESULT = ("x_adv", "success", "margin", "size", "loss", "forwards", "backwards", "outcome")


def _attack_rows(result: AttackResult) -> Rows:
    return _on_cpu({name: getattr(result, name) for name in _RESULT})


class _Clock:
    """Deals the time that passes evenly over the rows that finish in it."""

    def __init__(self) -> None:
        self.last = time.perf_counter()

    def share(self, rows: int) -> Rows:
        now = time.perf_counter()
        elapsed, self.last = now - self.last, now
        return {"seconds": torch.full((rows,), elapsed / max(1, rows), dtype=torch.float64)}


def _inputs(model: FrozenModel, data: ImageData, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    x, y = data.inputs(rows), data.labels[rows]
    return x.to(model.device), y.to(model.device), data.index[rows]


def _filled(rows: Tensor, block: int) -> Tensor:
    """The rows, repeated up to the shape of a block."""
    return torch.cat([rows, rows[:1].expand(block - len(rows))])


def _group(data: ImageData) -> int:
    """How many examples are attacked in one call: at most 256 MB of inputs."""
    features = max(1, data.images[0].numel())
    return max(512, (256 << 20) // (4 * features))


def _on_cpu(rows: Rows) -> Rows:
    return {name: column.detach().to("cpu") for name, column in rows.items()}


def _check_scores(logits: Tensor, y: Tensor, index: Tensor) -> None:
    """Refuses what cannot be attacked: outputs that are not finite, or of too few classes."""
    finite = logits.isfinite().all(dim=1)
    if not bool(finite.all()):
        example = int(index[(~finite).nonzero()[0, 0].cpu()])
        shown = described(f"output on example {example}")
        raise InputError("model", shown, "is NaN or infinite", "repair the model or its weights")
    if int(y.max()) >= logits.shape[1]:
        shown = described(f"{logits.shape[1]} outputs")
        raise InputError(
            "model", shown, f"cannot give class {int(y.max())} of the data", "use another model"
        )
