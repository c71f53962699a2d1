"""Complete verification by branch and bound: exact margins, given time.

For each image the network is condensed to the units that its set leaves open (`condensing.py`),
their boxes narrowed by alpha-CROWN (`narrowing.py`), and the signs of units are split until every
row is decided (`neuron_search.py`). Bounds are valid whenever the search is stopped.

Source: Bunel et al. 2020, JMLR 21(42); Wang et al. 2021 (beta-CROWN), arXiv 2103.06624; Xu et al.
    2021, arXiv 2011.13824.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn

from holdfast.certify.complete.condensed import Condensed
from holdfast.certify.complete.condensing import Narrow, condense
from holdfast.certify.complete.exploring import Explored, Network, Propose, Record, Replay
from holdfast.certify.complete.narrowing import Narrowing
from holdfast.certify.complete.neuron_search import Search
from holdfast.certify.formats.properties import Case, excesses
from holdfast.certify.graphs.graph import Graph, capture
from holdfast.certify.rounding import plain_kernels
from holdfast.certify.spec import checked_rows, margin_rows
from holdfast.certify.substitution.regions import Hulled, around
from holdfast.certify.substitution.schedule import Plan, Shared, relax
from holdfast.core.random import Keys
from holdfast.core.recipes import Count, Fraction, Positive, Range, hyperparameters
from holdfast.core.results import Bounds, Outcome

Clock = Callable[[], float]


@dataclass(frozen=True, eq=False)
class Decisions:
    """What a search says of each image.

    Args:
        outcome: (B,) codes of `Outcome`: certified, broken (also where the image itself is wrong),
            or undecided.
        lower: (B,) a lower bound of the smallest margin.
        upper: (B,) the smallest margin that was met.
        witness: (B, *E) where; a counterexample where the image is broken.
        nodes: (B,) subdomains that were bounded.
        seconds: (B,) what each image took.
    """

    outcome: Tensor
    lower: Tensor
    upper: Tensor
    witness: Tensor
    nodes: Tensor
    seconds: Tensor


@hyperparameters
class BranchAndBound:
    """Branch and bound over the signs of units.

    Args:
        seconds: of each image at most; checked between batches.
        most_nodes: subdomains of each image at most.
        mode: `rigorous` (a proof: float64 less the rounding radius) or `fast` (dtype of x).
        target: rows are bounded until they are above it; infinite asks for their minimum.
        tolerance: of a minimum.
        batch: subdomains that are bounded together.
        steps: of the ascent of a subdomain.
        root_steps: of the ascent of a whole set.
        narrow_steps: of the ascent for the box of each unit; 0 leaves CROWN's boxes.
        step_size: of the first step of an ascent, in slopes.
        decay: factor on it after each step.
        candidates: units by each score that are tried at a cut.
        memory: bytes that the coefficients of a list of rows may take.

    Guarantee: in `rigorous` mode the true value of every row is at least `lower`, for every input
        that the threat accepts. With a box as the threat and operations of two linear pieces (ReLU,
        leaky ReLU, |x|), any row whose minimum is not within rounding of the target is decided,
        given time.
    Cost: alpha-CROWN for every open unit, and per subdomain steps + 2 candidates products with the
        matrices of the condensed network.
    Needs: a graph (or a module, captured at each call); a box for completeness.
    Source: Wang et al. 2021, arXiv 2103.06624; Bunel et al. 2020; De Palma et al. 2021, arXiv
        2104.06718.
    Departure: boxes of the nodes in between are those of the whole set, narrowed once.
    """

    seconds: Positive = 60.0
    most_nodes: Count = 10_000_000
    mode: Literal["rigorous", "fast"] = "rigorous"
    target: float = 0.0
    tolerance: Positive = 1e-6
    batch: Count = 256
    steps: Count = 8
    root_steps: Count = 40
    narrow_steps: Annotated[int, Range(ge=0)] = 30
    step_size: Positive = 0.5
    decay: Fraction = 0.97
    candidates: Count = 2
    memory: Count = 2**27

    def bound(
        self,
        model: nn.Module | Graph,
        x: Tensor,
        threat: Hulled,
        spec: Tensor,
        *,
        keys: Keys | None = None,
    ) -> Bounds:
        """Lower bounds on spec @ logits over the threat, each row for itself.

        Args:
            model: a captured graph, or a module, which is captured first.
            x: (B, *E).
            threat: asked for its support function; its hull is where intervals begin.
            spec: rows over the logits, (R, K), or (B, R, K) for rows of each example.
            keys: not used; nothing is random.

        Returns:
            lower (B, R), and as upper the least value of each row that was met, float64; the cost
            is in subdomains per image.

        Raises:
            CaptureError: the module holds an operation that is not supported.
            InputError: x or spec does not fit the model; the threat around x is empty.
            UnsupportedThreat: the threat has no hull, or no support function.
        """
        del keys
        graph = model if isinstance(model, Graph) else capture(model, x.shape[1:])
        graph.check_input(x)
        rows = checked_rows(spec, graph, len(x)).double()
        rows = rows.expand(len(x), *rows.shape[-2:])
        single = torch.arange(rows.shape[1], device=x.device).unsqueeze(1)
        found = []
        for image in range(len(x)):
            mine = _with_rows(graph, rows[image])
            own = _one(threat, image, x.device)
            propose = Replay(Network(mine), single, _inside(own, x[image : image + 1]))
            ends = self._late(time.perf_counter, first=False)
            found.append(self.explore(mine, x[image : image + 1], own, single, propose, ends))
        lower, upper = (torch.stack([getattr(e, n) for e in found]) for n in ("lower", "upper"))
        cost = {"nodes": sum(each.nodes for each in found) / max(1, len(x))}
        return Bounds(lower, upper, sound=self.mode == "rigorous", exact=False, cost=cost)

    def decide(
        self,
        model: nn.Module | Graph,
        x: Tensor,
        y: Tensor,
        threat: Hulled,
        *,
        falsifier: Callable[[Graph, Tensor, Hulled, Tensor], Propose] | None = None,
        clock: Clock = time.perf_counter,
    ) -> Decisions:
        """Whether each image is classified alike over the whole threat.

        Args:
            model: as for `bound`, and so are x and the threat.
            y: (B,) the labels.
            falsifier: makes, of the graph of the margins, an image (1, *E), its threat and the
                queries, what tries inputs; None replays those where bounds are attained.
            clock: what seconds are measured by, such as `time.process_time`.
        """
        graph = model if isinstance(model, Graph) else capture(model, x.shape[1:])
        graph.check_input(x)
        rows = margin_rows(y, graph.output_shape[0]).double()
        single = torch.arange(rows.shape[1], device=x.device).unsqueeze(1)
        found, seconds = [], []
        for image in range(len(x)):
            start, own = clock(), _one(threat, image, x.device)
            mine, part = _with_rows(graph, rows[image]), x[image : image + 1]
            if falsifier is None:
                propose: Propose = Replay(Network(mine), single, _inside(own, part))
            else:
                propose = falsifier(mine, part, own, single)
            ends = self._late(clock, first=True)
            found.append(self.explore(mine, part, own, single, propose, ends))
            seconds.append(clock() - start)
        return _decisions(found, x, torch.tensor(seconds), self.mode == "rigorous")

    def explore(
        self,
        graph: Graph,
        x: Tensor,
        threat: Hulled,
        queries: Tensor,
        propose: Propose,
        ends: Callable[[Record], bool],
    ) -> Explored:
        """The search over one set.

        Args:
            graph: its outputs are the rows.
            x: (1, *E).
            queries: (Q, R) places of the rows of each query, -1 where there are fewer.
            propose: tries inputs.
            ends: asked after each batch whether the search is to end.
        """
        rigorous = self.mode == "rigorous"
        x = x.detach().double() if rigorous else x.detach()
        fast = torch.float32 if rigorous else x.dtype
        narrow = self._narrowing(fast)
        with torch.no_grad(), plain_kernels(rigorous and x.is_cuda):
            program = condensed(
                graph,
                x,
                threat,
                rigorous=rigorous,
                narrow=narrow,
                memory=self.memory,
            )
            search = Search(**{each: getattr(self, each) for each in _SHARED})
            return search.explore(program, program.fast(fast), queries, propose, ends)

    def _late(self, clock: Clock, *, first: bool) -> Callable[[Record], bool]:
        """Whether the time is over, or the first query disproved."""
        start = clock()

        def ends(record: Record) -> bool:
            over = first and bool(record.broken().any())
            return over or clock() - start > self.seconds

        return ends

    def _narrowing(self, dtype: torch.dtype) -> Narrowing | None:
        if not self.narrow_steps:
            return None
        return Narrowing(
            steps=self.narrow_steps,
            step_size=self.step_size,
            decay=self.decay,
            batch=self.batch,
            dtype=dtype,
        )


_SHARED = (
    "batch",
    "steps",
    "root_steps",
    "step_size",
    "decay",
    "candidates",
    "most_nodes",
    "target",
    "tolerance",
)


def condensed(
    graph: Graph,
    x: Tensor,
    threat: Hulled,
    *,
    rigorous: bool = True,
    narrow: Narrow | None = None,
    memory: int = 2**27,
) -> Condensed:
    """A network around one image (1, *E), seen by all its outputs (K,).

    Args:
        narrow: as for `condense`.
        memory: bytes that the coefficients of a list of rows may take.
    """
    region = around(threat, x, rigorous=rigorous)
    values = graph.constants.bind(x.dtype, x.device)
    with torch.no_grad():
        plan = Plan("adaptive", plain=False, memory=memory)
        known = relax(graph, Shared(values, rigorous), region, plan)
        rows = torch.eye(graph.output_shape[0], dtype=x.dtype, device=x.device)
        return condense(known, region, rows, narrow=narrow, memory=memory)


def _with_rows(graph: Graph, rows: Tensor) -> Graph:
    """The graph followed by rows of its outputs."""
    none = rows.new_zeros(0)
    return excesses(graph, [Case(none, none, rows, rows.new_zeros(len(rows)))])


def _one(threat: Any, image: int, device: torch.device) -> Any:
    """The threat of one image."""
    return threat.rows(torch.tensor([image], device=device)) if hasattr(threat, "rows") else threat


def _inside(threat: Any, x: Tensor) -> Callable[[Tensor], Tensor]:
    """Moves flat points (P, n) into the threat around x (1, *E)."""
    x = x.double()

    def moved(points: Tensor) -> Tensor:
        if hasattr(threat, "project"):
            around_x = x.expand(len(points), *x.shape[1:])
            found: Tensor = threat.project(points.reshape(around_x.shape), around_x)
            return found.flatten(1)
        lower, upper = (end.flatten(1) for end in threat.hull(x))
        return points.clamp(lower, upper)

    return moved


def _decisions(found: list[Explored], x: Tensor, seconds: Tensor, sound: bool) -> Decisions:
    lower = torch.stack([each.lower.min() for each in found])
    least = [each.upper.min(0) for each in found]
    upper = torch.stack([each.values for each in least])
    witness = torch.stack([e.best[k.indices] for e, k in zip(found, least, strict=True)])
    outcome = torch.full((len(found),), int(Outcome.UNDECIDED), device=x.device)
    outcome[(lower > 0) & lower.isfinite() & sound] = int(Outcome.CERTIFIED)
    outcome[upper <= 0] = int(Outcome.BROKEN)
    nodes = torch.tensor([each.nodes for each in found])
    return Decisions(outcome, lower, upper, witness.reshape(x.shape), nodes, seconds)
