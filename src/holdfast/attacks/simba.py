"""SimBA: tries basis directions one after another, forwards and back.

With q_1, q_2, ... directions of an orthonormal basis without replacement, and a step a,

    x_{t+1} = the first of  P(x_t - a q_t),  P(x_t + a q_t)  with a smaller p_y,  else x_t,

so that a direction costs one or two queries. The basis is that of the pixels or of the discrete
cosine transform. `strided` takes a square of low frequencies first, in random order, then ring by
ring the higher ones; `random` a random order of the square alone.

Symbols: a = `step_size`, p_y the probability of the label.
Source: Guo et al. 2019, arXiv:1905.07121, algorithm 1. Thesis: Andriushchenko 2024, sec 3.9.
Departures: the search has no bound in the paper; here each point is projected onto the threat P,
so that it goes on along the surface when the radius is used up. When all directions have been
tried, they are tried again.
"""

from typing import Literal

import torch
from torch import Tensor

from holdfast.attacks.attack import ScoreAttack, parse_step, step_length
from holdfast.attacks.lanes import wide
from holdfast.attacks.protocol import Seen
from holdfast.attacks.rows import Rows
from holdfast.attacks.tiles import cosines, image_shape
from holdfast.core.recipes import Count, hyperparameters
from holdfast.core.tensors import per_example
from holdfast.losses.cross_entropy import CrossEntropy
from holdfast.losses.protocol import Loss


@hyperparameters
class SimBA(ScoreAttack):
    """Greedy search along an orthonormal basis.

    Args:
        queries: forward passes of an example at most, besides the clean one and the final check.
        basis: `dct` or `pixel`.
        freq_dims: side of the square of frequencies (or pixels) that comes first; None is an
            eighth of the image's side for `strided` and all of it for `random`.
        order: `strided` or `random`.
        stride: width of the rings of `strided`; None is 1/32 of the image's side.
        step_size: a number in input units or a text such as `eps/5`.

    Guarantee: the probability of the label never rises from point to point that is kept.
    Cost: per example at most `queries` + 2 forwards.
    Source: Guo et al. 2019, arXiv:1905.07121.
    """

    queries: Count = 10_000
    basis: Literal["dct", "pixel"] = "dct"
    freq_dims: Count | None = None
    order: Literal["strided", "random"] = "strided"
    stride: Count | None = None
    step_size: float | str = 0.2

    def __post_init__(self) -> None:
        parse_step(self.step_size, self.queries)

    @property
    def steps(self) -> int:
        """The queries after the first."""
        return self.queries - 1

    @property
    def objective(self) -> Loss:
        """Cross-entropy, -log p_y: it rises where the probability falls."""
        return CrossEntropy()

    def begin(self, rows: Rows) -> Tensor:
        """The clean input; the order of the directions is drawn."""
        shape = image_shape(rows.origin.shape[1:])
        rank = self.ranks(shape, rows.origin)
        noise = rows.keys.fold("order").uniform((len(rank),)).double()
        order = (rank + noise).argsort(dim=1, stable=True)
        count = min(self.queries, int(rank.isfinite().sum()))
        zero = torch.zeros_like(rows.step)
        rows.memory.update(order=order[:, :count].contiguous(), place=zero, back=zero.clone())
        rows.memory["kept"] = rows.origin.clone()
        rows.memory["loss"] = torch.zeros_like(rows.origin.flatten(1)[:, 0])
        return rows.origin

    def advance(self, rows: Rows, seen: Seen) -> Tensor:
        """Keeps the point where the loss rose; then the other side, or the next direction."""
        memory, first = rows.memory, rows.step == 0
        better = first | (seen.loss > memory["loss"])
        memory["kept"] = torch.where(wide(better, rows.point), rows.point, memory["kept"])
        memory["loss"] = torch.where(better, seen.loss, memory["loss"])
        back = ~better & (memory["back"] == 0)
        memory["place"] = memory["place"] + (~first & ~back)
        memory["back"] = back.to(memory["back"])
        order = memory["order"]
        which = order.gather(1, (memory["place"] % order.shape[1])[:, None])[:, 0]
        length = step_length(self.step_size, rows.threat, self.queries)
        side = torch.where(back, 1.0, -1.0).to(rows.origin)
        move = per_example(side, rows.origin) * per_example(length, rows.origin)
        move = move * self.direction(which, rows.origin)
        return rows.threat.project(memory["kept"] + move, rows.origin)

    def ranks(self, shape: tuple[int, int, int], like: Tensor) -> Tensor:
        """When each direction (C H W,) comes: its ring, or infinity for never; float64."""
        _, height, width = shape
        side = max(height, width)
        whole = side if self.order == "random" else -(-side // 8)
        start, stride = self.freq_dims or whole, self.stride or -(-side // 32)
        row = torch.arange(height, device=like.device)[:, None]
        column = torch.arange(width, device=like.device)
        beyond = (torch.maximum(row, column) + 1 - start).clamp_min(0)
        ring = ((beyond + stride - 1) // stride).double()
        if self.order == "random":
            ring = torch.where(ring > 0, torch.inf, ring)
        return ring.expand(shape).flatten()

    def direction(self, which: Tensor, like: Tensor) -> Tensor:
        """The basis directions with these numbers (b,), as inputs (b, *E) of Euclidean norm 1."""
        channels, height, width = image_shape(like.shape[1:])
        tall, broad = (
            self._basis(size, like)[at]
            for size, at in (
                (height, which // width % height),
                (width, which % width),
            )
        )
        channel = (
            torch.arange(channels, device=which.device) == (which // (height * width))[:, None]
        )
        flat = channel.to(like)[:, :, None, None] * tall[:, None, :, None] * broad[:, None, None, :]
        return flat.reshape(like.shape)

    def _basis(self, size: int, like: Tensor) -> Tensor:
        if self.basis == "pixel":
            return torch.eye(size, dtype=like.dtype, device=like.device)
        return cosines(size, like)
