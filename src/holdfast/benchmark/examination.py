"""One process's part of an evaluation: stages in order, their rows to the journal and the ledger.

Clean predictions come first. Certificates come next where a sample shows that they save more passes
than they cost, else last, on what still stands. Then the protocol's steps, and the whole again at
further radii in ascending order: a witness counts for every radius it fits into, a certificate for
every smaller one.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from holdfast.attacks.protocol import Tick
from holdfast.benchmark.auto import AUTO, Auto, Prove
from holdfast.benchmark.checks import Checks
from holdfast.benchmark.predict import cost
from holdfast.benchmark.protocol import Board, Listed, Protocol, Step, blank
from holdfast.benchmark.stages import Bound, Clean, Rows, Search, Stage, attack_result
from holdfast.benchmark.sweep import Sweep
from holdfast.certify.catalogue import BOUNDS
from holdfast.certify.graphs.graph import Graph
from holdfast.core.errors import InputError, RunConflict
from holdfast.core.frozen import FrozenModel
from holdfast.core.ledger import Ledger
from holdfast.core.results import Outcome
from holdfast.data.images import ImageData
from holdfast.runs.journal import Journal
from holdfast.runs.ranks import Ranks
from holdfast.threats.protocol import Threat

_SAMPLE = 32
_SMALLEST = 16
_FORESEEN = 64  # for attacks that fill free places by looking ahead
_PAUSE = 0.1  # seconds between signs of life
_BOUND_COST = 3  # forwards that an interval bound takes, about
Tell = Callable[[str, int, int], None]
Take = Callable[[Tensor, Rows, str], None]


class Examination:
    """Runs the stages of an evaluation on some examples.

    Args:
        frozen: the model, entered.
        graph: for certificates, or None.
        mine: positions of this process's examples.
        journal: where rows go, or None.
        ranks: the other processes, where steps depend on what these find; else None.
        tell: called with (stage, done, total).

    Attributes: `ledger`, `sweep`, `reports` (one per stage, with its cost), `points` (best points
    by step), `notes` (what the protocol leaves: the pilot, the audit).
    """

    def __init__(
        self,
        frozen: FrozenModel,
        data: ImageData,
        threat: Threat,
        protocol: Protocol,
        bounds: tuple[str, ...],
        radii: tuple[float, ...],
        seed: int,
        *,
        graph: Graph | None,
        mine: Tensor,
        journal: Journal | None,
        ranks: Ranks | None,
        tell: Tell,
    ):
        self.frozen, self.data, self.threat, self.protocol = frozen, data, threat, protocol
        self.bounds = bounds if graph is not None else ()
        self.radii, self.seed, self.graph, self.mine = radii, seed, graph, mine
        self.journal, self.ranks, self.tell = journal, ranks, tell
        self.ledger = Ledger(data.index, data.labels)
        self.place = {int(index): at for at, index in enumerate(data.index.tolist())}
        self.reports: list[dict[str, Any]] = []
        self.notes: dict[str, Any] = {}
        self.narrower: dict[int, FrozenModel] = {}
        self.where, self.told = ("", 0, 0), 0.0

    def run(self, checks: bool) -> None:
        """All stages, in order.

        Args:
            checks: whether the model is examined for signs that the answer cannot be believed.
        """
        everyone = torch.arange(len(self.data))
        self._stage(Clean(self.frozen), everyone, self._take_clean)
        self.classes = self._classes()
        self.checks = Checks(self.frozen, self.data, self.threat, self.seed)
        if checks:
            self.checks.of_model(self.ledger, self.protocol)
            self.reports.append(self.checks.report)
        first = self._bounds_pay()
        if first:
            self._prove()
        self._attack(self.threat, self.ledger, self._take_attack, None)
        if not first:
            self._prove()
        self.sweep = Sweep(self.ledger, self.threat, self.data)
        for radius in self.radii:
            self._at_radius(self.threat.at(radius), radius)

    def _attack(
        self,
        threat: Threat,
        ledger: Ledger,
        take: Take,
        warm: Tensor | None,
    ) -> None:
        """The protocol's steps, on the examples that stand in the ledger."""
        notes = self.notes if ledger is self.ledger else {}  # they speak of the threat itself
        board = Board(ledger, threat, self.classes, {}, notes)
        for step in self.protocol.steps(board):
            if step.name in board.points:
                remedy = "give each step its own name"
                raise InputError("protocol", step.name, "names two steps", remedy)
            at = board.standing()
            if step.at is not None:
                at = at[torch.isin(at, step.at)]
            board.points[step.name] = blank(self.data.inputs(torch.arange(1)), len(self.data))
            self._step(step, threat, at, board, take, warm)

    def _step(
        self,
        step: Step,
        threat: Threat,
        at: Tensor,
        board: Board,
        take: Take,
        warm: Tensor | None,
    ) -> None:
        start = board.points[step.start] if step.start is not None else warm
        model = self._fitting(step, len(at)) if self.protocol.adaptive else self.frozen
        search = Search(model, step.attack, step.name, threat, self.seed, start, self._tick)

        def keep(at: Tensor, rows: Rows) -> None:
            board.points[step.name][at] = rows["x_adv"].to(board.points[step.name])
            take(at, rows, step.name)

        self._stage(search, at, keep)

    def _fitting(self, step: Step, examples: int) -> FrozenModel:
        """The model in blocks no larger than a step on few examples can fill, also by looking
        ahead: its shape depends on how many examples all processes have in it, as the step itself
        does."""
        runs = getattr(step.attack, "runs", lambda classes: 1)(self.classes)
        least = _FORESEEN if getattr(step.attack, "foresees", False) else _SMALLEST
        most = self.frozen.block or _SMALLEST
        block = min(least, most)
        while block < min(most, examples * runs):
            block *= 2
        if block >= most:
            return self.frozen
        if block not in self.narrower:
            in_flight = max(1, most * self.frozen.in_flight // block)
            model = FrozenModel(
                self.frozen.model, block=block, in_flight=in_flight, device=self.frozen.device
            )
            model.passes = self.frozen.passes
            self.narrower[block] = model
        return self.narrower[block]

    def _prove(self) -> None:
        """The certificates, on what no attack has broken."""
        for name in self.bounds:
            if name == AUTO:
                self._decide(self.threat, self.ledger, self._take_bound, self._take_attack)
                continue
            at = (self.ledger.outcome == Outcome.UNDECIDED).nonzero().flatten()
            take = partial(self._take_bound, name=name)
            self._stage(self._bound(name, self.threat), at, take)

    def _decide(
        self,
        threat: Threat,
        ledger: Ledger,
        take_bound: Take,
        take_attack: Take,
    ) -> None:
        """The steps of `auto`, on the examples that are undecided in the ledger."""
        assert self.graph is not None
        moves = Auto().moves(ledger, self.frozen, self.graph, threat, self.seed)
        for move in moves:
            take = take_bound if move.kind == "bound" else take_attack

            def named(at: Tensor, rows: Rows, take: Take = take, name: str = move.name) -> None:
                take(at, rows, name)

            self._stage(move.stage, move.at, named)

    def _bounds_pay(self) -> bool:
        """Whether certificates come first: what they would save on a sample, in passes of the
        protocol, is more than they cost."""
        if not self.bounds or self.bounds[0] == AUTO:
            return bool(self.bounds)
        at = torch.arange(min(_SAMPLE, len(self.data)))
        board = Board(self.ledger, self.threat, self.classes, {}, {})
        listed = self.protocol.steps(board) if not self.protocol.adaptive else ()
        saved = sum(sum(cost(step.attack, self.classes)) for step in listed) or 100
        proved: list[Tensor] = []
        bound = self._bound(self.bounds[0], self.threat)
        bound.run(self.data, at, lambda at, rows: proved.append(rows["bound"] > 0))
        return float(torch.cat(proved).float().mean()) * saved > _BOUND_COST

    def _at_radius(self, threat: Threat, radius: float) -> None:
        """One further radius: bounds and attacks on what still stands there."""
        sweep = self.sweep
        ledger = sweep.ledger_at(radius)

        def proved(at: Tensor, rows: Rows, name: str) -> None:
            ledger.take_bound(at, rows["bound"], name)
            sweep.take_bound(at, rows, radius)

        def both(at: Tensor, rows: Rows, name: str) -> None:
            ledger.take_attack(at, attack_result(rows), name)
            sweep.take_attack(at, rows, f"{name}@{threat.text}")

        for name in self.bounds:
            if name == AUTO:
                self._decide(threat, ledger, proved, both)
                continue
            at = sweep.stands(radius).nonzero().flatten()
            self._stage(self._bound(name, threat), at, partial(sweep.take_bound, radius=radius))
        ledger = sweep.ledger_at(radius)
        warm = sweep.best if isinstance(self.protocol, Listed) else None
        self._attack(threat, ledger, both, warm)

    def _stage(self, stage: Stage, at: Tensor, take: Callable[[Tensor, Rows], None]) -> None:
        """Runs a stage on those of the examples that are this process's and that the journal does
        not hold yet; takes all its rows, where processes wait for each other also the others'."""
        report: dict[str, Any] = {
            "stage": stage.name,
            "bound": isinstance(stage, Bound | Prove),
            "examples": 0,
            "forwards": 0,
            "backwards": 0,
            "seconds": 0.0,
        }
        self.reports.append(report)
        own = at[torch.isin(at, self.mine)]
        total, done = len(own), 0

        def account(at: Tensor, rows: Rows) -> None:
            nonlocal done
            report["seconds"] += float(rows["seconds"].sum())
            for column in ("forwards", "backwards"):
                report[column] += int(rows[column].sum()) if column in rows else 0
            report["examples"] += len(at)
            self.ledger.seconds[at] += rows["seconds"]
            take(at, rows)
            done += len(at)
            self._tell(stage.name, min(done, total), total)

        def emit(at: Tensor, rows: Rows) -> None:
            if self.journal is not None:
                self.journal.append(stage.name, {"index": self.data.index[at], **rows})
            account(at, rows)

        left = self._replay(stage.name, own, account)
        self._tell(stage.name, done, total)
        if len(left):
            stage.run(self.data, left, emit)
        if self.journal is not None:
            self.journal.flush()
        if self.ranks is not None:
            self.ranks.barrier(stage.name)
            missing = self._replay(stage.name, at[~torch.isin(at, self.mine)], account)
            if len(missing):
                raise RunConflict(
                    f"{len(missing)} rows of {stage.name} by other processes are not on the disk; "
                    "remove the folder 'ranks' of the run and continue it with --resume"
                )

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

    def _classes(self) -> int:
        before = self.frozen.passes.forwards
        x = self.data.inputs(torch.arange(1)).to(self.frozen.device)
        count = self.frozen.logits(x).shape[1]
        self.frozen.passes.forwards = before
        return count

    def _take_clean(self, at: Tensor, rows: Rows) -> None:
        self.ledger.take_clean(at, rows["prediction"], rows["confidence"], rows["margin"])

    def _take_bound(self, at: Tensor, rows: Rows, name: str) -> None:
        self.ledger.take_bound(at, rows["bound"], name)

    def _take_attack(self, at: Tensor, rows: Rows, name: str) -> None:
        self.ledger.take_attack(at, attack_result(rows), name)

    def _bound(self, name: str, threat: Threat) -> Bound:
        block = self.frozen.block or 1
        assert self.graph is not None
        return Bound(self.graph, BOUNDS[name].load()(), name, threat, block, self.frozen.device)

    def _tick(self, event: Tick) -> None:
        if time.perf_counter() - self.told > _PAUSE:
            self._tell(*self.where)

    def _tell(self, stage: str, done: int, total: int) -> None:
        self.where, self.told = (stage, done, total), time.perf_counter()
        self.tell(stage, done, total)
