"""Verification: whether a network satisfies a property, with a proof or a counterexample.

Per box of the property: an attack first, then branch and bound, over the inputs where they are few,
else over the signs of units. A box is done when every case has a weighted sum of its constraints
that is proved not to hold in it; where each bound is attained, the input is tried.

A counterexample is an input of the box, as it is in float64, whose output in float64 satisfies all
constraints of a case; `proved` says whether that holds with rounding accounted for too. A property
holds by bounds that are sound and finite only; comparisons are such that NaN fails.

Symbols: f the network, n its inputs.
Source: Wang et al. 2018, arXiv 1804.10829 (ReluVal: bisection of inputs, sound arithmetic); Bunel
    et al. 2018, arXiv 1711.00455 (branch and bound for networks); Wang et al. 2021, arXiv
    2103.06624 (beta-CROWN).
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from holdfast.benchmark.verify_attack import BoxDescent, Falsifier, Nearby
from holdfast.benchmark.verify_boxes import Bounded, Bounding, InputBox
from holdfast.certify.bounds.interval import Interval
from holdfast.certify.bounds.linear import CROWN
from holdfast.certify.complete.branch_and_bound import BranchAndBound, condensed
from holdfast.certify.complete.exploring import Explored, Network, Record, listed
from holdfast.certify.complete.input_boxes import InputBoxes
from holdfast.certify.complete.input_search import Bisection
from holdfast.certify.formats.properties import Case, Property, by_box, excesses
from holdfast.certify.graphs.graph import Graph
from holdfast.certify.rounding import Box
from holdfast.core.errors import InputError
from holdfast.core.recipes import Count, hyperparameters
from holdfast.core.results import Verdict


@dataclass(frozen=True, eq=False)
class VerifyResult:
    """The answer to one query.

    Args:
        verdict: holds, violated, timeout, or unknown.
        counterexample: (n,) float64, an unsafe input, or None.
        output: (K,) float64, its output, or None.
        seconds: what it took.
        boxes: how many subdomains were bounded.
        method: what decided: `attack`, `search` or `bound`; empty if nothing did.
        proved: whether the verdict is a proof over the real numbers: rounding is accounted for.
        lower: the least over the boxes and cases of a lower bound of the largest constraint, rows
            f(x) - limits, that is proved so far; the property holds where it is positive.
    """

    verdict: Verdict
    counterexample: Tensor | None
    output: Tensor | None
    seconds: float
    boxes: int
    method: str
    proved: bool
    lower: float = -float("inf")


@hyperparameters
class Splitting:
    """How the search branches.

    Args:
        batch: boxes of inputs that are bounded together.
        most_boxes: after so many subdomains of a box the answer is `unknown`.
        most_inputs: with more inputs than this the signs of units are split.
        looks: points of each open box whose gradients help to decide where it is cut; also tried as
            counterexamples.
        units: the search over the signs of units; its seconds, mode and target are set by `verify`.
    """

    batch: Count = 512
    most_boxes: Count = 20_000_000
    most_inputs: Count = 20
    looks: Count = 8
    units: BranchAndBound = BranchAndBound()


_FEW, _MANY = 4, 10
_SPLITTING, _DESCENT, _SCREEN = Splitting(), BoxDescent(), CROWN()


def verify(
    graph: Graph,
    property: Property,
    *,
    timeout: float,
    falsifier: Falsifier | None = None,
    bound: Bounding | None = None,
    splitting: Splitting = _SPLITTING,
    seed: int = 0,
) -> VerifyResult:
    """Whether the network satisfies the property.

    Args:
        graph: of the network; its output is (K,).
        property: whose inputs are those of the network, flattened in order.
        timeout: seconds after which the answer is `timeout`; checked between batches.
        falsifier: proposes counterexamples first; None takes `BoxDescent()`.
        bound: bounds boxes of inputs with this method instead, whatever their number, and cuts
            them where there are at most `most_inputs`; None chooses as the module says.
        splitting: how the search branches.
        seed: of the falsifier and of the points looked at.

    Guarantee: `violated` comes with a counterexample that was replayed in float64; `holds` rests on
        a bound of every subdomain of a cover, and is a proof where `proved` is set. The answer does
        not depend on the machine's speed, except for `timeout`.
    Cost: the falsifier; per box of inputs two pulls of each open unit and of each row; per choice
        of signs what `BranchAndBound` says.

    Raises:
        InputError: the property does not fit the network, or the timeout is not positive.
    """
    property.check_network(graph.input_shape, graph.output_shape)
    if not timeout > 0:
        raise InputError("timeout", timeout, "is not positive", "give seconds")
    query = _Query(graph, bound, splitting, timeout, seed)
    groups = by_box(_placed(property.cases, graph))
    groups = [left for cases in groups if (left := query.left(cases))]
    for cases in groups:
        points = (falsifier or _DESCENT).falsify(graph, cases, seed=seed)
        found = Nearby(query.network, cases, steps=0).unsafe(points.to(cases[0].lower))
        if found is not None:
            return query.violated(cases, found, "attack")
    for cases in groups:
        found = query.search(cases)
        if found is not None:
            return query.violated(cases, found, "search")
    order = (Verdict.TIMEOUT, Verdict.UNKNOWN)
    worst = next((each for each in order if each in query.verdicts), Verdict.HOLDS)
    holds = worst is Verdict.HOLDS
    return query.result(worst, None, None, "bound" if holds else "", holds and query.sound)


def _placed(cases: Sequence[Case], graph: Graph) -> list[Case]:
    """The cases on the device of the graph's weights."""
    device = next((each.device for each in graph.parameters.values()), torch.device("cpu"))
    return [
        Case(*(part.to(device) for part in (case.lower, case.upper, case.rows, case.limits)))
        for case in cases
    ]


class _Query:
    """One call of `verify`: what is fixed during it, and what is counted."""

    def __init__(
        self,
        graph: Graph,
        bound: Bounding | None,
        splitting: Splitting,
        timeout: float,
        seed: int,
    ):
        self.graph, self.method, self.splitting, self.seed = graph, bound, splitting, seed
        self.network = Network(graph)
        self.start, self.timeout = time.perf_counter(), timeout
        self.boxes, self.sound, self.lower = 0, True, float("inf")
        self.verdicts: list[Verdict] = []

    def left(self, cases: Sequence[Case]) -> list[Case]:
        """The cases that one bound of the whole box leaves open."""
        if self.method is not None or self._few(cases):
            return list(cases)
        x, threat = self._set(cases)
        graph = excesses(self.graph, cases)
        spec = torch.eye(*graph.output_shape * 2, dtype=x.dtype, device=x.device)
        lower = _SCREEN.bound(graph, x, threat, spec).lower[0]
        sizes = [len(case.limits) for case in cases]
        best = torch.stack([part.max() for part in torch.split(lower, sizes)])
        proved = (best > 0) & best.isfinite()
        self.lower = min([self.lower, *best[proved].tolist()])
        self.boxes += 1
        return [case for case, done in zip(cases, proved.tolist(), strict=True) if not done]

    def _few(self, cases: Sequence[Case]) -> bool:
        return cases[0].lower.numel() <= self.splitting.most_inputs

    def _set(self, cases: Sequence[Case]) -> tuple[Tensor, InputBox]:
        """A point of the box that the cases share, and the box around it."""
        shape = (1, *self.graph.input_shape)
        lower, upper = cases[0].lower, cases[0].upper
        threat = InputBox(lower.reshape(shape), upper.reshape(shape))
        return ((lower + upper) / 2).clamp(lower, upper).reshape(shape), threat

    def search(self, cases: Sequence[Case]) -> Tensor | None:
        """Branch and bound over the box that the cases share; an unsafe input if one is found."""
        found, sound = self._explored(cases)
        self.boxes, self.sound = self.boxes + found.nodes, self.sound and sound
        if bool((found.upper <= 0).any()):
            best = found.best[found.upper.argmin()].unsqueeze(0)
            if (again := Nearby(self.network, cases, steps=0).unsafe(best)) is not None:
                return again
        proved = (found.lower > 0) & found.lower.isfinite()
        self.lower = min(self.lower, float(found.lower.min()))
        late = time.perf_counter() - self.start > self.timeout
        self.verdicts.append(
            Verdict.HOLDS if bool(proved.all()) else Verdict.TIMEOUT if late else Verdict.UNKNOWN
        )
        return None

    def _explored(self, cases: Sequence[Case]) -> tuple[Explored, bool]:
        """What a search finds, and whether its bounds are sound."""
        few = self._few(cases)
        graph = excesses(self.graph, cases)
        propose = Nearby(self.network, cases, steps=_FEW if few else _MANY)
        queries = listed([len(case.limits) for case in cases]).to(cases[0].lower.device)
        box, (x, threat) = Box(cases[0].lower, cases[0].upper), self._set(cases)
        most = self.splitting.most_boxes
        if self.method is None and not few:
            units = replace(self.splitting.units, most_nodes=most, target=0.0, mode="rigorous")
            return units.explore(graph, x, threat, queries, propose, self._ends), True
        how = Bisection(
            batch=self.splitting.batch,
            looks=self.splitting.looks,
            most_nodes=most if few else 1,
            seed=self.seed,
        )
        if self.method is not None:
            bounded = Bounded(self.method, graph)
            found = how.explore(bounded, box, graph, queries, propose, self._ends)
            return found, bounded.sound
        program = condensed(graph, x, threat)
        bounds = partial(InputBoxes, program)
        return how.explore(bounds, box, graph, queries, propose, self._ends), True

    def _ends(self, record: Record) -> bool:
        late = time.perf_counter() - self.start > self.timeout
        return late or bool(record.broken().any())

    def violated(self, cases: Sequence[Case], x: Tensor, method: str) -> VerifyResult:
        """The result for an unsafe input."""
        point = x.double().reshape(1, *self.graph.input_shape)
        with torch.no_grad():
            output = self.graph.forward(point)
        threat, proved = InputBox(point, point), False
        for case in cases:
            upper = Interval().bound(self.graph, point, threat, case.rows).upper
            inside = bool(case.inside(x.unsqueeze(0)))
            proved = proved or (inside and upper is not None and bool((upper <= case.limits).all()))
        return self.result(Verdict.VIOLATED, x, output[0], method, proved)

    def result(
        self,
        verdict: Verdict,
        x: Tensor | None,
        output: Tensor | None,
        method: str,
        proved: bool,
    ) -> VerifyResult:
        """The result, with what was counted."""
        seconds = time.perf_counter() - self.start
        return VerifyResult(verdict, x, output, seconds, self.boxes, method, proved, self.lower)
