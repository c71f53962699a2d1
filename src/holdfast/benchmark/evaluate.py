"""The two-sided evaluation: proved <= true <= attacked, with the evidence for every example.

Cheap methods first, each on what is still undecided: clean predictions, certificates, then attacks
in the order given. Further radii follow in ascending order, each really attacked, starting from the
best iterates of the one before; a witness counts for every radius it fits into, a certificate for
every smaller one. The work of a process is its shard of the examples; rows go to a journal, and the
answer is built from the journal's rows, so that a resume or more processes change nothing.

Thesis: Andriushchenko 2024, sec 4.3; Liu 2022, sec 1.1 (clean, empirical, verified, true robust
accuracy).
"""

import math
import warnings as python_warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.attacks.attack import Attack
from holdfast.attacks.protocol import Tick
from holdfast.attacks.text import as_attacks
from holdfast.benchmark.admission import check_examples, outputs_digest
from holdfast.benchmark.probe import probe
from holdfast.benchmark.result import Evaluation, Point, summarise
from holdfast.benchmark.stages import Bound, Clean, Rows, Search, Stage, attack_result
from holdfast.benchmark.sweep import Sweep
from holdfast.certify.catalogue import BOUNDS
from holdfast.certify.graph import Graph, capture
from holdfast.core.errors import CaptureError, InputError, UnsupportedThreat
from holdfast.core.frozen import FrozenModel, Model, default_block
from holdfast.core.ledger import Ledger
from holdfast.core.recipes import content_hash
from holdfast.core.results import Outcome
from holdfast.data.images import ImageData
from holdfast.models.weights import weights_hash
from holdfast.runs.directory import Run
from holdfast.runs.executors import Shard
from holdfast.runs.journal import Journal
from holdfast.runs.ranks import Ranks
from holdfast.threats.protocol import Threat

DEFAULT_ATTACKS = "fgsm,pgd-50-10"


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
    attacks: str | Attack | Iterable[str | Attack] = DEFAULT_ATTACKS,
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
        attacks: by name or as objects, in order; an empty list runs none.
        bounds: certificates by name, in order.
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
    job = _Evaluation(
        model, data, threat, as_attacks(attacks), tuple(bounds), _radii(radii, threat), seed
    )
    return job.run(batch_size, block, device, run, shard or Shard.current(), names or {}, on_event)


class _Evaluation:
    """One call of `evaluate`."""

    def __init__(
        self,
        model: Model,
        data: ImageData,
        threat: Threat,
        attacks: dict[str, Attack],
        bounds: tuple[str, ...],
        radii: tuple[float, ...],
        seed: int,
    ):
        self.model, self.data, self.threat, self.seed = model, data, threat, seed
        self.attacks, self.bounds, self.radii = attacks, bounds, radii
        self.ledger = Ledger(data.index, data.labels)
        self.place = {int(index): at for at, index in enumerate(data.index.tolist())}
        self.warnings: list[str] = []
        self.reports: list[dict[str, Any]] = []
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
        in_flight = math.ceil(batch_size / block)
        frozen = FrozenModel(self.model, block=block, in_flight=in_flight, device=at)
        self.frozen, self.on_event, self.names = frozen, on_event or (lambda event: None), names
        check_examples(self.data, self.threat)
        self.settings = self._settings(block)
        if run is not None:
            run.settings(self.settings)
        self.mine = shard.rows(len(self.data))
        journal = Journal(run.journal, rank=shard.rank) if run is not None else None
        self.journal = journal
        with frozen:
            self._capture()
        if run is None or shard.world == 1:
            self._examine()
            return self._answer()
        with Ranks(run.ranks, shard) as ranks:
            self._examine()
            if ranks.gather("evaluate"):
                self._examine_all()
        return self._answer()

    def _capture(self) -> None:
        """The graph for certificates; a model that has none is evaluated from one side."""
        if not self.bounds:
            return
        for name in self.bounds:
            BOUNDS[name]
        try:
            if not isinstance(self.model, nn.Module):
                raise CaptureError("a plain function has no graph; give an nn.Module")
            shape = tuple(self.data.images.shape[1:])
            self.graph = capture(self.model, shape, device=self.frozen.device)
        except (CaptureError, UnsupportedThreat) as error:
            self._warn(f"nothing is certified: {error}")

    def _examine(self) -> None:
        """All stages, in order, on this process's examples."""
        try:
            with self.frozen:
                self._stages()
        finally:
            if self.journal is not None:
                self.journal.flush()

    def _stages(self) -> None:
        self._stage(Clean(self.frozen), self.mine, self._take_clean)
        for text in probe(self.frozen, self.data, self.mine):
            self._warn(text)
        for name in self.bounds if self.graph is not None else ():
            self._stage(self._bound(name, self.threat), self._undecided(), self._take_bound(name))
        for name in self.attacks:
            stage = self._search(name, self.threat, None)
            self._stage(stage, self._undecided(), self._take_attack(name))
        self.sweep = Sweep(self.ledger, self.threat, self.data)
        for radius in self.radii:
            self._at_radius(self.threat.at(radius), radius)

    def _at_radius(self, threat: Threat, radius: float) -> None:
        """One further radius: bounds and attacks on what still stands there."""
        sweep = self.sweep
        for name in self.bounds if self.graph is not None else ():
            bound = self._bound(name, threat)
            at = self._own(sweep.stands(radius))
            self._stage(bound, at, lambda at, rows: sweep.take_bound(at, rows, radius))
        for name in self.attacks:
            search = self._search(name, threat, sweep.best)
            at = self._own(sweep.stands(radius))
            self._stage(search, at, partial(sweep.take_attack, method=search.name))

    def _stage(self, stage: Stage, at: Tensor, take: Callable[[Tensor, Rows], None]) -> None:
        """Runs a stage on the examples that the journal does not hold yet; takes all its rows."""
        report: dict[str, Any] = {
            "stage": stage.name,
            "examples": 0,
            "forwards": 0,
            "backwards": 0,
            "seconds": 0.0,
        }
        self.reports.append(report)
        total, done = len(at), 0

        def account(at: Tensor, rows: Rows) -> None:
            nonlocal done
            report["seconds"] += float(rows["seconds"].sum())
            for column in ("forwards", "backwards"):
                report[column] += int(rows[column].sum()) if column in rows else 0
            report["examples"] += len(at)
            self.ledger.seconds[at] += rows["seconds"]
            take(at, rows)
            done += len(at)
            self._tell(stage.name, done, total)

        def emit(at: Tensor, rows: Rows) -> None:
            if self.journal is not None:
                self.journal.append(stage.name, {"index": self.data.index[at], **rows})
            account(at, rows)

        at = self._replay(stage.name, at, account)
        self._tell(stage.name, done, total)
        if len(at):
            stage.run(self.data, at, emit)
        if self.journal is not None:
            self.journal.flush()

    def _replay(self, stage: str, at: Tensor, take: Callable[[Tensor, Rows], None]) -> Tensor:
        """Takes what the journal holds of these examples; what remains to be computed."""
        rows = self.journal.read(stage) if self.journal is not None else None
        if rows is None:
            return at
        places = torch.tensor([self.place.get(i, -1) for i in rows.pop("index").tolist()])
        known = torch.isin(places, at)
        if bool(known.any()):
            take(places[known], {name: column[known] for name, column in rows.items()})
        return at[~torch.isin(at, places)]

    def _examine_all(self) -> None:
        """The whole answer, from the rows that all ranks wrote."""
        self.ledger = Ledger(self.data.index, self.data.labels)
        self.reports.clear()
        self.mine = torch.arange(len(self.data))
        self._examine()

    def _take_clean(self, at: Tensor, rows: Rows) -> None:
        self.ledger.take_clean(at, rows["prediction"], rows["confidence"], rows["margin"])

    def _take_bound(self, name: str) -> Callable[[Tensor, Rows], None]:
        return lambda at, rows: self.ledger.take_bound(at, rows["bound"], name)

    def _take_attack(self, name: str) -> Callable[[Tensor, Rows], None]:
        return lambda at, rows: self.ledger.take_attack(at, attack_result(rows), name)

    def _bound(self, name: str, threat: Threat) -> Bound:
        block = self.frozen.block or 1
        assert self.graph is not None
        return Bound(self.graph, BOUNDS[name].load()(), name, threat, block, self.frozen.device)

    def _search(self, name: str, threat: Threat, warm: Tensor | None) -> Search:
        attack = self.attacks[name]
        return Search(self.frozen, attack, name, threat, self.seed, warm, self._tick)

    def _undecided(self) -> Tensor:
        return self._own(self.ledger.outcome == Outcome.UNDECIDED)

    def _own(self, mask: Tensor) -> Tensor:
        """Positions where the mask holds, of this process's shard."""
        return self.mine[mask[self.mine]]

    def _tick(self, event: Tick) -> None:
        self._tell()

    def _tell(self, stage: str | None = None, done: int = 0, total: int = 0) -> None:
        if stage is not None:
            self._where = (stage, done, total)
        passes = self.frozen.passes
        lost = self.ledger.outcome[self.mine]
        robust = (lost != Outcome.MISCLASSIFIED) & (lost != Outcome.BROKEN)
        self.on_event(
            Progress(
                *self._where,
                robust=float(robust.float().mean()),
                undecided=int((lost == Outcome.UNDECIDED).sum()),
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
        return {
            "model": weights_hash(self.model) if isinstance(self.model, nn.Module) else None,
            "data": self.data.content_hash(),
            "threat": str(self.threat.text),
            "attacks": {name: repr(attack) for name, attack in self.attacks.items()},
            "bounds": list(self.bounds),
            "radii": list(self.radii),
            "seed": self.seed,
            "block": block,
            "device": self.frozen.device.type,
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "outputs": outputs_digest(self.frozen, self.data),
        }

    def _answer(self) -> Evaluation:
        sweep = self.sweep
        points = [Point(radius, *sweep.counts(radius)) for radius in sweep.radii(self.radii)]
        self.warnings += sweep.warnings(self.threat)
        return summarise(
            ledger=self.ledger,
            data=self.data,
            threat=self.threat,
            points=points,
            stages=self.reports,
            certified=self.graph is not None,
            bounds=self.bounds,
            attacks=list(self.attacks),
            warnings=self.warnings,
            padding=self.frozen.passes.padding,
            settings=self.settings | {"hash": content_hash(self.settings)},
            names=self.names,
        )


def _radii(radii: Sequence[float], threat: Threat) -> tuple[float, ...]:
    """The further radii in ascending order, without 0 and the threat's own."""
    for radius in radii:
        if not (math.isfinite(radius) and radius >= 0):
            raise InputError("radii", radius, "is no radius", "give numbers >= 0")
    own = threat.radius
    if radii and not isinstance(own, float):
        raise InputError("radii", list(radii), "needs one radius for all", "use a scalar radius")
    return tuple(sorted({float(r) for r in radii if r != own and r > 0}))
