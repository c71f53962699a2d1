"""Auto-PGD in L1: sparse steps, in stages of falling radius.

A step moves the share `topk` of coordinates with the largest gradients by equal amounts that add up
to eta, then projects onto ball and box. At checkpoints topk follows the sparsity of the best point:
where that fell by 5 % or more the row goes back to its best point with the full step, else eta is
divided by 1.5, down to a tenth. Stages with 3, 2 and 1 times the radius take 30, 30 and 40 % of the
steps; each begins at the projection of the best point before. Points of the first two are outside
the threat and no answers.

Source: Croce and Hein 2021, arXiv:2103.01208, sec 4.
Departures: none from the released code in what is computed; the projection is solved exactly in
float64 by Newton's method instead of sorting.
"""

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from holdfast.attacks.lanes import wide
from holdfast.attacks.protocol import Seen
from holdfast.attacks.rows import Rows
from holdfast.core.tensors import norm, per_example
from holdfast.threats import projections

if TYPE_CHECKING:
    from holdfast.attacks.apgd import APGD


def begin(attack: "APGD", rows: Rows) -> Tensor:
    """Gaussian noise projected onto the ball of the first stage and the box."""
    blank = torch.zeros_like(rows.origin)
    rows.memory.update(best=blank, best_gradient=blank.clone())
    zero = torch.zeros_like(blank.flatten(1)[:, 0])
    for name in ("best_loss", "eta", "topk", "sparsity", "stage", "local"):
        rows.memory[name] = zero.clone()
    noise = rows.keys.fold("start").normal(rows.origin.shape[1:]).to(rows.origin)
    rows.inside = (zero + attack.widening[0]) <= 1
    return _project(rows.origin + noise, rows, zero + attack.widening[0])


def advance(attack: "APGD", rows: Rows, seen: Seen) -> Tensor:
    """Keeps the best point, adapts sparsity and step, and moves; or begins the next stage."""
    memory, point, gradient = rows.memory, rows.point, seen.slope
    first = memory["local"] == 0
    better = first | (seen.loss > memory["best_loss"])
    memory["best"] = torch.where(wide(better, point), point, memory["best"])
    memory["best_gradient"] = torch.where(wide(better, point), gradient, memory["best_gradient"])
    memory["best_loss"] = torch.where(better, seen.loss, memory["best_loss"])
    factor = torch.tensor(attack.widening).to(point)[memory["stage"].long()]
    reach = per_example(rows.threat.radius, memory["eta"]) * factor
    lengths = torch.tensor(_stages(attack.steps, len(attack.widening)))
    length = lengths.to(point.device)[memory["stage"].long()]
    _set_out(attack, rows, first, reach)
    back = _adapt(rows, first, length, reach)
    point = torch.where(wide(back, point), memory["best"], point)
    gradient = torch.where(wide(back, point), memory["best_gradient"], gradient)
    onward = _project(point + _sparse_step(gradient, memory["topk"], memory["eta"]), rows, factor)
    return _next_stage(attack, rows, onward, memory["local"] >= length)


def _set_out(attack: "APGD", rows: Rows, first: Tensor, reach: Tensor) -> None:
    """At the first look of a stage: the full step, and the sparsity to begin with."""
    memory = rows.memory
    features = rows.origin[0].numel()
    staged = len(attack.widening) > 1
    count = norm(rows.point - rows.origin, 0)
    topk = count / features / 1.5 if staged else torch.full_like(count, 0.2)
    sparsity = count if staged else torch.full_like(count, features)
    memory["topk"] = torch.where(first, topk, memory["topk"])
    memory["sparsity"] = torch.where(first, sparsity, memory["sparsity"])
    memory["eta"] = torch.where(first, reach, memory["eta"])


def _adapt(rows: Rows, first: Tensor, length: Tensor, reach: Tensor) -> Tensor:
    """At checkpoints: the new sparsity and step; the rows that go back to their best point."""
    memory = rows.memory
    window = (length * 0.04).long().clamp_min(1)
    ends = ~first & (memory["local"].long() % window == 0)
    count = norm(memory["best"] - rows.origin, 0)
    sparser = count / memory["sparsity"] < 0.95
    eta = torch.where(sparser, reach, (memory["eta"] / 1.5).clamp(reach / 10, reach))
    memory["topk"] = torch.where(ends, count / rows.origin[0].numel() / 1.5, memory["topk"])
    memory["eta"] = torch.where(ends, eta, memory["eta"])
    memory["sparsity"] = torch.where(ends, count, memory["sparsity"])
    return ends & sparser


def _sparse_step(gradient: Tensor, topk: Tensor, eta: Tensor) -> Tensor:
    """eta spread evenly over the share topk of coordinates of largest gradient, (b, *E)."""
    size = gradient.abs().flatten(1)
    features = size.shape[1]
    place = ((1 - topk) * features).clamp(0, features - 1).long()
    threshold = size.sort(dim=1).values.gather(1, place[:, None])
    sign = gradient.flatten(1).sign() * (size >= threshold)
    share = eta[:, None] / (sign.abs().sum(dim=1, keepdim=True) + 1e-10)
    return (sign * share).view_as(gradient)


def _next_stage(attack: "APGD", rows: Rows, onward: Tensor, over: Tensor) -> Tensor:
    """Where a stage is over, the start of the next instead: a move that does not count."""
    memory = rows.memory
    memory["local"] = memory["local"] + 1
    over &= memory["stage"] < len(attack.widening) - 1
    memory["stage"] = memory["stage"] + over
    memory["local"] = torch.where(over, 0.0, memory["local"])
    factor = torch.tensor(attack.widening).to(onward)[memory["stage"].long()]
    rows.inside = factor <= 1
    if not bool(over.any()):
        return onward
    rows.step = rows.step - over.to(rows.step)
    start = _project(memory["best"], rows, factor)
    return torch.where(wide(over, onward), start, onward)


def _project(point: Tensor, rows: Rows, factor: Tensor) -> Tensor:
    radius = per_example(rows.threat.radius, point) * per_example(factor, point)
    return projections.l1(point, rows.origin, radius, rows.threat.box)


def _stages(steps: int, count: int) -> list[int]:
    """Steps of each stage: 30, 30 and 40 % for three, else equal shares."""
    if count == 3:
        early = math.ceil(0.3 * steps)
        return [early, early, steps - 2 * early]
    share = steps // count
    return [share] * (count - 1) + [steps - share * (count - 1)]
