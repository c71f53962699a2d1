"""Branch and bound over the signs of units.

    open <- the whole set, once per query
    until all is closed: take the subdomains of lowest bound; cut each at one unit; climb on the
        multipliers of both halves, from the parent's; bound them; try the input where each bound is
        attained; close what is above the target; choose where the others are cut next

A subdomain that has no unit left to cut is solved by a linear programme, which is exact there if
all open units have two linear pieces: then the search is complete. Bounds are inherited, so that
the lowest open one never falls.

Source: Bunel et al. 2020, JMLR 21(42); Wang et al. 2021, arXiv 2103.06624 (batched, on the dual).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from holdfast.certify.complete.beta import Dual
from holdfast.certify.complete.branching import by_trial, look
from holdfast.certify.complete.condensed import Condensed
from holdfast.certify.complete.exploring import Explored, Propose, Record
from holdfast.certify.complete.leaves import solve
from holdfast.certify.complete.splits import Splits, roots


@dataclass(frozen=True, kw_only=True)
class Search:
    """How the tree is grown.

    Args:
        batch: subdomains that are bounded together.
        steps: of the ascent of a subdomain; `root_steps` of a whole set.
        step_size: of the first step, in slopes.
        decay: factor on it after each step.
        candidates: units by each score that are tried at a cut.
        most_nodes: the search ends after as many subdomains.
        target: what is to be proved; infinite to find the minimum, up to `tolerance`.
        tolerance: of the minimum.
    """

    batch: int
    steps: int
    root_steps: int
    step_size: float
    decay: float
    candidates: int
    most_nodes: int
    target: float = 0.0
    tolerance: float = 0.0

    def explore(
        self,
        program: Condensed,
        fast: Condensed,
        queries: Tensor,
        propose: Propose,
        ends: Callable[[Record], bool],
    ) -> Explored:
        """Grows the tree until nothing is open.

        Args:
            program: gives the bounds; `fast` is the same for the ascent.
            queries: (Q, R) places of the outputs of each query, -1 where there are fewer.
            propose: tries inputs.
            ends: asked after each batch whether the search is to end.
        """
        return _Tree(self, Dual(program, fast, queries), propose).grown(ends)


class _Tree:
    """The open subdomains of one search."""

    def __init__(self, search: Search, dual: Dual, propose: Propose):
        self.search, self.dual, self.propose = search, dual, propose
        program = dual.program
        count, like = len(dual.queries), program.outputs.rows
        self.record = Record(like, count, program.inputs, search.target, search.tolerance)
        self.open = roots(program, dual.queries >= 0)
        stored = self.open.multipliers.to(dual.fast.outputs.rows)
        self.open = replace(self.open, multipliers=stored)
        self.stuck = False
        first = program.region.x.reshape(1, -1).expand(count, -1)
        self.record.tried(*propose(first, self.open.query), self.open.query)

    def grown(self, ends: Callable[[Record], bool]) -> Explored:
        """The result once nothing is open, or the search is to end."""
        new, self.open, steps = self.open, self.open[:0], self.search.root_steps
        while True:
            for part in torch.split(torch.arange(len(new)), self.search.batch):
                self.open = self.open.joined(self._bounded(new[part], steps))
            self._forget()
            if not len(self.open) or ends(self.record) or self._spent():
                break
            new, steps = self._cut(), self.search.steps
        record, left = self.record, self.open
        lower = record.lower(left.lower, left.query)
        complete = not (len(left) or self.stuck)
        return Explored(lower, record.upper, record.best, record.nodes, complete)

    def _spent(self) -> bool:
        return self.record.nodes >= self.search.most_nodes

    def _cut(self) -> Splits:
        """The halves of the subdomains of lowest bound, which are taken out."""
        count = min(max(1, self.search.batch // 2), len(self.open))
        chosen = self.open.lower.topk(count, largest=False).indices
        keep = torch.ones_like(self.open.query, dtype=torch.bool)
        keep[chosen] = False
        parents, self.open = self.open[chosen], self.open[keep]
        return parents.children()

    def _bounded(self, splits: Splits, steps: int) -> Splits:
        """The subdomains that remain open, with their bounds and where they are cut next."""
        search, record, dual = self.search, self.record, self.dual
        splits = dual.ascend(splits, steps, search.step_size, search.decay, search.target)
        pulled, lines = dual.bound(splits)
        splits = replace(splits, lower=torch.fmax(splits.lower, pulled.lower))
        record.nodes += len(splits)
        seen = look(dual.program, splits, pulled, lines)
        record.tried(*self.propose(seen.x, splits.query), splits.query)
        keep = ~record.done(splits.lower, splits.query)
        record.close(splits.lower[~keep], splits.query[~keep])
        splits, seen = splits[keep], seen[keep]
        splits = replace(splits, unit=by_trial(dual, splits, seen, search.candidates))
        leaves = splits.unit < 0
        for place in leaves.nonzero().flatten().tolist():
            self._solved(splits[place : place + 1])
        return splits[~leaves]

    def _solved(self, leaf: Splits) -> None:
        """Closes a subdomain that cannot be cut, by a linear programme where there is one."""
        record, dual = self.record, self.dual
        if dual.program.region.boxed:
            found = solve(dual.program, dual.queries[leaf.query[0]], leaf, self._goal(leaf))
            lower = dual.bound(found.splits)[0].lower
            leaf = replace(leaf, lower=torch.fmax(leaf.lower, lower))
            if found.x is not None:
                record.tried(*self.propose(found.x.unsqueeze(0), leaf.query), leaf.query)
        self.stuck = self.stuck or not bool(record.done(leaf.lower, leaf.query))
        record.close(leaf.lower, leaf.query)

    def _goal(self, leaf: Splits) -> float:
        upper = float(self.record.upper[leaf.query[0]])
        return self.search.target if self.search.target < torch.inf else upper

    def _forget(self) -> None:
        """Puts away the subdomains of queries that are disproved."""
        gone = self.record.broken()[self.open.query] & (self.search.target < torch.inf)
        gone = gone | self.record.done(self.open.lower, self.open.query)
        self.record.close(self.open.lower[gone], self.open.query[gone])
        self.open = self.open[~gone]
