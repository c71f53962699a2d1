"""The two-sided evaluation: proved <= true <= attacked, with the evidence for every example.

Attacks follow a protocol, each step on the examples that still stand; certificates decide examples
first or last, whichever is cheaper. Further radii follow in ascending order; a witness counts for
every radius it fits into, a certificate for every smaller one. The work of a process is its shard
of the examples; rows go to a journal, and the answer is built from the journal's rows, so that a
resume or more processes change nothing.

Thesis: Andriushchenko 2024, sec 4.3; Liu 2022, sec 1.1 (clean, empirical, verified, true robust
accuracy).
"""

import math
import warnings as python_warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from holdfast.attacks.attack import Attack
from holdfast.attacks.text import as_attacks
from holdfast.benchmark.admission import check_examples, outputs_digest
from holdfast.benchmark.auto import caveats, check_bounds
from holdfast.benchmark.catalogue import PROTOCOLS
from holdfast.benchmark.examination import Examination
from holdfast.benchmark.protocol import Listed, Protocol
from holdfast.benchmark.result import Evaluation, Point, summarise
from holdfast.certify.graphs.graph import Graph, capture
from holdfast.core.errors import CaptureError, InputError, UnsupportedThreat
from holdfast.core.frozen import FrozenModel, Model, default_block
from holdfast.core.recipes import content_hash
from holdfast.core.results import Outcome
from holdfast.data.images import ImageData
from holdfast.models.weights import weights_hash
from holdfast.runs.directory import Run
from holdfast.runs.executors import Shard
from holdfast.runs.journal import Journal
from holdfast.runs.ranks import Ranks
from holdfast.threats.protocol import Boundable, Threat

DEFAULT_PROTOCOL = "fast"
Attacks = str | Attack | Iterable[str | Attack]


@dataclass(frozen=True)
class Progress:
    """Where an evaluation stands.

    Args:
        stage: such as `pgd-50-10@linf:0.3`.
        done: examples finished in this stage, of `total`.
        robust: fraction of all examples neither broken nor misclassified so far.
        undecided: examples that no method has decided.
        forwards: rows sent forward so far.
        backwards: rows sent backward so far.
    """

    stage: str
    done: int
    total: int
    robust: float
    undecided: int
    forwards: int
    backwards: int


def evaluate(
    model: Model,
    data: ImageData,
    threat: Threat,
    *,
    protocol: str | Protocol | None = None,
    attacks: Attacks | None = None,
    bounds: Sequence[str] = ("interval",),
    radii: Sequence[float] = (),
    seed: int = 0,
    batch_size: int = 256,
    block: int | None = None,
    device: torch.device | str | None = None,
    run: Run | None = None,
    shard: Shard | None = None,
    names: dict[str, str] | None = None,
    on_event: Callable[[Progress], None] | None = None,
) -> Evaluation:
    """Evaluates a model on every example, from both sides.

    Args:
        model: inputs (B, *E) in input units to logits (B, K).
        data: the examples.
        threat: what may happen to an input.
        protocol: by name, such as `fast` or `standard`, or as an object; None with no attacks
            means `fast`.
        attacks: a list of one's own instead, by name or as objects, in order; an empty list runs
            none.
        bounds: certificates by name, in order; `auto` is all of them with an attack in between.
        radii: further radii at which accuracy is wanted, in input units.
        seed: of all random draws; an example's draws depend on (seed, its index, the attack).
        batch_size: how many rows are kept in flight, in blocks; changes no result.
        block: rows of every call of the model; by default 128 on a CPU, 512 on a GPU.
        run: where rows and the result are written; what it already holds is not computed again.
        shard: this process's part; by default what the launcher says.
        names: how model and data are called in the result.
        on_event: called with `Progress`.

    Returns:
        The evaluation; on ranks other than 0 of several processes, that of the own shard.

    Guarantee: certified examples are proved (see the bound's own guarantee), broken ones have a
        witness that was re-checked; on a CPU with the same threads, the same bits for any batch
        size, number of processes, or resume.
    Cost: 1 forward per example, the bounds, and the attacks' passes on undecided examples.
    Raises:
        InputError: a bad argument, a model whose outputs are no finite logits.
        RunConflict: `run` was made with other settings; the message names the first difference.
    """
    chosen = as_protocol(protocol, attacks)
    job = _Evaluation(model, data, threat, chosen, tuple(bounds), _radii(radii, threat), seed)
    return job.run(batch_size, block, device, run, shard or Shard.current(), names or {}, on_event)


class _Evaluation:
    """One call of `evaluate`."""

    def __init__(
        self,
        model: Model,
        data: ImageData,
        threat: Threat,
        protocol: Protocol,
        bounds: tuple[str, ...],
        radii: tuple[float, ...],
        seed: int,
    ):
        self.model, self.data, self.threat, self.seed = model, data, threat, seed
        self.protocol, self.bounds, self.radii = protocol, bounds, radii
        self.warnings: list[str] = []
        self.graph: Graph | None = None

    def run(
        self,
        batch_size: int,
        block: int | None,
        device: torch.device | str | None,
        run: Run | None,
        shard: Shard,
        names: dict[str, str],
        on_event: Callable[[Progress], None] | None,
    ) -> Evaluation:
        if batch_size < 1:
            raise InputError("batch_size", batch_size, "is below 1", "give a whole number from 1")
        at = FrozenModel(self.model, device=device).device
        block = default_block(at) if block is None else block
        if block < 1:
            raise InputError("block", block, "is below 1", "give a whole number from 1")
        if run is None and shard.world > 1:
            remedy = "give a run directory that they share"
            raise InputError("run", None, "is needed by several processes", remedy)
        in_flight = math.ceil(batch_size / block)
        frozen = FrozenModel(self.model, block=block, in_flight=in_flight, device=at)
        self.frozen, self.on_event, self.names = frozen, on_event or (lambda event: None), names
        check_examples(self.data, self.threat)
        self.settings = self._settings(block)
        if run is not None:
            run.settings(self.settings)
        self.journal = Journal(run.journal, rank=shard.rank) if run is not None else None
        with frozen:
            self._capture()
        everyone = torch.arange(len(self.data))
        if run is None or shard.world == 1:
            return self._answer(self._examine(shard.rows(len(self.data)), None, checks=True))
        with Ranks(run.ranks, shard) as ranks:
            waiting = ranks if self.protocol.adaptive else None
            mine = self._examine(shard.rows(len(self.data)), waiting, checks=False)
            if ranks.gather("evaluate"):
                mine = self._examine(everyone, None, checks=True)
        return self._answer(mine)

    def _capture(self) -> None:
        """The graph for certificates; a model that has none is evaluated from one side."""
        if not self.bounds:
            return
        check_bounds(self.bounds)
        try:
            if not isinstance(self.threat, Boundable):
                raise UnsupportedThreat(f"{self.threat.text} has no bounds")
            if not isinstance(self.model, nn.Module):
                raise CaptureError("a plain function has no graph; give an nn.Module")
            shape = tuple(self.data.images.shape[1:])
            self.graph = capture(self.model, shape, device=self.frozen.device)
        except (CaptureError, UnsupportedThreat) as error:
            self._warn(f"nothing is certified: {error}")

    def _examine(self, mine: torch.Tensor, ranks: Ranks | None, *, checks: bool) -> Examination:
        """All stages on the examples `mine`; with `ranks`, in step with the other processes."""
        examination = Examination(
            self.frozen,
            self.data,
            self.threat,
            self.protocol,
            self.bounds,
            self.radii,
            self.seed,
            graph=self.graph,
            mine=mine,
            journal=self.journal,
            ranks=ranks,
            tell=lambda stage, done, total: self._tell(examination, stage, done, total),
        )
        try:
            with self.frozen:
                examination.run(checks)
        finally:
            if self.journal is not None:
                self.journal.flush()
        return examination

    def _tell(self, examination: Examination, stage: str, done: int, total: int) -> None:
        passes = self.frozen.passes
        outcome = examination.ledger.outcome[examination.mine]
        lost = (outcome == Outcome.MISCLASSIFIED) | (outcome == Outcome.BROKEN)
        self.on_event(
            Progress(
                stage,
                done,
                total,
                robust=float((~lost).float().mean()) if len(lost) else 1.0,
                undecided=int((outcome == Outcome.UNDECIDED).sum()),
                forwards=passes.forwards,
                backwards=passes.backwards,
            )
        )

    def _warn(self, text: str) -> None:
        if text not in self.warnings:
            self.warnings.append(text)
            python_warnings.warn(text, stacklevel=5)

    def _settings(self, block: int) -> dict[str, Any]:
        """What a resumed run must have in common with this one."""
        listed = self.protocol.attacks if isinstance(self.protocol, Listed) else ()
        return {
            "model": weights_hash(self.model) if isinstance(self.model, nn.Module) else None,
            "data": self.data.content_hash(),
            "threat": str(self.threat.text),
            "protocol": "" if listed else f"{self.protocol.version} {self.protocol!r}",
            "attacks": {name: repr(attack) for name, attack in listed},
            "bounds": list(self.bounds),
            "radii": list(self.radii),
            "seed": self.seed,
            "block": block,
            "device": self.frozen.device.type,
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "outputs": outputs_digest(self.frozen, self.data),
        }

    def _answer(self, found: Examination) -> Evaluation:
        sweep = found.sweep
        points = [Point(radius, *sweep.counts(radius)) for radius in sweep.radii(self.radii)]
        self.warnings += sweep.warnings(self.threat)
        self.warnings += caveats(self.bounds)
        return summarise(
            ledger=found.ledger,
            data=self.data,
            threat=self.threat,
            points=points,
            stages=found.reports,
            certified=self.graph is not None,
            bounds=self.bounds,
            protocol=self.protocol,
            checks=found.checks,
            classes=found.classes,
            notes=found.notes,
            warnings=self.warnings,
            computed=self.frozen.passes.forwards + self.frozen.passes.padding,
            settings=self.settings | {"hash": content_hash(self.settings)},
            names=self.names,
        )


def as_protocol(protocol: str | Protocol | None, attacks: Attacks | None) -> Protocol:
    """The protocol that is named, given, or made of a list of attacks.

    Raises:
        InputError: both are given, or the name is not known.
    """
    if attacks is not None:
        if protocol is not None:
            remedy = "give a protocol, or attacks of your own"
            raise InputError("attacks", attacks, "is given beside a protocol", remedy)
        return Listed(tuple(as_attacks(attacks).items()))
    chosen = DEFAULT_PROTOCOL if protocol is None else protocol
    if isinstance(chosen, str):
        made: Protocol = PROTOCOLS[chosen].load()()
        return made
    if not isinstance(chosen, Protocol):
        raise InputError("protocol", protocol, "is no protocol", "give a name or a record")
    return chosen


def _radii(radii: Sequence[float], threat: Threat) -> tuple[float, ...]:
    """The further radii in ascending order, without 0 and the threat's own."""
    for radius in radii:
        if not (math.isfinite(radius) and radius >= 0):
            raise InputError("radii", radius, "is no radius", "give numbers >= 0")
    own = getattr(threat, "radius", None)
    if radii and not isinstance(own, float):
        raise InputError("radii", list(radii), "needs one radius for all", "use a scalar radius")
    return tuple(sorted({float(r) for r in radii if r != own and r > 0}))
