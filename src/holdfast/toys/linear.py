"""Linear classifiers, whose worst case over a ball, with or without a box, is known exactly.

The margin of class y over class j is v'x + b_y - b_j with v = w_y - w_j, and an adversary who may
move x by d lowers it by at most max -v'd. Without a box that is radius * ||v||_q, 1/p + 1/q = 1.
With a box each feature may move by at most its room c_i towards the face it is pushed to, and the
maximum of sum |v_i| m_i over 0 <= m <= c, ||m||_p <= radius is again closed:

    p = inf  m_i = min(radius, c_i)
    p = 1    the largest |v_i| first, each up to c_i, until the radius is spent
    p = 2    m_i = min(t |v_i|, c_i), with t such that ||m||_2 = radius

The multi-class margin is the smallest over j, so the example is robust exactly if that is positive.

Source: Wong 2020, sec 2.2 and 4.1; Andriushchenko 2024, sec 4.4 (robust accuracy of a linear
    model); textbook duality of norms.
Symbols: v -> push (against it), c -> room, m -> moves, t -> scale.
Departures: the box is ours.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from holdfast.core.errors import InputError, described
from holdfast.core.random import Keys
from holdfast.core.tensors import dual_exponent, norm

Box = tuple[float, float]


@dataclass(frozen=True, eq=False)
class LinearWorld:
    """A linear classifier z = W x + b and what an adversary can do to it, exactly.

    Inputs may have any shape (B, *E); they are flattened. All answers are float64.

    Args:
        weight: W, (K, d).
        bias: b, (K,).

    Guarantee: margins are exact up to rounding in float64, and attained by `worst_case`.

    Example:
        >>> world = LinearWorld(torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.zeros(2))
        >>> x, y = torch.tensor([[0.9, 0.1]]), torch.tensor([0])
        >>> world.exact_margin(x, y, p=math.inf, radius=0.1)
        tensor([0.4000], dtype=torch.float64)
    """

    weight: Tensor
    bias: Tensor

    def __post_init__(self) -> None:
        if self.weight.ndim != 2 or self.bias.shape != self.weight.shape[:1]:
            shapes = f"tensors of shapes {tuple(self.weight.shape)} and {tuple(self.bias.shape)}"
            raise InputError(
                "weight, bias", described(shapes), "do not fit", "give (K, d) and (K,)"
            )
        object.__setattr__(self, "weight", self.weight.detach().double())
        object.__setattr__(self, "bias", self.bias.detach().double())

    @classmethod
    def make(cls, seed: int, classes: int, features: int) -> "LinearWorld":
        """A world with weights uniform in [-1, 1) whose classes all tie, up to rounding, at the
        centre of the box.

        Its numbers are exact in float32 and have the same bits on every device.
        """
        weight = Keys.of(seed, range(classes)).fold("weight").uniform((features,), low=-1, high=1)
        return cls(weight, (-weight.double().sum(dim=1) / 2).float())

    @property
    def classes(self) -> int:
        """The number of classes K."""
        return len(self.weight)

    @property
    def features(self) -> int:
        """The number of features d of an input."""
        return self.weight.shape[1]

    def sample(
        self, seed: int, count: int, *, inset: float = 0.25, mistakes: float = 0.1
    ) -> tuple[Tensor, Tensor]:
        """Inputs uniform in the box [inset, 1 - inset]^d, and labels.

        Args:
            count: how many examples B; the first B - 1 are the examples of `count=B - 1`.
            inset: least distance of every feature from the faces of [0, 1]; balls of a smaller
                radius stay inside it.
            mistakes: probability that the label is drawn at random instead of being the world's
                own answer.

        Returns:
            x (B, d) float32 and y (B,) int64.
        """
        keys = Keys.of(seed, range(count)).fold("sample")
        x = keys.fold("x").uniform((self.features,), low=inset, high=1 - inset)
        random = keys.fold("label").integers(self.classes, ())
        mistaken = keys.fold("mistake").uniform(()) < mistakes
        return x, torch.where(mistaken, random, self.logits(x).argmax(dim=1))

    def logits(self, x: Tensor) -> Tensor:
        """W x + b, (B, K) float64; x (B, *E)."""
        return self._flat(x) @ self.weight.T + self.bias

    def module(self, dtype: torch.dtype = torch.float32) -> nn.Module:
        """The same classifier as an `nn.Module` from (B, *E) to logits (B, K)."""
        linear = nn.Linear(self.features, self.classes, dtype=dtype)
        with torch.no_grad():
            linear.weight.copy_(self.weight)
            linear.bias.copy_(self.bias)
        return nn.Sequential(nn.Flatten(), linear)

    def exact_margin(
        self, x: Tensor, y: Tensor, p: float, radius: float | Tensor, box: Box | None = None
    ) -> Tensor:
        """The least margin of class y over all others in the ball, (B,) float64.

        Args:
            x: (B, *E); with a box, inside it.
            y: (B,) int64.
            p: 1, 2 or inf.
            radius: at least 0; one number or one per example (B,).
            box: (low, high), the range that every feature must keep, or None.

        Raises:
            InputError: another p, a negative radius, an input outside the box.
        """
        return self._margins(x, y, p, radius, box).amin(dim=1)

    def worst_case(
        self, x: Tensor, y: Tensor, p: float, radius: float | Tensor, box: Box | None = None
    ) -> Tensor:
        """An input (B, *E) float64 in the ball (and box) that attains `exact_margin`.

        Raises:
            InputError: as for `exact_margin`.
        """
        rival = self._margins(x, y, p, radius, box).argmin(dim=1)
        push = self.weight[rival] - self.weight[y]
        flat = self._flat(x)
        moves = largest_moves(push, self._room(flat, push, box), p, _column(radius, flat))
        return (flat + push.sign() * moves).view(x.shape)

    def robust(
        self, x: Tensor, y: Tensor, p: float, radius: float | Tensor, box: Box | None = None
    ) -> Tensor:
        """Whether every input of the ball is classified as y, (B,) bool."""
        return self.exact_margin(x, y, p, radius, box) > 0

    def robust_accuracy(
        self, x: Tensor, y: Tensor, p: float, radius: float | Tensor, box: Box | None = None
    ) -> float:
        """The share of examples that are robust."""
        return float(self.robust(x, y, p, radius, box).double().mean())

    def smallest_radius(self, x: Tensor, y: Tensor, p: float) -> Tensor:
        """The p-norm of the smallest perturbation that reaches a tie, without a box, (B,) float64;
        0 where the example is misclassified already."""
        gaps = self._gaps(x, y)
        steepness = norm(self._pushes(y).flatten(0, 1), _dual(p)).view(gaps.shape)
        radii = torch.where(gaps > 0, gaps / steepness, 0.0)
        return radii.masked_fill(self._own(y), math.inf).amin(dim=1)

    def _margins(
        self, x: Tensor, y: Tensor, p: float, radius: float | Tensor, box: Box | None
    ) -> Tensor:
        """The least margin over each class, (B, K), infinite for y itself."""
        flat, pushes = self._flat(x), self._pushes(y)
        radii = _column(radius, flat)
        if box is None:
            drop = radii * norm(pushes.flatten(0, 1), _dual(p)).view(len(flat), -1)
        else:
            room = self._room(flat[:, None], pushes, box)
            rows = radii.expand(pushes.shape[:2]).reshape(-1, 1)
            moves = largest_moves(pushes.flatten(0, 1), room.flatten(0, 1), p, rows)
            drop = (pushes.abs() * moves.view(pushes.shape)).sum(dim=2)
        return (self._gaps(x, y) - drop).masked_fill(self._own(y), math.inf)

    def _gaps(self, x: Tensor, y: Tensor) -> Tensor:
        logits = self.logits(x)
        return logits.gather(1, y[:, None]) - logits

    def _pushes(self, y: Tensor) -> Tensor:
        """The directions in which class j gains on y, (B, K, d)."""
        return self.weight[None] - self.weight[y][:, None]

    def _own(self, y: Tensor) -> Tensor:
        return y[:, None] == torch.arange(self.classes, device=y.device)

    def _flat(self, x: Tensor) -> Tensor:
        if x.ndim < 2 or math.prod(x.shape[1:]) != self.features:
            shape = described(f"a tensor of shape {tuple(x.shape)}")
            raise InputError("x", shape, f"does not have {self.features} features", "give (B, d)")
        return x.detach().double().flatten(1)

    def _room(self, flat: Tensor, push: Tensor, box: Box | None) -> Tensor:
        """How far each feature may move along `push`, in the shape of `push`."""
        if box is None:
            return torch.full_like(push, math.inf)
        low, high = box
        if bool(((flat < low) | (flat > high)).any()):
            raise InputError("x", described("an input"), f"leaves the box {box}", "clip it first")
        return torch.where(push > 0, high - flat, flat - low)


def largest_moves(push: Tensor, room: Tensor, p: float, radius: Tensor) -> Tensor:
    """The m that maximises sum |push_i| m_i over 0 <= m <= room and ||m||_p <= radius, (N, d).

    Args:
        push: (N, d).
        room: (N, d), at least 0; may be infinite.
        p: 1, 2 or inf.
        radius: (N, 1).

    Raises:
        InputError: another p.
    """
    _dual(p)
    slope = push.abs()
    room = torch.where(slope > 0, room, 0.0)
    if p == math.inf:
        return torch.minimum(room, radius)
    if p == 1:
        order = slope.argsort(dim=1, descending=True, stable=True)
        capacity = torch.minimum(room.gather(1, order), radius)
        spent = capacity.cumsum(dim=1) - capacity
        taken = torch.minimum(capacity, (radius - spent).clamp_min(0))
        return torch.zeros_like(taken).scatter(1, order, taken)
    scale = _scale(slope, room, radius)
    return torch.minimum(torch.where(slope > 0, scale * slope, 0.0), room)


def _scale(slope: Tensor, room: Tensor, radius: Tensor) -> Tensor:
    """The t with ||min(t slope, room)||_2 = radius, (N, 1); infinite if the room is too small.

    Features fill up in the order of room / slope; between two such breakpoints the norm is
    explicit.
    """
    limits = torch.where(slope > 0, room / slope, 0.0)
    breaks, order = limits.sort(dim=1)
    full = room.gather(1, order).square()
    steep = slope.gather(1, order).square()
    filled = nn.functional.pad(full.cumsum(dim=1)[:, :-1], (1, 0))
    rest = steep.flip(1).cumsum(dim=1).flip(1)
    scale = ((radius.square() - filled).clamp_min(0) / rest).sqrt()
    scale = torch.where(rest > 0, scale, math.inf)
    first = (scale <= breaks).to(torch.int8).argmax(dim=1, keepdim=True)
    fits = (scale <= breaks).any(dim=1, keepdim=True)
    return torch.where(fits, scale.gather(1, first), math.inf)


def _column(radius: float | Tensor, flat: Tensor) -> Tensor:
    """The radius as a column (B, 1)."""
    radii = torch.as_tensor(radius, dtype=flat.dtype, device=flat.device)
    if bool((radii < 0).any()) or radii.numel() not in (1, len(flat)):
        raise InputError("radius", radius, "is negative or does not fit", "give one per example")
    return radii.reshape(-1, 1).expand(len(flat), 1)


def _dual(p: float) -> float:
    if p not in (1, 2, math.inf):
        raise InputError("p", p, "has no closed form", "use 1, 2 or inf")
    return dual_exponent(p)
