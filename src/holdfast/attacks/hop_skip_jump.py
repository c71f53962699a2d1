"""HopSkipJump: gradient directions at the decision boundary, estimated from decisions.

With phi(z) = 1 where the model errs at z and -1 where it does not, round t goes from a point x_t on
the boundary to

    g = sum_b (phi(x_t + d u_b) - mean phi) u_b / (B_t - 1),   B_t = B_0 sqrt(t) random u_b,
    x' = x_t + a v(g),   a = ||x_t - x|| / sqrt(t), halved until the model errs at x',

with v(g) = g / ||g||_2 for L2 and sign(g) for Linf, and then back to the boundary by bisection: on
the segment from x for L2, on the radius to which x' is cut for Linf.

Symbols: B_0 = `samples`; d = gamma ||x_t - x|| / n (0.1 of the box in the first round) and the
precision of the bisection, gamma / n^1.5 for L2 and gamma / n^2 for Linf, with n features.
Source: Chen, Jordan and Wainwright 2020, arXiv:1904.02144, algorithms 1 and 2, and the authors'
    choice of gamma = 1.
Departures: a sample that fools nearer to x than all before counts; the last estimate takes the
    queries that are left, less what the two searches after it need, and not more; bisection stops
    at a relative 2^-20; a start is first blended with the input, by bisection.
"""

import math

import torch
from torch import Tensor

from holdfast.attacks.decisions import Decisions, adversarial_start, bisect, check_geometry
from holdfast.attacks.lanes import wide
from holdfast.attacks.lockstep import LockstepAttack, Oracle
from holdfast.core.random import Keys
from holdfast.core.recipes import Count, Positive, hyperparameters
from holdfast.core.tensors import norm, per_example
from holdfast.threats.protocol import Threat

_MOST_ROUNDS = 20
_MOST_HALVINGS = 15


@hyperparameters
class HopSkipJump(LockstepAttack):
    """Boundary search by estimated gradient directions, from decisions alone; minimum norm.

    Args:
        queries: questions per example, besides the clean look and the final check.
        draws: noise inputs to try for a start, where none is given or it does not fool.
        samples: of the first round's estimate.
        most_samples: of any estimate.
        gamma: scale of the sampling radius and of the bisection's precision.

    Guarantee: only decisions are used: a model that answers with the one-hot vector of its decision
        gives the same walk; the smallest success asked about is returned.
    Cost: per example at most queries + 2 forwards, no backwards.
    Needs: decisions; L2 or Linf. With `targets`, a `start` of the target class.
    Source: Chen, Jordan and Wainwright 2020, arXiv:1904.02144.

    Example:
        >>> import torch
        >>> from holdfast.threats import Linf
        >>> model = torch.nn.Linear(4, 2)
        >>> x = torch.full((1, 4), 0.5)
        >>> result = HopSkipJump(queries=90).run(model, x, model(x).argmax(1), Linf("inf"))
        >>> int(result.forwards) <= 92
        True
    """

    smallest = True

    queries: Count = 5000
    draws: Count = 100
    samples: Count = 100
    most_samples: Count = 10_000
    gamma: Positive = 1.0

    def check(self, threat: Threat) -> None:
        """Refuses what is neither L2 nor Linf."""
        check_geometry(threat, (2.0, math.inf), "HopSkipJump")

    def walk(self, oracle: Oracle) -> None:
        """Alternates estimates, steps and bisections until every budget is spent."""
        decisions, x = Decisions(oracle, self.queries), oracle.x
        point, found = adversarial_start(oracle, decisions, self.draws)
        point = self._to_boundary(oracle, decisions, point, found)
        t = 1
        while bool((found & decisions.ready).any()):
            distance = oracle.threat.size(point, x)
            direction = self._estimate(oracle, decisions, point, found, distance, t)
            point = self._stepped(oracle, decisions, point, found, direction, distance, t)
            point = self._to_boundary(oracle, decisions, point, found)
            t += 1

    def _estimate(
        self,
        oracle: Oracle,
        decisions: Decisions,
        point: Tensor,
        which: Tensor,
        distance: Tensor,
        t: int,
    ) -> Tensor:
        """The estimated gradient direction of the model's error at the boundary, (b, *E)."""
        box, n = oracle.threat.box, point[0].numel()
        radius = self.gamma * distance / n
        if t == 1:
            radius = torch.full_like(distance, 0.1 * (box[1] - box[0] if box else 1.0))
        reserve = self._rounds(oracle) + 5
        most = (decisions.left - reserve).clamp_min(1)
        count = most.clamp_max(min(int(self.samples * math.sqrt(t)), self.most_samples))
        keys, scale = oracle.keys.fold("estimate").fold(t), per_example(radius, point)
        total, signed = torch.zeros_like(point), torch.zeros_like(point)
        phi_sum = torch.zeros_like(distance)
        for sample in range(int((count * which).max())):
            asked = which & decisions.ready & (sample < count)
            probe = point + scale * unit_noise(keys, point, sample, oracle.threat.p)
            probe = probe if box is None else probe.clamp(*box)
            phi = torch.where(decisions.fooled(probe, asked), 1.0, -1.0).to(point) * asked
            u = (probe - point) / scale.clamp_min(1e-30)
            total += torch.where(wide(asked, u), u, 0.0)
            signed += per_example(phi, u) * u
            phi_sum += phi
        mean = phi_sum / count
        centred = signed - per_example(torch.where(mean.abs() == 1, 0.0, mean), point) * total
        return centred / per_example(norm(centred, 2).clamp_min(1e-30), point)

    def _stepped(
        self,
        oracle: Oracle,
        decisions: Decisions,
        point: Tensor,
        which: Tensor,
        direction: Tensor,
        distance: Tensor,
        t: int,
    ) -> Tensor:
        """The point after the largest halved step that still fools; unchanged where none does."""
        box = oracle.threat.box
        move = direction.sign() if oracle.threat.p == math.inf else direction
        length, waiting = distance / math.sqrt(t), which.clone()
        for _ in range(_MOST_HALVINGS):
            if not bool((waiting & decisions.ready).any()):
                break
            probe = point + per_example(length, point) * move
            probe = probe if box is None else probe.clamp(*box)
            fooled = decisions.fooled(probe, waiting)
            point = torch.where(wide(fooled, point), probe, point)
            waiting = waiting & ~fooled
            length = torch.where(waiting, length / 2, length)
        return point

    def _to_boundary(
        self, oracle: Oracle, decisions: Decisions, point: Tensor, which: Tensor
    ) -> Tensor:
        """The point moved towards the input as far as the model still errs, (b, *E)."""
        x, move = oracle.x, point - oracle.x
        if oracle.threat.p == math.inf:
            high = norm(move, math.inf)

            def between(place: Tensor) -> Tensor:
                bound = per_example(place, x)
                return x + torch.minimum(torch.maximum(move, -bound), bound)
        else:
            high = torch.ones_like(oracle.best_margin)

            def between(place: Tensor) -> Tensor:
                return x + per_example(place, x) * move

        place = bisect(decisions, between, which, high, self._rounds(oracle))
        return torch.where(wide(place < high, point), between(place), point)

    def _rounds(self, oracle: Oracle) -> int:
        """Rounds of a bisection to the published precision."""
        n = oracle.x[0].numel()
        power = 2.0 if oracle.threat.p == math.inf else 1.5
        return min(max(math.ceil(power * math.log2(n) - math.log2(self.gamma)), 4), _MOST_ROUNDS)


def unit_noise(keys: Keys, like: Tensor, sample: int, p: float) -> Tensor:
    """Random directions of unit Euclidean length, (b, *E): normal; for Linf from a cube."""
    event = like.shape[1:]
    if p == math.inf:
        noise = keys.uniform(event, sample, low=-1.0, high=1.0).to(like)
    else:
        noise = keys.normal(event, sample).to(like)
    return noise / per_example(norm(noise, 2).clamp_min(1e-30), noise)
