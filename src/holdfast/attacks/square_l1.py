"""The moves of the Square Attack in an l1 ball: those of the l2 ball, with absolute values.

    available = sum |nu[W1 u W2, i]| + (eps - ||nu||_1) / C,

bumps have terms 1 / (j + 1)^4 and unit l1 norm. The start is a grid of unit bumps, projected.

Source: Croce and Hein 2021, arXiv:2103.01208, sec 4 and its released code.
Departures: none; with C > 1 channels a window receives C times what is available, and the point is
projected, as in the released code. With one channel that projection is the clipping to the box.
"""

from torch import Tensor

from holdfast.attacks.rows import Rows
from holdfast.attacks.square_l2 import move_mass, spread
from holdfast.attacks.square_schedule import Plan
from holdfast.attacks.square_update import Draw, Update


def start_l1(rows: Rows, plan: Plan, update: Update) -> Tensor:
    """The perturbation of the l2 start, projected onto ball and box; (b, *E)."""
    move = spread(rows, plan, update, p=1)
    return rows.threat.project(move.add_(rows.origin), rows.origin)


def propose_l1(rows: Rows, plan: Plan, update: Update, draw: Draw, point: Tensor) -> Tensor:
    """Moves mass between two windows of each `point` (b, *E)."""
    channels = plan.shape[0]
    point = move_mass(rows, plan, update, draw, point, p=1, surplus=channels)
    return point if channels == 1 else rows.threat.project(point, rows.origin)
