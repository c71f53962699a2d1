"""The attacks of Carlini and Wagner: a penalty on the perturbation, against a wrong class's lead.

With x' = mid + half tanh(w), so that x' stays in the box, Adam minimises over w

    L2    ||x' - x||_2^2 + c f(x')
    Linf  sum_i max(|x'_i - x_i| - tau, 0) + c f(x'),      f(x') = max(kappa - lead(x'), 0).

L2 searches for the smallest c that succeeds: `binary_steps` times, by tenfold and then by halving.
Linf begins each round at the last point; after a round that fooled the model, tau becomes 0.9 times
the smaller of tau and the perturbation's size, after any other c doubles.

Symbols: kappa = `confidence`, c -> `const`, f through `lead`; c_0 = `initial_const`.
Source: Carlini and Wagner 2017, arXiv:1608.04644, sec V (f6, L2) and VI.C (Linf).
Departures: the box is the threat's; without one w is x' itself. A search ends where its own
example's loss stands still, not the batch's. In L2 a search that ran out of iterations before it
stood still is gone on with: the next one begins at the smallest success so far, which does not
count as a success of its c; others begin at x. Linf spends one budget of `binary_steps *
iterations` steps on rounds of any length, ends a failing round that stands still as well, has no
largest c and no least tau; its first tau is infinite, which is the published 1 for a box of width
1.
"""

import math
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from holdfast.attacks.attack import GradientAttack
from holdfast.attacks.ddn import check_norm
from holdfast.attacks.lanes import wide
from holdfast.attacks.protocol import Seen
from holdfast.attacks.rows import Rows
from holdfast.core.frozen import FrozenModel
from holdfast.core.recipes import Count, NonNegative, Positive, Range, hyperparameters
from holdfast.core.tensors import norm, per_example
from holdfast.losses.margin import margin
from holdfast.losses.protocol import Loss
from holdfast.threats.box import Box

Memory = dict[str, Tensor]

_ADAM = (0.9, 0.999, 1e-8)
_SHRINK = 1 - 1e-6  # keeps the inverse of tanh finite at the faces of the box
_HIGHEST = 1e10


@hyperparameters
class PenaltyAttack(GradientAttack):
    """What attacks share that weigh the lead by a constant c and search for the best c.

    Args:
        binary_steps: searches, each with its own c.
        iterations: gradient steps of a search.
        learning_rate: of Adam, or the first step size of ISTA.
        initial_const: the first c; None is the published one.
        confidence: the lead that counts as a success.
        abort_early: whether a search ends where its lowest loss has not fallen by 1e-4 of itself
            during a tenth of its iterations.
    """

    binary_steps: Count = 9
    iterations: Count = 1000
    learning_rate: Positive = 0.01
    initial_const: Positive | None = None
    confidence: NonNegative = 0.0
    abort_early: bool = True
    smallest: ClassVar[bool] = True

    @property
    def steps(self) -> int:
        """The moves of all searches."""
        return self.binary_steps * self.iterations

    @property
    def objective(self) -> Loss:
        """The lead."""
        return lead

    def look(self, model: FrozenModel, rows: Rows) -> tuple[Tensor, Tensor, Tensor | None]:
        """Logits, lead and its gradient; see `counted`."""
        logits, ahead, gradient = model.value_and_grad(
            rows.point, lambda logits: lead(logits, rows.y, rows.target)
        )
        return self.counted(logits, ahead, rows), ahead, gradient

    def counted(self, logits: Tensor, ahead: Tensor, rows: Rows) -> Tensor:
        """The logits; where the lead falls short of the confidence, less that much for the goal, so
        that the point does not count as a success."""
        if self.confidence == 0:
            return logits
        short = self.confidence * (ahead < self.confidence).to(logits)
        if rows.target is not None:
            return logits.scatter_add(1, rows.target[:, None], -short[:, None])
        return logits.scatter_add(1, rows.y[:, None], short[:, None])

    def prepare(self, rows: Rows, const: float) -> None:
        """Fills the memory of the searches."""
        zero = torch.zeros_like(rows.origin.flatten(1)[:, 0])
        rows.memory |= {"const": zero + (self.initial_const or const), "lower": zero}
        rows.memory |= {"upper": zero + _HIGHEST, "previous": zero + math.inf}
        rows.memory["lowest"] = zero + math.inf
        rows.memory |= {"hit": zero > 0, "inner": torch.zeros_like(rows.step)}

    def short(self, seen: Seen) -> Tensor:
        """f, how far the lead falls short of the confidence, (b,)."""
        return (self.confidence - seen.loss).clamp_min(0.0)

    def stalled(self, memory: Memory, loss: Tensor) -> Tensor:
        """Whether a search has come to stand still, (b,) bool."""
        memory["lowest"] = torch.minimum(memory["lowest"], loss)
        if not self.abort_early:
            return loss.isnan() & False
        due = memory["inner"] % math.ceil(self.iterations / 10) == 0
        still = due & (memory["lowest"] > 0.9999 * memory["previous"])
        memory["previous"] = torch.where(due, memory["lowest"], memory["previous"])
        return still

    def close(self, rows: Rows, ended: Tensor) -> None:
        """Chooses the next c of searches that ended, and skips the iterations they had left."""
        memory, search = rows.memory, rows.step // self.iterations
        const, hit = memory["const"], memory["hit"]
        memory["upper"] = torch.where(
            ended & hit, torch.minimum(memory["upper"], const), memory["upper"]
        )
        memory["lower"] = torch.where(
            ended & ~hit, torch.maximum(memory["lower"], const), memory["lower"]
        )
        bracketed = memory["upper"] < _HIGHEST
        following = torch.where(bracketed, (memory["lower"] + memory["upper"]) / 2, 10 * const)
        if self.binary_steps >= 10:
            repeat = bracketed & (search == self.binary_steps - 2)
            following = torch.where(repeat, memory["upper"], following)
        memory["const"] = torch.where(ended, following, const)
        self.reset(memory, ended)
        rows.step = torch.where(ended, (search + 1) * self.iterations - 1, rows.step)

    def reset(self, memory: Memory, ended: Tensor) -> None:
        """Begins a search in the rows where one ended, and counts a move in the others."""
        memory["hit"] = memory["hit"] & ~ended
        for name in ("previous", "lowest"):
            memory[name] = memory[name].masked_fill(ended, math.inf)
        memory["inner"] = torch.where(ended, 0, memory["inner"] + 1)


@hyperparameters
class CarliniWagner(PenaltyAttack):
    """The minimum-norm attacks for L2 and, by a falling bound tau, Linf; the threat says which.

    Args:
        decrease: factor on tau after a success, Linf only.

    Guarantee: the smallest success of all points, with `confidence` of those that have it (unless
        the radius is finite); with a finite radius it ends at one inside.
    Cost: per example at most binary_steps * iterations + 3 forwards, and backwards.
    Needs: input gradients; an L2 or Linf ball. The first search begins at a `start`.

    Example:
        >>> import torch
        >>> from holdfast.threats import L2
        >>> model = torch.nn.Linear(4, 2)
        >>> x, y = torch.full((1, 4), 0.5), torch.tensor([0])
        >>> attack = CarliniWagner(binary_steps=2, iterations=10)
        >>> attack.run(model, x, y, L2("inf")).x_adv.shape
        torch.Size([1, 4])
    """

    decrease: Annotated[float, Range(gt=0, lt=1)] = 0.9

    def begin(self, rows: Rows) -> Tensor:
        """The clean input."""
        check_norm(rows.threat, (2.0, math.inf), "carlini-wagner")
        self.prepare(rows, 1e-3 if rows.threat.p == 2 else 1e-5)
        zero = torch.zeros_like(rows.origin)
        rows.memory |= dict.fromkeys(("first", "best", "w", "mean", "square"), zero)
        rows.memory |= {name: rows.memory["previous"].clone() for name in ("tau", "least")}
        return rows.origin

    def advance(self, rows: Rows, seen: Seen) -> Tensor:
        """A step of Adam, or the start of the next search."""
        memory, box = rows.memory, rows.threat.box
        begins = wide(rows.step == 0, rows.point)
        memory["first"] = torch.where(begins, to_variable(rows.point, box), memory["first"])
        memory["w"] = torch.where(begins, memory["first"], memory["w"])
        centre = to_input(to_variable(rows.origin, box), box)
        move, last = rows.point - centre, rows.step >= self.steps - 1
        short, fooled = self.short(seen), (seen.loss >= self.confidence) & ~(seen.margin > 0)
        memory["hit"] = memory["hit"] | (fooled & (memory["inner"] > 0))
        penalty, slope = self._penalty(move, memory["tau"], rows.threat.p)
        loss = penalty + memory["const"] * short
        pull = per_example(memory["const"] * (short > 0), move)
        gradient = (slope - pull * seen.slope) * derivative(memory["w"], box)
        before = memory["w"]
        self._adam(memory, gradient)
        still = self.stalled(memory, loss)
        ended = still | (memory["inner"] >= self.iterations - 1)
        if rows.threat.p == 2:
            begin = self._next_start(rows, before, fooled, still)
            memory["w"] = torch.where(wide(ended & ~last, move), begin, memory["w"])
            self.close(rows, ended)
        else:
            ended = self._end_round(rows, fooled, ended, loss)
        for moment in ("mean", "square"):
            memory[moment] = memory[moment].masked_fill(wide(ended, move), 0.0)
        point = to_input(memory["w"], box)
        return torch.where(wide(last, point), rows.origin, point) if self.confidence else point

    def _penalty(self, move: Tensor, tau: Tensor, p: float) -> tuple[Tensor, Tensor]:
        """What a perturbation costs, (b,), and its slope."""
        if p == 2:
            return move.square().flatten(1).sum(dim=1), 2 * move
        excess = move.abs() - per_example(tau, move)
        return excess.clamp_min(0.0).flatten(1).sum(dim=1), move.sign() * (excess > 0)

    def _next_start(self, rows: Rows, w: Tensor, fooled: Tensor, still: Tensor) -> Tensor:
        """L2: where the next search begins, w (b, *E): at the smallest success so far, if there is
        one and this search did not come to stand still."""
        memory, size = rows.memory, norm(rows.point - rows.origin, 2)
        better = fooled & (size < memory["least"])
        memory["least"] = torch.where(better, size, memory["least"])
        memory["best"] = torch.where(wide(better, w), w, memory["best"])
        goes_on = ~still & (memory["least"] < math.inf)
        return torch.where(wide(goes_on, w), memory["best"], memory["first"])

    def _adam(self, memory: Memory, gradient: Tensor) -> None:
        """One step of Adam on w, each row at its own count."""
        decay, decay2, small = _ADAM
        memory["mean"] = decay * memory["mean"] + (1 - decay) * gradient
        memory["square"] = decay2 * memory["square"] + (1 - decay2) * gradient.square()
        time = memory["inner"].to(torch.float64) + 1
        first, second = (per_example(1 - rate**time, gradient) for rate in (decay, decay2))
        scale = (memory["square"] / second).sqrt_().add_(small)
        memory["w"] = memory["w"] - self.learning_rate * memory["mean"] / first / scale

    def _end_round(self, rows: Rows, fooled: Tensor, ended: Tensor, loss: Tensor) -> Tensor:
        """Linf: a lower tau after a success, a larger c after a failure; which rounds ended."""
        memory, const, tau = rows.memory, rows.memory["const"], rows.memory["tau"]
        if self.abort_early:
            ended = ended | (fooled & (loss < 1e-4 * const))
        size = norm(rows.point - rows.origin, math.inf)
        lower = self.decrease * torch.minimum(size, tau)
        memory["tau"] = torch.where(ended & fooled, lower, tau)
        memory["const"] = torch.where(ended & ~fooled, 2 * const, const)
        self.reset(memory, ended)
        return ended


def lead(logits: Tensor, y: Tensor, target: Tensor | None = None) -> Tensor:
    """How far the goal is ahead, (b,): max_{j != y} z_j - z_y, or z_t - max_{j != t} z_j.

    Positive where the model errs, or answers the target.
    """
    return -margin(logits, y) if target is None else margin(logits, target)


def to_variable(x: Tensor, box: Box | None) -> Tensor:
    """The w with x = mid + half tanh(w); x itself without a box.

    By the logarithm in float64: the bits of torch's atanh depend on an entry's place in memory.
    """
    if box is None:
        return x
    unit = (x.double() - (box[0] + box[1]) / 2) / ((box[1] - box[0]) / 2)
    unit = unit.clamp(-1, 1) * _SHRINK
    return (torch.log((1 + unit) / (1 - unit)) / 2).to(x)


def to_input(w: Tensor, box: Box | None) -> Tensor:
    """mid + half tanh(w), in the box; a copy of w without one."""
    if box is None:
        return w.clone()
    return ((box[0] + box[1]) / 2 + (box[1] - box[0]) / 2 * w.tanh()).clamp(*box)


def derivative(w: Tensor, box: Box | None) -> Tensor:
    """That of `to_input`: half (1 - tanh(w)^2), 1 without a box."""
    if box is None:
        return torch.ones_like(w)
    return (box[1] - box[0]) / 2 * (1 - w.tanh().square())
