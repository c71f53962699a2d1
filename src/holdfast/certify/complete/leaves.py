"""Subdomains solved by a linear programme: exact where every unit is split.

Over the box of the inputs, with v the units and z what they read,

    min t    subject to    z = M v + m,    v between its lines in z (v = p z where split),
                           s z >= 0 where split,    t >= each row of the query.

The solver's own numbers prove nothing. Its dual solution is read as multipliers (beta of each sign
constraint, alpha of each pair of lower lines, shares of the rows) whose bound is then evaluated as
any other. Where the constraints contradict each other, the programme is solved for the least w
with s z >= -w instead, whose multipliers, times a large number, prove it.

Source: Ehlers 2017, arXiv 1705.01320 (triangle relaxation); Neumaier and Shcherbina 2004 (bounds
    from approximate duals); Salman et al. 2019, arXiv 1902.08722 (the dual is the best alpha).
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.optimize import OptimizeResult, linprog
from scipy.sparse import csr_matrix, hstack, vstack
from torch import Tensor

from holdfast.certify.complete.condensed import Block, Condensed
from holdfast.certify.complete.splits import Splits

_LARGE = 4.0


@dataclass(frozen=True, eq=False)
class Leaf:
    """What a linear programme says of one subdomain.

    Args:
        splits: the subdomain with the multipliers of the dual solution.
        x: (n,) the input of the primal solution, None where there is none.
    """

    splits: Splits
    x: Tensor | None


def solve(program: Condensed, query: Tensor, splits: Splits, target: float) -> Leaf:
    """The best multipliers of one subdomain (N = 1), of a program over a box.

    Args:
        query: (R,) places of the rows, -1 where there are fewer.
        target: what a proof that the subdomain is empty has to reach, if finite.
    """
    if not program.finite:  # a solver refuses it, and nothing could be proved
        return Leaf(splits, None)
    model = _Programme(program, splits.signs[0].cpu().numpy())
    place = query[query >= 0].cpu()
    rows = program.outputs.rows[place].cpu().numpy()
    result = model.least(rows, program.outputs.offset[place].cpu().numpy())
    if result.status == 0:
        duals = np.clip(-result.ineqlin.marginals, 0.0, None)
        total = duals[-len(place) :].sum() or 1.0
        weights = torch.zeros_like(splits.shares)
        weights[0, query >= 0] = torch.as_tensor(duals[-len(place) :] / total).to(weights)
        found = model.multipliers(duals / total, splits)
        x = torch.as_tensor(result.x[: program.inputs]).to(program.outputs.rows)
        return Leaf(replace(splits, multipliers=found, shares=weights), x)
    result = model.emptiness()
    if result.status != 0 or not result.fun > 0:
        return Leaf(splits, None)
    goal = abs(target) if np.isfinite(target) else 1.0
    reach = _LARGE * (goal + program.outputs.size) / result.fun
    found = model.multipliers(-reach * result.ineqlin.marginals, splits)
    return Leaf(replace(splits, multipliers=found), None)


class _Programme:
    """The constraints over (v, z, s), with s the number to be made small.

    Inequalities `a y <= b` come in groups: for each block the lower lines, the upper lines and the
    signs, the two pieces of a free bend being two lower lines; last, in `least`, the rows.
    """

    def __init__(self, program: Condensed, signs: np.ndarray):
        self.program, self.signs = program, signs
        self.columns = program.inputs + program.units
        self.size = self.columns + sum(len(block.reads.rows) for block in program.blocks) + 1
        box = program.region.box
        ends = [end.flatten().cpu().numpy() for end in box]
        free = np.full(self.size - program.inputs, np.inf)
        self.bounds = np.stack([np.append(ends[0], -free), np.append(ends[1], free)], axis=1)
        self.equal: list[csr_matrix] = []
        self.right: list[np.ndarray] = []
        self.under: list[csr_matrix] = []
        self.limit: list[np.ndarray] = []
        self.where: list[tuple[str, np.ndarray]] = []
        start = self.columns
        for block in program.blocks:
            self._block(block, start)
            start += len(block.reads.rows)

    def _rows(self, *entries: tuple[np.ndarray, np.ndarray | float], count: int) -> csr_matrix:
        """Rows with one number in each of some columns."""
        row = np.tile(np.arange(count), len(entries))
        column = np.concatenate([columns for columns, _ in entries])
        value = np.concatenate([np.broadcast_to(each, count) for _, each in entries])
        return csr_matrix((value, (row, column)), shape=(count, self.size))

    def _block(self, block: Block, start: int) -> None:
        """The constraints of one block, whose forms are the variables from `start` on."""
        matrix = block.reads.rows.cpu().numpy()
        z = start + np.arange(len(matrix))
        known = csr_matrix((len(matrix), self.size - matrix.shape[1]))
        forms = hstack([csr_matrix(-matrix), known], format="csr")
        self.equal.append(forms + self._rows((z, 1.0), count=len(z)))
        self.right.append(block.reads.offset.cpu().numpy())
        own = self.program.own(block)
        unit, v = np.arange(own.start, own.stop), np.arange(len(block.unit)) + block.start
        low, below, high, above = (each.cpu().numpy() for each in block.lines)
        upper = z[-len(unit) :] if len(unit) else z
        sign = self.signs[own] if block.left is not None else np.zeros_like(unit)
        free = sign == 0
        if block.left is None:
            self._add("line", unit, (z[: len(unit)], low), (v, -1.0), limit=-below)
        else:
            for name, slope in (("left", block.left), ("right", 1.0)):
                self._add(name, unit[free], (z[free], slope), (v[free], -1.0), limit=0.0)
            piece = np.where(sign > 0, 1.0, block.left)[~free]
            count = len(piece)
            self.equal.append(self._rows((v[~free], 1.0), (z[~free], -piece), count=count))
            self.right.append(np.zeros(count))
            last = np.full(count, self.size - 1)
            self._add("sign", unit[~free], (z[~free], -sign[~free]), (last, -1.0), limit=0.0)
        self._add("up", unit[free], (v[free], 1.0), (upper[free], -high[free]), limit=above[free])

    def _add(
        self,
        name: str,
        unit: np.ndarray,
        *entries: tuple[np.ndarray, np.ndarray | float],
        limit: np.ndarray | float,
    ) -> None:
        self.under.append(self._rows(*entries, count=len(unit)))
        self.limit.append(np.broadcast_to(limit, len(unit)))
        self.where.append((name, unit))

    def _solved(self, under: csr_matrix, limit: np.ndarray, bounds: np.ndarray) -> OptimizeResult:
        """The result of the solver, the last variable being minimised."""
        cost = np.zeros(self.size)
        cost[-1] = 1.0
        equal = vstack(self.equal) if self.equal else None
        right = np.concatenate(self.right) if self.right else None
        return linprog(cost, under, limit, equal, right, bounds, method="highs")

    def least(self, rows: np.ndarray, offset: np.ndarray) -> OptimizeResult:
        """The least of the largest row (R, columns), the signs being strict constraints."""
        signs = vstack([csr_matrix((0, self.size)), *self.under]).tolil()
        signs[:, self.size - 1] = 0.0
        wide = csr_matrix((len(rows), self.size - self.columns - 1))
        outputs = hstack([csr_matrix(rows), wide, csr_matrix(-np.ones((len(rows), 1)))])
        under = vstack([signs.tocsr(), outputs])
        return self._solved(under, np.concatenate([*self.limit, -offset]), self.bounds)

    def emptiness(self) -> OptimizeResult:
        """The least violation of the sign constraints."""
        bounds = self.bounds.copy()
        bounds[-1, 0] = 0.0
        return self._solved(vstack(self.under), np.concatenate(self.limit), bounds)

    def multipliers(self, duals: np.ndarray, splits: Splits) -> Tensor:
        """Slopes and multipliers (1, U) from the duals of the inequalities, in their order."""
        found = splits.multipliers.double().cpu().numpy()[0].copy()
        weight = {"left": np.zeros(len(found)), "right": np.zeros(len(found))}
        start = 0
        for name, unit in self.where:
            mine = np.clip(duals[start : start + len(unit)], 0.0, None)
            start += len(unit)
            if name == "sign":
                found[unit] = mine
            elif name in weight:
                weight[name][unit] = mine
        total = weight["left"] + weight["right"]
        some = total > 0
        left = np.zeros(len(found))
        for block in self.program.blocks:
            left[self.program.own(block)] = block.left or 0.0
        mean = (left * weight["left"] + weight["right"])[some] / total[some]
        found[some] = mean
        return torch.as_tensor(found).unsqueeze(0).to(splits.multipliers.device)
