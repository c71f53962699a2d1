"""A proved lower bound of a linear programme from any multipliers.

For multipliers y of the rows of

    minimise <c, v>   subject to   b <= A v <= d,   l <= v <= u,

and every feasible v, <c, v> = <y, A v> + <c - A^T y, v>, so that

    <c, v>  >=  sum_i (y_i b_i if y_i > 0, y_i d_i else) + sum_j min(r_j l_j, r_j u_j),

with r = c - A^T y, whatever y is: a solver may stop early, or be wrong. A multiplier that would
meet an infinite end is set to zero. With the multipliers of an optimal basis the bound is the
optimum, up to rounding. The same sum with c = 0, if positive, proves that nothing is feasible.

Rounding: all terms are sums of products, so the radius of `rounding.py` holds with the sum of their
absolute values, S = |y|.max(|b|, |d|) + (|c| + |A|^T |y|).max(|l|, |u|), and their number.

Source: Neumaier and Shcherbina 2004, Safe bounds in linear and mixed-integer linear programming;
    Jansson 2004; Wong 2020, sec 3.1.2 (the dual of the relaxation of a network).
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from holdfast.certify.rounding import Box, radius

if TYPE_CHECKING:
    from scipy.sparse import csr_array


def rebuilt(
    matrix: "csr_array", rows: Box, columns: Box, cost: Tensor, constant: float, duals: Tensor
) -> float:
    """A lower bound of the optimum, proved in float64.

    Args:
        matrix: A, (m, n).
        rows: ends b and d of the rows, (m,).
        columns: ends of the columns, (n,), finite.
        cost: c, (n,).
        constant: added to the objective.
        duals: y, (m,); whatever is not finite counts as zero.

    Guarantee: at most the objective of every feasible point, over the real numbers.
    Cost: two products with the matrix.
    """
    y = torch.nan_to_num(duals.double(), nan=0.0, posinf=0.0, neginf=0.0)
    ends = torch.where(y > 0, rows.lower, rows.upper)
    y = torch.where(ends.isfinite(), y, 0.0)
    ends = torch.where(y == 0, 0.0, ends)
    size = cost.abs() + torch.from_numpy(abs(matrix).T @ y.abs().numpy())
    rest = cost - torch.from_numpy(matrix.T @ y.numpy())
    least = torch.minimum(rest * columns.lower, rest * columns.upper)
    total = y @ ends + least.sum() + constant
    terms = sum(matrix.shape) + 64
    absolute = y.abs() @ ends.abs() + size @ columns.magnitude + abs(constant)
    # each reduced cost is itself a sum, of at most as many terms as there are rows
    slack = radius(terms + matrix.shape[0], absolute)
    return float(total - slack)


def without_feasible_points(matrix: "csr_array", rows: Box, columns: Box, ray: Tensor) -> bool:
    """Whether multipliers prove that no point is feasible."""
    return rebuilt(matrix, rows, columns, torch.zeros_like(columns.lower), 0.0, ray) > 0
