"""Verification: whether a network satisfies a property, with a proof or a counterexample.

Per box of the property: an attack first, then branch and bound over the inputs. A box is done when
every case has a constraint that is proved not to hold in it (lower bound of rows f(x) above the
limit); the others are tried at a few points and at the corner that their mean gradient points to,
and cut in two (`verify_boxes.py`).

A counterexample is an input of the box, as it is in float64, whose output in float64 satisfies all
constraints of a case; `proved` says whether that holds with rounding accounted for too. A property
holds by bounds that are sound and finite only; comparisons are such that NaN fails.

Symbols: f the network, n its inputs.
Source: Wang et al. 2018, arXiv 1804.10829 (ReluVal: bisection of inputs, sound arithmetic); Bunel
    et al. 2018, arXiv 1711.00455 (branch and bound for networks).
Departures: boxes are taken in batches from a stack, the least proved first.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Protocol

import torch
from torch import Tensor

from holdfast.benchmark.verify_attack import BoxDescent, Falsifier, descend
from holdfast.benchmark.verify_boxes import Boxes, InputBox, divisible, halves
from holdfast.certify.graph import Graph
from holdfast.certify.interval import Interval
from holdfast.certify.properties import Case, Property, by_box, excesses
from holdfast.core.errors import InputError
from holdfast.core.random import Keys
from holdfast.core.recipes import Count, hyperparameters
from holdfast.core.results import Bounds, Verdict


class Bounding(Protocol):
    """A method that bounds rows of the outputs over a box."""

    def bound(self, model: Graph, x: Tensor, threat: InputBox, spec: Tensor) -> Bounds:
        """Bounds on spec @ outputs over the threat around x."""
        ...


@dataclass(frozen=True, eq=False)
class VerifyResult:
    """The answer to one query.

    Args:
        verdict: holds, violated, timeout, or unknown.
        counterexample: (n,) float64, an unsafe input, or None.
        output: (K,) float64, its output, or None.
        seconds: what it took.
        boxes: how many boxes were bounded.
        method: what decided: `attack`, `search` or `bound`; empty if nothing did.
        proved: whether the verdict is a proof over the real numbers: rounding is accounted for.
    """

    verdict: Verdict
    counterexample: Tensor | None
    output: Tensor | None
    seconds: float
    boxes: int
    method: str
    proved: bool


@hyperparameters
class Splitting:
    """How the inputs are branched on.

    Args:
        batch: boxes that are bounded together.
        most_boxes: after so many the answer is `unknown`.
        most_inputs: with more inputs than this, a box is bounded but not cut.
        looks: points of each open box whose gradients decide where it is cut; also tried as
            counterexamples.
    """

    batch: Count = 1024
    most_boxes: Count = 20_000_000
    most_inputs: Count = 20
    looks: Count = 8


_RUNS, _STEPS, _LENGTH = 16, 10, 0.25
_INTERVAL, _SPLITTING, _DESCENT = Interval(), Splitting(), BoxDescent()


def verify(
    graph: Graph,
    property: Property,
    *,
    timeout: float,
    falsifier: Falsifier | None = None,
    bound: Bounding = _INTERVAL,
    splitting: Splitting = _SPLITTING,
    seed: int = 0,
) -> VerifyResult:
    """Whether the network satisfies the property.

    Args:
        graph: of the network; its output is (K,).
        property: whose inputs are those of the network, flattened in order.
        timeout: seconds after which the answer is `timeout`; checked between batches.
        falsifier: proposes counterexamples first; None takes `BoxDescent()`.
        bound: the method of the bounds.
        splitting: how inputs are branched on.
        seed: of the falsifier and of the points looked at.

    Guarantee: `violated` comes with a counterexample that was replayed in float64; `holds` rests on
        a bound of every box of a cover, and is a proof where `proved` is set. The answer does not
        depend on the machine's speed, except for `timeout`.
    Cost: the falsifier, and per box one bound, and 2 x looks forwards and looks backwards.

    Raises:
        InputError: the property does not fit the network, or the timeout is not positive.
    """
    property.check_network(graph.input_shape, graph.output_shape)
    if not timeout > 0:
        raise InputError("timeout", timeout, "is not positive", "give seconds")
    query = _Query(graph, bound, splitting, timeout, seed)
    groups = by_box(_placed(property.cases, graph))
    for cases in groups:
        points = (falsifier or _DESCENT).falsify(graph, cases, seed=seed)
        if (found := query.unsafe(cases, points.to(cases[0].lower))) is not None:
            return query.violated(cases, found, "attack")
    verdicts = []
    for cases in groups:
        verdict, found = query.search(cases)
        if found is not None:
            return query.violated(cases, found, "search")
        verdicts.append(verdict)
    order = (Verdict.TIMEOUT, Verdict.UNKNOWN)
    worst = next((each for each in order if each in verdicts), Verdict.HOLDS)
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
        self, graph: Graph, bound: Bounding, splitting: Splitting, timeout: float, seed: int
    ):
        self.graph, self.method, self.splitting = graph, bound, splitting
        self.start, self.timeout = time.perf_counter(), timeout
        self.boxes, self.sound = 0, True
        self.keys = Keys.of(seed, range(splitting.looks)).fold("looks")

    def search(self, cases: Sequence[Case]) -> tuple[Verdict, Tensor | None]:
        """Branch and bound over the box that the cases share; an unsafe input if one is found."""
        stack = Boxes(cases[0].lower.unsqueeze(0), cases[0].upper.unsqueeze(0))
        scale = (stack.upper - stack.lower)[0]
        unknown, graph = False, excesses(self.graph, cases)
        while stack.count:
            if time.perf_counter() - self.start > self.timeout:
                return Verdict.TIMEOUT, None
            now, stack = stack[-self.splitting.batch :], stack[: -self.splitting.batch]
            now, worst = self._open(now, cases, graph)
            if not now.count:
                continue
            slope, points = self._slope(now, worst, cases)
            if (found := self._tried(now, points, cases)) is not None:
                return Verdict.VIOLATED, found
            possible = divisible(now).any(dim=1) & self._may_cut(len(scale))
            unknown = unknown or not bool(possible.all())
            stack = stack.joined(halves(now[possible], slope[possible], scale))
        return (Verdict.UNKNOWN if unknown else Verdict.HOLDS), None

    def _may_cut(self, inputs: int) -> bool:
        within = self.boxes < self.splitting.most_boxes
        return inputs <= self.splitting.most_inputs and within

    def _open(self, boxes: Boxes, cases: Sequence[Case], graph: Graph) -> tuple[Boxes, Tensor]:
        """The boxes that are not proved safe, least proved last, and for each the row to work on.

        A case is excluded from a box by any of its rows; the row nearest to that is worked on, of
        the case that is farthest from being excluded.
        """
        shape = (boxes.count, *self.graph.input_shape)
        threat = InputBox(boxes.lower.reshape(shape), boxes.upper.reshape(shape))
        spec = torch.eye(*graph.output_shape * 2, dtype=torch.float64, device=boxes.lower.device)
        bounds = self.method.bound(graph, boxes.center.reshape(shape), threat, spec)
        self.boxes += boxes.count
        self.sound = self.sound and bounds.sound
        excluded = (bounds.lower > 0) & bounds.lower.isfinite()
        gap = torch.nan_to_num(bounds.lower, nan=-torch.inf).where(~excluded, torch.inf)
        sizes = [len(case.limits) for case in cases]
        parts = [
            gap[:, end - size : end] for end, size in zip(accumulate(sizes), sizes, strict=True)
        ]
        best = torch.stack([part.amax(dim=1) for part in parts], dim=1)
        row = torch.stack([part.argmax(dim=1) for part in parts], dim=1)
        first = torch.tensor([sum(sizes[:i]) for i in range(len(sizes))], device=row.device)
        value, case = best.min(dim=1)
        order = value.argsort(descending=True, stable=True)
        order = order[value[order] < torch.inf]
        return boxes[order], (row + first).gather(1, case.unsqueeze(1)).squeeze(1)[order]

    def _slope(self, boxes: Boxes, worst: Tensor, cases: Sequence[Case]) -> tuple[Tensor, Tensor]:
        """How the row of each box varies along each side, and the points that were looked at."""
        rows = torch.cat([case.rows for case in cases])[worst]
        width = boxes.upper - boxes.lower
        shares = self.keys.uniform(width.shape, step=self.boxes).to(width)  # (S, N, n)
        points = (boxes.lower + shares * width).clamp(boxes.lower, boxes.upper)
        gradients = self._gradient(points.flatten(0, 1), rows.repeat(len(points), 1))
        gradients = gradients.reshape(points.shape)
        corner = torch.where(gradients.mean(dim=0) > 0, boxes.lower, boxes.upper)
        return gradients.abs().mean(dim=0), torch.cat((points.flatten(0, 1), corner))

    def _gradient(self, x: Tensor, rows: Tensor) -> Tensor:
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            outputs = self.graph.forward(leaf.reshape(-1, *self.graph.input_shape))
            (gradient,) = torch.autograd.grad((outputs * rows).sum(), leaf)
        return gradient

    def _tried(self, boxes: Boxes, points: Tensor, cases: Sequence[Case]) -> Tensor | None:
        """An unsafe input among the points (S N, n), or a few steps from the best of them."""
        outputs = self._outputs(points)
        excess = torch.stack([case.excess(outputs) for case in cases])  # (cases, S N)
        least, which = excess.min(dim=0)
        start = least.argsort(stable=True)[:_RUNS]
        own = boxes[start % boxes.count]
        ends = descend(self.graph, cases, which[start], points[start], own, _STEPS, _LENGTH)
        return self.unsafe(cases, ends)

    def unsafe(self, cases: Sequence[Case], points: Tensor) -> Tensor | None:
        """The most unsafe of the points (P, n), if any is, by its value in float64."""
        outputs = self._outputs(points)
        best: tuple[float, Tensor] | None = None
        for case in cases:
            excess = case.excess(outputs).nan_to_num(nan=torch.inf)
            excess = excess.where(case.inside(points), torch.inf)
            if len(points) and float(excess.min()) <= (best[0] if best else 0.0):
                best = float(excess.min()), points[excess.argmin()]
        return best[1] if best else None

    def _outputs(self, points: Tensor) -> Tensor:
        with torch.no_grad():
            return self.graph.forward(points.double().reshape(-1, *self.graph.input_shape))

    def violated(self, cases: Sequence[Case], x: Tensor, method: str) -> VerifyResult:
        """The result for an unsafe input."""
        point = x.double().reshape(1, *self.graph.input_shape)
        threat, output = InputBox(point, point), self._outputs(x.unsqueeze(0))
        proved = False
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
        return VerifyResult(verdict, x, output, seconds, self.boxes, method, proved)
