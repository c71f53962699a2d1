"""`auto`: cheap bounds, an attack on what they leave open, then dear bounds.

Each step sees only the examples that are still undecided, one by one: nothing is computed for an
example that a step before has proved or broken.

    intervals -> CROWN-IBP, where intervals fail by little -> parallel lines (dual)
    -> a few steps of PGD from the minimiser of the linear bound
    -> CROWN -> alpha-CROWN -> more PGD -> what is complete, if wanted

The attack comes before the dear bounds because what they would be spent on is mostly broken: of the
first 200 test images of a network trained with the dual bound, parallel lines leave 7 correctly
classified ones open, of which 6 have a counterexample. It starts at the point of the threat at
which the linear lower bound of the least margin is attained; where the bound is tight that is a
counterexample itself.

Source: Wong 2020, sec 3.4 (bounds by their cost); Zhang et al. 2022, arXiv 2208.05740 (attack and
    bound in one loop; the minimiser as a start).
Departures: whether CROWN-IBP is tried is decided by the example's own interval bound.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from holdfast.attacks.pgd import PGD
from holdfast.benchmark.stages import Clean, Emit, Rows, Stage, attack_result
from holdfast.certify.bounds.forms import linear_forms
from holdfast.certify.bounds.linear import Dual, Linear
from holdfast.certify.catalogue import BOUNDS
from holdfast.certify.graphs.graph import Graph, capture
from holdfast.certify.spec import margin_rows
from holdfast.core.errors import unknown_name
from holdfast.core.frozen import FrozenModel, Model, default_block
from holdfast.core.ledger import Ledger
from holdfast.core.random import Keys
from holdfast.core.recipes import Count, NonNegative, hyperparameters
from holdfast.data.adapt import as_data
from holdfast.data.images import ImageData
from holdfast.threats.protocol import Searchable, Threat

AUTO = "auto"
_GROUP, _FEW = 100, 20  # images that are bounded together: with shared lists of rows, and without
_MEMORY = 2**24  # bytes of coefficients; longer lists of rows cost less by row
_BLOCK = 16  # rows of a call of the attack at least
_FAST = Dual(mode="fast", memory=_MEMORY)
_QUICK = PGD(steps=10, restarts=1)
_RESULT = ("x_adv", "success", "margin", "size", "loss", "forwards", "backwards", "outcome")

Kind = Literal["bound", "attack"]


@hyperparameters
class Auto:
    """The order of the steps, and what they are.

    Args:
        cheap: bounds before the attack, by name.
        hopeful: CROWN-IBP is tried where the interval bound is above minus this many times the
            clean margin; further below it fails.
        quick: steps of the attack after the cheap bounds.
        dear: bounds after it, by name.
        thorough: steps of the last attack.
        restarts: of the last attack.
        complete: bounds after it, by name, such as branch and bound; none by default, since they
            take minutes and their answers may depend on the time that they are given.

    Guarantee: what is certified has a bound that is sound and positive, what is broken a point that
        was re-checked; an example's outcome depends on the example, the threat and the seed alone.
    Cost: 3 forwards, and for each step what its method costs on the examples that are left.
    """

    cheap: tuple[str, ...] = ("interval", "crown-ibp", "dual")
    hopeful: NonNegative = 2.0
    quick: Count = 10
    dear: tuple[str, ...] = ("crown", "alpha-crown")
    thorough: Count = 50
    restarts: Count = 5
    complete: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in (*self.cheap, *self.dear, *self.complete):
            BOUNDS[name]

    def decide(
        self,
        model: Model,
        x: Tensor,
        y: Tensor,
        threat: Threat,
        *,
        graph: Graph | None = None,
        seed: int = 0,
    ) -> Ledger:
        """What can be said of each example, from both sides.

        Args:
            x: (B, *E), y: (B,) labels.
            graph: of the model; None captures it.
            seed: of the attacks.

        Returns:
            The ledger: per example the outcome, the method that decided, the bound or the witness,
            passes and seconds.

        Raises:
            CaptureError: the model holds an operation that has no bound.
            InputError: the inputs or labels do not fit.
            UnsupportedThreat: the threat has no bounds.
        """
        data = as_data((x, y), box=threat.box)
        device = FrozenModel(model).device
        frozen = FrozenModel(model, block=default_block(device), device=device)
        if graph is None:
            graph = capture(model, x.shape[1:], device=device)  # type: ignore[arg-type]
        ledger = Ledger(data.index, data.labels)
        with frozen:
            clean = Clean(frozen)
            clean.run(data, torch.arange(len(data)), partial(_take_clean, ledger))
            for move in self.moves(ledger, frozen, graph, threat, seed):
                move.stage.run(data, move.at, partial(_take, ledger, move))
        return ledger

    def moves(
        self,
        ledger: Ledger,
        frozen: FrozenModel,
        graph: Graph,
        threat: Threat,
        seed: int,
    ) -> Iterator["Move"]:
        """The steps, one after the other; each sees the ledger as the ones before have left it.

        Args:
            ledger: with the clean answers in it.
            frozen: the model, entered.
        """
        prove = partial(Prove, graph, threat, frozen.device)
        search = partial(_search, Break(frozen, graph, threat, seed), ledger)
        yield from self._bounds(self.cheap, ledger, prove)
        yield from search(PGD(steps=self.quick, restarts=1))
        yield from self._bounds(self.dear, ledger, prove)
        yield from search(PGD(steps=self.thorough, restarts=self.restarts))
        yield from self._bounds(self.complete, ledger, prove)

    def _bounds(
        self, names: tuple[str, ...], ledger: Ledger, prove: Callable[[str], "Prove"]
    ) -> Iterator["Move"]:
        for name in names:
            at = ledger.undecided()
            if name == "crown-ibp":
                near = ledger.bound[at] > -self.hopeful * ledger.margin[at].double()
                at = at[near]
            if len(at):
                yield Move("bound", name, prove(name), at)


@dataclass(frozen=True, eq=False)
class Move:
    """One step on some examples.

    Args:
        kind: what its rows are: those of a bound or of an attack.
        name: of the method.
        stage: that computes the rows.
        at: positions of the examples.
    """

    kind: Kind
    name: str
    stage: Stage
    at: Tensor


@dataclass(frozen=True, eq=False)
class Prove:
    """A certificate on a list of examples of any length, without filling blocks."""

    graph: Graph
    threat: Threat
    device: torch.device
    method: str

    @property
    def name(self) -> str:
        """The method and the threat."""
        return f"{self.method}@{self.threat.text}"

    def run(self, data: ImageData, at: Tensor, emit: Emit) -> None:
        """One bound per example; what is not finite, or not sound, proves nothing."""
        method = BOUNDS[self.method].load()()
        linear = isinstance(method, Linear)
        method = replace(method, memory=_MEMORY) if linear else method
        for rows in torch.split(at, _GROUP if linear else _FEW):
            start = time.perf_counter()
            x, spec = _asked(data, rows, self.graph, self.device)
            bounds = method.bound(self.graph, x, self.threat.rows(rows), spec)
            lower = bounds.lower.amin(dim=1).double().cpu()
            proof = lower.isfinite() & bounds.sound
            lower = torch.where(proof, lower, torch.full_like(lower, -torch.inf))
            each = torch.full_like(lower, (time.perf_counter() - start) / len(rows))
            emit(rows, {"bound": lower, "seconds": each})


@dataclass(frozen=True, eq=False)
class Break:
    """An attack that begins where the linear bound of the least margin is attained."""

    model: FrozenModel
    graph: Graph
    threat: Threat
    seed: int
    attack: PGD = _QUICK

    @property
    def method(self) -> str:
        """What the attack is called."""
        return f"pgd-{self.attack.steps}-{self.attack.restarts}"

    @property
    def name(self) -> str:
        """The method and the threat."""
        return f"{self.method}@{self.threat.text}"

    def run(self, data: ImageData, at: Tensor, emit: Emit) -> None:
        """The attack, in groups of examples and small blocks, since few are left for it."""
        device = self.model.device
        block = _BLOCK if device.type == "cpu" else default_block(device)
        model = FrozenModel(self.model.model, block=block, device=device)
        model.passes = self.model.passes
        for rows in torch.split(at, _GROUP):
            start = time.perf_counter()
            threat = self.threat.rows(rows)
            x, spec = _asked(data, rows, self.graph, device)
            found = self.attack.run(
                model,
                x,
                data.labels[rows].to(device),
                threat,
                keys=Keys.of(self.seed, data.index[rows]).fold(self.method),
                start=minimisers(self.graph, x, spec, threat),
            )
            each = torch.full((len(rows),), (time.perf_counter() - start) / len(rows))
            columns = {name: getattr(found, name).cpu() for name in _RESULT}
            emit(rows, columns | {"seconds": each.double()})


def _asked(
    data: ImageData, rows: Tensor, graph: Graph, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Inputs and margin rows of some examples."""
    x = data.inputs(rows).to(device)
    return x, margin_rows(data.labels[rows].to(device), graph.output_shape[0])


def _search(stage: Break, ledger: Ledger, attack: PGD) -> Iterator[Move]:
    """The attack on what is left."""
    at = ledger.undecided()
    if len(at) and isinstance(stage.threat, Searchable):
        stage = replace(stage, attack=attack)
        yield Move("attack", stage.method, stage, at)


def minimisers(graph: Graph, x: Tensor, spec: Tensor, threat: Threat) -> Tensor:
    """Where in the threat the least of the linear lower bounds of the rows is attained, (B, *E).

    Args:
        x: (B, *E); spec: (B, R, K).

    Cost: that of `Dual` in float32, with all rows open.
    """
    forms = linear_forms(_FAST, graph, x, threat, spec)
    slopes = forms.coefficients
    least = forms.constants - threat.support(-slopes, x)
    worst = slopes[torch.arange(len(x), device=x.device), least.argmin(dim=1)]
    return threat.project(x + threat.steepest(-worst, threat.reach), x)


def _take_clean(ledger: Ledger, at: Tensor, rows: Rows) -> None:
    ledger.take_clean(at, rows["prediction"], rows["confidence"], rows["margin"])
    ledger.seconds[at] += rows["seconds"]


def _take(ledger: Ledger, move: Move, at: Tensor, rows: Rows) -> None:
    """The rows of a step into the ledger."""
    ledger.seconds[at] += rows["seconds"]
    if move.kind == "bound":
        ledger.take_bound(at, rows["bound"], move.name)
    else:
        ledger.take_attack(at, attack_result(rows), move.name)


def check_bounds(names: Iterable[str]) -> None:
    """Refuses names that are neither `auto` nor those of bounds.

    Raises:
        InputError: an unknown name; the message has the nearest one.
    """
    for name in names:
        if name != AUTO and name not in BOUNDS:
            raise unknown_name("bound", name, (AUTO, *BOUNDS))


def caveats(names: Iterable[str]) -> list[str]:
    """What is to be said of bounds whose certificates are no proofs."""
    return [
        f"what {name} certifies holds up to the tolerances of its solver; it is no proof"
        for name in names
        if name != AUTO and not getattr(BOUNDS[name].load(), "proves", True)
    ]
