"""The moves of the Square Attack in an l_inf ball: every feature stays at one of its two faces.

    start:     x_hat = vertical stripes: for each channel and column, the upper or the lower face
    proposal:  x_hat inside one square window := the upper or the lower face, one sign per channel

The faces are min(high, x + eps) and max(low, x - eps). Adding +-2 eps in the window and projecting,
as the paper writes it, is the same.

Source: Andriushchenko, Croce, Flammarion and Hein 2020, arXiv:1912.00049, Alg 2; Andriushchenko
2024, sec 3.4.3 and 3.10 (ablations).
Departures: signs that would change nothing are drawn again, as in the released code.
"""

import torch
from torch import Tensor

from holdfast.attacks.rows import Rows
from holdfast.attacks.square_schedule import Plan
from holdfast.attacks.square_update import Draw, Update
from holdfast.core.random import Keys

_SQUARES = 10


def start_linf(rows: Rows, plan: Plan, update: Update) -> Tensor:
    """Stripes of upper and lower faces, (b, *E); keeps the faces in memory, flat (b, C, H * W)."""
    channels, height, width = plan.shape
    upper, lower = (
        rows.threat.project(torch.full_like(rows.origin, end), rows.origin)
        .reshape(-1, channels, height * width)
        .contiguous()
        for end in (torch.inf, -torch.inf)
    )
    rows.memory["upper"], rows.memory["lower"] = upper, lower
    point = torch.where(_stripes(rows.keys.fold("stripes"), plan, update) > 0, upper, lower)
    if update.stripes == "squares":
        keys, first = rows.keys.fold("squares"), torch.zeros_like(rows.step)
        for each in range(_SQUARES):
            draw = update.draw(keys.fold(each), first, plan, 1)
            where = update.windows(draw, plan)
            up = draw.words[:, :, None] < 0
            where.write(point, torch.where(up, where.of(upper), where.of(lower)))
    return point.view(rows.origin.shape)


def propose_linf(rows: Rows, plan: Plan, update: Update, draw: Draw, point: Tensor) -> Tensor:
    """Sets one window of each `point` (b, *E), in place, to upper or lower faces."""
    upper, lower = rows.memory["upper"], rows.memory["lower"]
    image = point.view(upper.shape)
    keys = Keys(rows.memory["stream"])
    where = update.pixels(draw, keys, rows.step, plan)
    high, low = where.of(upper), where.of(lower)
    if update.signs == "pixel":
        signs = keys.fold("signs").sign((image.shape[1], image.shape[2]), rows.step)
        up = where.of(signs) > 0
    else:
        up = draw.words[:, :, None] < 0
        if update.skip_noop:
            idle = (torch.where(up, high, low) == where.of(image)).flatten(1).all(dim=1)
            up = up ^ (draw.flips > ~idle[:, None])[:, :, None]
    where.write(image, torch.where(up, high, low))
    return point


def _stripes(keys: Keys, plan: Plan, update: Update) -> Tensor:
    """The signs of the start, broadcasting over (b, C, H * W)."""
    channels, height, width = plan.shape
    if update.stripes == "squares":
        return keys.sign((channels, 1))
    if update.stripes == "uniform":
        return keys.sign((channels, height * width))
    down = update.stripes == "horizontal" or (width == 1 and height > 1)
    stripes = keys.sign((channels, height, 1) if down else (channels, 1, width))
    return stripes.expand(-1, channels, height, width).flatten(2)
