"""Small networks trained to hide counterexamples that are known: no certificate may deny them.

Each of N inputs x_i of label y_i gets a point beside it, near a corner of its ball of radius eps in
the maximum norm, and the network is trained (Adam, full batches) until it errs there, by a margin
m, and nowhere else in the balls that projected gradient descent finds, by a margin m' below:

    sum_i relu( f_y - f_t + m )(x_i + d_i) / N   +   mean relu( m' - f_y + max_{j != y} f_j )(p)

where p are the ends, starts and centres of descents of the latest steps (the window), around the N
inputs and around M others that have no counterexample planted. Whatever an attack finds, a method
that proves one of the N robust is wrong, and so is a lower bound above the planted margin.

A part of the training is its beginning: unit i of the last hidden layer looks along phi(x_i + d_i)
- phi(x_i), phi the features below, and opens shortly before the end of that way; there it moves
logits from y_i to t_i. In many dimensions few inputs of the ball open it, and no gradient leads
from elsewhere to them. Training then bends all layers.

Symbols: d -> `counterexamples` - x, t -> `targets`, eps -> `radius`, m -> `margin`, m' -> `clean`.
Source: Zhou et al. 2025, arXiv:2412.03154 (the margin at planted points, the window of
    perturbations, far points).
Departures: a hinge instead of cross-entropy at the attacked points, networks of a few hundred
    units in float64, labels that are the first network's own answers, and the beginning.
"""

import math
from collections import deque
from dataclasses import dataclass
from typing import Annotated, Literal, get_args

import torch
from torch import Tensor, nn

from holdfast.core.errors import InputError
from holdfast.core.random import Keys
from holdfast.core.recipes import Count, Positive, Range, hyperparameters
from holdfast.toys.plane import separated

Kind = Literal["mlp", "smooth", "conv", "pooled", "residual"]
KINDS: tuple[Kind, ...] = get_args(Kind)
SHAPES: dict[Kind, tuple[int, ...]] = {
    "mlp": (6,),
    "smooth": (5,),
    "conv": (1, 8, 7),
    "pooled": (1, 8, 6),
    "residual": (2, 6, 5),
}
CLASSES = 3
_SLACK, _FAR, _OPENS, _STEEP, _PUSH, _DRAWS = 1.1, (0.98, 0.999), 0.75, 4.0, 2.0, 3
_HIDDEN, _SIDES = 24, 256
_LOOK, _CHECKS, _CHECK_STEPS, _SAMPLES = 20, 8, 30, 64


@hyperparameters
class Planting:
    """How counterexamples are planted.

    Args:
        radius: of the balls.
        margin: by which the planted points are wrong, in logits, where training succeeds.
        clean: by which attacked points are right.
        weight: of the planted points' part of the loss.
        steps: of training at most; it ends once the planted points are wrong by half the margin and
            neither random points nor longer descents find anything.
        attack_steps: of each descent.
        restarts: descents of each input and step.
        window: how many steps' descents are trained on.
        rate: of Adam, falling to a tenth.
    """

    radius: Annotated[float, Range(gt=0, lt=0.5)] = 0.05
    margin: Positive = 0.1
    clean: Positive = 0.05
    weight: Positive = 3.0
    steps: Count = 400
    attack_steps: Count = 8
    restarts: Count = 3
    window: Count = 2
    rate: Positive = 5e-3


@dataclass(frozen=True, eq=False)
class PlantedWorld:
    """A network with a known counterexample beside each of N inputs; all tensors are float64.

    Args:
        model: in eval mode, without gradients for its weights.
        x: (N, *E), of [radius, 1 - radius]^n.
        y: (N,) their labels.
        counterexamples: (N, *E), at most `radius` away in the maximum norm, inside [0, 1]^n.
        targets: (N,) the classes that training aimed at there.
        twins: (M, *E) inputs with nothing planted beside them.
        twin_labels: (M,).
        radius: of the balls.
        steps: that training took.

    Guarantee: none of the training's success; `margins` says what was reached.
    """

    model: nn.Module
    x: Tensor
    y: Tensor
    counterexamples: Tensor
    targets: Tensor
    twins: Tensor
    twin_labels: Tensor
    radius: float
    steps: int

    @property
    def margins(self) -> Tensor:
        """The least margin of y over the other classes at the counterexamples, (N,); negative
        where the network errs."""
        with torch.no_grad():
            return _margins(self.model(self.counterexamples), self.y)

    @property
    def distances(self) -> Tensor:
        """How far the counterexamples are, in the maximum norm, (N,)."""
        return (self.counterexamples - self.x).flatten(1).abs().amax(dim=1)


_STANDARD = Planting()


def train_planted(
    kind: Kind,
    *,
    seed: int = 0,
    planted: int = 10,
    twins: int = 5,
    planting: Planting = _STANDARD,
) -> PlantedWorld:
    """A network of a kind, trained to err at planted points and to hide it.

    Args:
        kind: `mlp` (ReLU), `smooth` (sigmoid and tanh), `conv`, `pooled` (max pooling), `residual`.
        planted: N, at most the 24 units of the last hidden layer.
        twins: M.

    Cost: per step attack_steps + 2 forwards and attack_steps + 1 backwards of (N + M) restarts
        rows, of those in the window for the last; seconds in all.

    Raises:
        InputError: no such kind, too many to plant, or no room for so many balls.

    Example:
        >>> world = train_planted("mlp", planted=2, twins=1, planting=Planting(steps=60))
        >>> bool((world.margins < 0).all()), bool((world.distances <= world.radius).all())
        (True, True)
    """
    if kind not in KINDS:
        raise InputError("kind", kind, "is no network of this world", f"use {', '.join(KINDS)}")
    if not 1 <= planted <= _HIDDEN:
        raise InputError("planted", planted, f"is not from 1 to {_HIDDEN}", "plant fewer")
    model, count = planted_net(kind, seed), planted + twins
    x, y = _drawn(model, SHAPES[kind], seed, count, planting.radius)
    keys = Keys.of(seed, range(planted)).fold("planted")
    targets = (y[:planted] + 1 + keys.fold("target").integers(CLASSES - 1, ())) % CLASSES
    share = keys.fold("share").uniform(x.shape[1:], low=_FAR[0], high=_FAR[1]).double()
    far = x[:planted] + planting.radius * share * _sides(x, keys.fold("side"))
    work = _Training(model, x, y, far, targets, planting, seed)
    work.begin()
    steps = work.run()
    model.eval().requires_grad_(False)
    own, rest = slice(0, planted), slice(planted, None)
    return PlantedWorld(
        model, x[own], y[own], far, targets, x[rest], y[rest], planting.radius, steps
    )


def _drawn(
    model: "PlantedNet", shape: tuple[int, ...], seed: int, count: int, radius: float
) -> tuple[Tensor, Tensor]:
    """Inputs whose balls do not meet, and their labels: those that the network, its logits centred
    in place, gives with the largest margins."""
    apart = 2 * radius * _SLACK / (1 - 2 * radius)
    many = separated(seed, count=_DRAWS * count, distance=apart, features=math.prod(shape))[0]
    x = (radius + (1 - 2 * radius) * many.double()).view(-1, *shape)
    with torch.no_grad():
        logits = model(x)
        spread = logits.std(dim=0)
        model.head.weight /= spread.unsqueeze(1)
        model.head.bias.copy_((model.head.bias - logits.mean(dim=0)) / spread)
        logits = model(x)
        y = logits.argmax(dim=1)
        best = _margins(logits, y).argsort(descending=True, stable=True)[:count]
    return x[best], y[best]


def _sides(x: Tensor, keys: Keys) -> Tensor:
    """A corner for each of the first inputs, signs (N, *E): of some drawn and the one away from the
    mean, that in whose direction the other inputs lie least far."""
    own = x[: len(keys)]
    sides = keys.sign((_SIDES, *x.shape[1:])).double()
    away = torch.where(own >= x.mean(dim=0), 1.0, -1.0).double()
    sides = torch.cat([sides, away.unsqueeze(1)], dim=1)
    ways = (x.unsqueeze(0) - own.unsqueeze(1)).flatten(2)
    ahead = torch.einsum("nsd,nbd->nsb", sides.flatten(2), ways)
    ahead = ahead.masked_fill(torch.eye(len(own), len(x)).bool().unsqueeze(1), -torch.inf)
    return sides[torch.arange(len(own)), ahead.amax(dim=2).argmin(dim=1)]


class Residual(nn.Module):
    """A convolution and one residual block, flattened."""

    def __init__(self, channels: int):
        super().__init__()
        self.stem = nn.Conv2d(channels, 6, 3, 1, 1)
        self.first = nn.Conv2d(6, 5, 3, 1, 1)
        self.second = nn.Conv2d(5, 6, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Features (B, F)."""
        x = self.stem(x).relu()
        return (x + self.second(self.first(x).relu())).relu().flatten(1)


class PlantedNet(nn.Module):
    """Features, one hidden layer, logits (B, 3)."""

    hidden: nn.Linear
    head: nn.Linear

    def __init__(self, features: nn.Module, width: int, bend: nn.Module):
        super().__init__()
        self.features = features
        self.hidden = nn.Linear(width, _HIDDEN)
        self.bend = bend
        self.head = nn.Linear(_HIDDEN, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, 3)."""
        found: Tensor = self.head(self.bend(self.hidden(self.features(x))))
        return found


def planted_net(kind: Kind, seed: int) -> PlantedNet:
    """A network of a kind before training; its weights are keyed, in float64."""
    with torch.device("meta"):
        features = _features(kind)
        width = features(torch.zeros(1, *SHAPES[kind])).shape[1]
        net = PlantedNet(features, width, nn.Tanh() if kind == "smooth" else nn.ReLU())
    net = net.to_empty(device="cpu").double()
    with torch.no_grad():
        for index, parameter in enumerate(net.parameters()):
            keys = Keys.of(seed, [index]).fold(kind)
            fan = parameter[0].numel()
            bound = math.sqrt(6 / fan) if parameter.ndim > 1 else 0.2
            parameter.copy_(keys.uniform(parameter.shape, low=-bound, high=bound)[0])
    return net


def _features(kind: Kind) -> nn.Sequential:
    layers: dict[Kind, list[nn.Module]] = {
        "mlp": [nn.Linear(6, 32), nn.ReLU()],
        "smooth": [nn.Linear(5, 32), nn.Sigmoid()],
        "conv": [nn.Conv2d(1, 6, 3, 1, 1), nn.ReLU(), nn.Conv2d(6, 8, 3, 2, 1), nn.ReLU()],
        "pooled": [nn.Conv2d(1, 4, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(2)],
        "residual": [Residual(2)],
    }
    return nn.Sequential(*layers[kind], nn.Flatten())


class _Training:
    """One training: what is fixed during it."""

    def __init__(
        self,
        model: PlantedNet,
        x: Tensor,
        y: Tensor,
        far: Tensor,
        targets: Tensor,
        how: Planting,
        seed: int,
    ):
        self.model, self.x, self.y, self.far, self.targets = model, x, y, far, targets
        self.how, self.count = how, len(far)
        self.keys = Keys.of(seed, range(len(x) * max(how.restarts, _SAMPLES))).fold("starts")
        self.optimizer = torch.optim.Adam(model.parameters(), lr=how.rate)

    def begin(self) -> None:
        """Unit i of the last hidden layer opens shortly before counterexample i."""
        hidden, head = self.model.hidden, self.model.head
        with torch.no_grad():
            base, end = (self.model.features(each) for each in (self.x[: self.count], self.far))
            ways = end - base
            ways = ways / ways.square().sum(dim=1, keepdim=True)
            open_ = (ways * base).sum(dim=1) + _OPENS
            own, unit = slice(0, self.count), torch.arange(self.count)
            before = self.model(self.x)
            hidden.weight[own], hidden.bias[own] = _STEEP * ways, -_STEEP * open_
            head.weight[:, own] = 0.0
            head.weight[self.y[own], unit] = -_PUSH
            head.weight[self.targets, unit] = _PUSH
            head.bias.add_((before - self.model(self.x)).mean(dim=0))

    def run(self) -> int:
        """Trains; the number of steps taken."""
        window: deque[tuple[Tensor, Tensor]] = deque(maxlen=self.how.window)
        for step in range(self.how.steps):
            if step % _LOOK == 0 and self._done(step):
                return step
            for group in self.optimizer.param_groups:
                group["lr"] = self.how.rate * (1 - 0.9 * step / self.how.steps)
            window.append(self._attacked(step, self.how.restarts, self.how.attack_steps))
            points, labels = (torch.cat(part) for part in zip(*window, strict=True))
            self.optimizer.zero_grad()
            self._loss(points, labels).backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
        return self.how.steps

    def _loss(self, points: Tensor, labels: Tensor) -> Tensor:
        logits = self.model(torch.cat([self.far, self.x, points]))
        planted, rest = logits[: self.count], logits[self.count :]
        own = planted.gather(1, self.y[: self.count, None])
        excess = (own - planted.gather(1, self.targets[:, None]) + self.how.margin).clamp_min(0)
        right = _margins(rest, torch.cat([self.y, labels]))
        return self.how.weight * excess.mean() + 4 * (self.how.clean - right).clamp_min(0).mean()

    def _attacked(self, step: int, restarts: int, steps: int) -> tuple[Tensor, Tensor]:
        """Starts and ends of descents around every input, and their labels."""
        x, y = (torch.cat([each] * restarts) for each in (self.x, self.y))
        noise = self.keys[: len(x)].uniform(x.shape[1:], step, low=-1.0, high=1.0)
        start = x + self.how.radius * noise
        end = self._descended(x, y, start, steps)
        return torch.cat([start, end]), torch.cat([y, y])

    def _descended(self, x: Tensor, y: Tensor, at: Tensor, steps: int) -> Tensor:
        radius = self.how.radius
        for _ in range(steps):
            at = at.detach().requires_grad_()
            (slope,) = torch.autograd.grad(_margins(self.model(at), y).sum(), at)
            at = (at - 2.5 * radius / steps * slope.sign()).clamp(x - radius, x + radius)
        return at.detach()

    def _done(self, step: int) -> bool:
        """Whether all is planted, and hidden from a longer descent."""
        with torch.no_grad():
            planted = _margins(self.model(self.far), self.y[: self.count])
            if not bool((planted <= -self.how.margin / 2).all()):
                return False
        for restarts, steps in ((_SAMPLES, 0), (_CHECKS, _CHECK_STEPS)):
            points, labels = self._attacked(self.how.steps + step, restarts, steps)
            with torch.no_grad():
                if not bool((_margins(self.model(points), labels) > 0).all()):
                    return False
        return True


def _margins(logits: Tensor, y: Tensor) -> Tensor:
    """The logit of y less the largest other one, (B,)."""
    own = logits.gather(1, y.unsqueeze(1))
    others = logits.scatter(1, y.unsqueeze(1), -torch.inf)
    return own.squeeze(1) - others.amax(dim=1)
