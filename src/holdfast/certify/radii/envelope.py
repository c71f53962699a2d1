"""The polyhedral envelope: what a linear bound says of smaller sets than the one it was made for.

Forms of the input below the rows of a specification, which hold over a threat of radius eps,

    f(x')_y - f(x')_i  >=  <U_i, x'> + p_i      for every x' in the threat's set around x,

enclose a polyhedron in which, within the set, the prediction is y. With d_i the distance from x to
the plane of row i, measured in the threat's norm and within its box (`distance.py`), and d the
least of them, every radius up to min(eps, d) is certified, also where eps is not:

    d > eps        eps is certified, as by the bound itself;
    0 < d < eps    eps is not, d is.

Rounding and tolerance: planes are measured within what `contains` accepts, the radius is rounded
down, and the smaller set is then bounded anew by the threat's support function, with the rounding
of that taken off (`Envelope.lower`). A radius that fails this is shrunk. So a radius is never
returned that has not been looked at.

Symbols: U, p -> `Forms.coefficients`, `Forms.constants`; eps -> the threat's radius.
Source: Liu 2022, sec 3.3.1 (Eq. 3.12, Lemma 3.1) and sec 3.3.2 (PEC).
Departures: the published radius has neither tolerance nor rounding; here it is smaller by 1e-6.
    With intervals, a row that they prove over the whole set counts as infinitely far.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from holdfast.certify.bounds.forms import Forms, linear_forms
from holdfast.certify.bounds.interval import Interval
from holdfast.certify.bounds.linear import Linear
from holdfast.certify.graphs.graph import Graph, capture
from holdfast.certify.radii.distance import distance, signed_distance
from holdfast.certify.rounding import radius as rounding_radius
from holdfast.certify.substitution.regions import around
from holdfast.certify.substitution.rows import Dense
from holdfast.core.errors import UnsupportedThreat
from holdfast.core.recipes import hyperparameters
from holdfast.threats.base import Ball
from holdfast.threats.radius import TOLERANCE, fitted, per_feature, widened

_TERMS = 128
_FACTOR = 8.0
_SHRINK = (0.0, 1e-6, 1e-3, 0.1)


@dataclass(frozen=True, eq=False)
class Envelope:
    """Half-spaces in which the rows of a specification are positive, within a threat's set.

    Args:
        forms: below the rows over the threat.
        x: (B, *E), in the dtype of the forms.
        threat: of the radius that the forms hold for.
        proved: (B, R) rows that are positive over the whole set.
        rigorous: whether the forms are, and rounding is to be taken off.
    """

    forms: Forms
    x: Tensor
    threat: Ball
    proved: Tensor
    rigorous: bool

    def distances(self) -> Tensor:
        """From x to the plane of each row, within the box, (B, R); inf where it cannot be reached.

        In the norm of the threat, or in multiples of its radii where there is one per feature; 0
        on the wrong side; not cut off at the radius of the threat.
        """
        a, b, low, high = _posed(self)
        return distance(a, b, low, high, self.threat.p)

    def signed(self) -> Tensor:
        """The same, negative on the wrong side."""
        a, b, low, high = _posed(self)
        return signed_distance(a, b, low, high, self.threat.p)

    def lower(self, radius: Tensor) -> Tensor:
        """Lower bounds (B, R) of the rows over the threat with a smaller radius (B,).

        Guarantee: true over what that threat accepts, rounding included if `rigorous`.
        """
        smaller = scaled(self.threat, radius, self.x)
        region = around(smaller, self.x, rigorous=self.rigorous)
        coefficients, constants = self.forms.coefficients, self.forms.constants
        batch, rows = constants.shape
        image = torch.arange(batch, device=self.x.device).repeat_interleave(rows)
        least, _ = region.ends(Dense(coefficients.flatten(0, 1)), image, both=False)
        found = least.view(batch, rows) + constants
        if not self.rigorous:
            return found
        length = torch.linalg.vector_norm(coefficients.flatten(2), dim=2)
        size = torch.linalg.vector_norm(region.box.magnitude.flatten(1), dim=1, keepdim=True)
        total = _FACTOR * (length * size + constants.abs())
        return found - rounding_radius(self.x[0].numel() + _TERMS, total)

    def radius(self) -> Tensor:
        """The largest radius that the envelope certifies, (B,), at most that of the threat.

        In the dtype of the forms, rounded down to float32; 0 where nothing is certified.
        """
        return self.within(self.reach)

    def within(self, most: Tensor) -> Tensor:
        """The same, at most a radius (B,)."""
        far = self.distances().masked_fill(self.proved, torch.inf).amin(dim=1)
        if not per_feature(self.threat.radius):
            far = torch.minimum(far - TOLERANCE, far / (1 + TOLERANCE))
        inner = far.clamp_min(0.0)
        best = torch.where(inner < most, rounded_down(inner), most.to(inner))
        found, sure = torch.zeros_like(best), torch.zeros_like(best, dtype=torch.bool)
        for share in _SHRINK:
            less = best if share == 0 else rounded_down(best - share * best)
            tried = torch.where(sure, found, less)
            sure = sure | ((tried > 0) & self.holds(tried))
            found = torch.where(sure, tried, 0.0)
            if bool((sure | ~(best > 0)).all()):
                break
        return found

    def holds(self, radius: Tensor) -> Tensor:
        """Whether all rows are positive over the threat with a smaller radius (B,), as bool."""
        lower = self.lower(radius.nan_to_num(0.0))
        positive = self.proved | ((lower > 0) & lower.isfinite())
        return positive.all(dim=1) & (radius <= self.reach)

    @property
    def reach(self) -> Tensor:
        """The radius that the forms hold for, (B,)."""
        return reach_of(self.threat, self.x)


@hyperparameters
class PEC:
    """Certification by the polyhedral envelope.

    Args:
        method: of the linear bounds; `Dual` is that of the source for ReLU.
        intervals: whether rows that intervals prove count as proved, as for `method.bound`.

    Guarantee: in the method's mode `rigorous` a proof; see `radius`.
    Cost: that of the method with all rows open, three forwards with intervals.
    Needs: a norm ball; a graph (or a module, captured at each call).
    Source: Liu 2022, sec 3.3.2; Liu, Salzmann and Suesstrunk 2021, arXiv:1912.04792.
    """

    method: Linear
    intervals: bool = True

    def radius(self, model: nn.Module | Graph, x: Tensor, threat: Ball, spec: Tensor) -> Tensor:
        """A certified radius of each example, at most that of the threat, (B,).

        Args:
            model: a captured graph, or a module, which is captured first.
            x: (B, *E).
            threat: with a finite radius.
            spec: rows over the logits, (R, K), or (B, R, K) for rows of each example.

        Guarantee: with a `rigorous` method every row is positive on all that the threat with this
            radius accepts; 0 where nothing is proved.
        """
        return self.envelope(model, x, threat, spec).radius()

    def envelope(self, model: nn.Module | Graph, x: Tensor, threat: Ball, spec: Tensor) -> Envelope:
        """The envelope itself; arguments as for `radius`.

        Raises:
            UnsupportedThreat: the threat is no norm ball.
        """
        norm_ball(threat)
        graph = model if isinstance(model, Graph) else capture(model, x.shape[1:])
        forms = linear_forms(self.method, graph, x, threat, spec)
        rigorous = self.method.mode == "rigorous"
        proved = torch.zeros_like(forms.constants, dtype=torch.bool)
        if self.intervals:
            lower = Interval(mode=self.method.mode).bound(graph, x, threat, spec).lower
            proved = (lower > 0) & lower.isfinite()
        return Envelope(forms, x.detach().to(forms.constants), threat, proved, rigorous)


def norm_ball(threat: object) -> Ball:
    """The threat, if it is the ball of a norm; raises UnsupportedThreat otherwise."""
    if not (isinstance(threat, Ball) and threat.p >= 1):
        problem = f"{type(threat).__name__} has no norm in which a plane is at a distance"
        raise UnsupportedThreat(f"{problem}; give linf, l2 or l1")
    return threat


def _posed(envelope: Envelope) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The half-spaces a (B, R, n), b (B, R) around x, and the ends of the box (B, n) that moves
    stay in, in multiples of the radii where there is one per feature."""
    x, threat = envelope.x.flatten(1), envelope.threat
    a, b = envelope.forms.coefficients.flatten(2), envelope.forms.at(envelope.x)
    low, high = torch.full_like(x, -torch.inf), torch.full_like(x, torch.inf)
    if threat.box is not None:
        low = (threat.box[0] - TOLERANCE - x).clamp_max(0.0)
        high = (threat.box[1] + TOLERANCE - x).clamp_min(0.0)
    if not per_feature(threat.radius):
        return a, b, low, high
    weights = _weights(threat, envelope.x).flatten(1)
    slack = a.abs() @ (widened(weights) - weights).unsqueeze(2)
    unit = weights.masked_fill(weights == 0, 1.0)
    return a * weights.unsqueeze(1), b - slack.squeeze(2), low / unit, high / unit


def _weights(threat: Ball, x: Tensor) -> Tensor:
    """One radius per feature, (B, *E)."""
    return torch.as_tensor(fitted(threat.radius, threat._rows, x)).expand(x.shape)


def reach_of(threat: Ball, x: Tensor) -> Tensor:
    """The radius of each example, (B,) float64: 1 where there is one radius per feature."""
    reach = threat.reach
    if not isinstance(reach, Tensor):
        return x.new_full((len(x),), reach, dtype=torch.float64)
    return reach.detach().to(x.device, torch.float64).expand(len(x))


def scaled(threat: Ball, radius: Tensor, x: Tensor) -> Ball:
    """The threat with another radius for each example (B,), as its `reach` measures it."""
    if not per_feature(threat.radius):
        return threat.at(radius)
    return threat.at(_weights(threat, x) * radius.to(x).view(-1, *(1,) * (x.ndim - 1)))


def rounded_down(radius: Tensor) -> Tensor:
    """The radius rounded down to a float32, in its own dtype; so it is the same in any batch.

    Example:
        >>> rounded_down(torch.tensor([0.1], dtype=torch.float64))
        tensor([0.1000], dtype=torch.float64)
    """
    below = radius.float()
    lower = torch.nextafter(below, below.new_zeros(()))
    return torch.where(below.double() > radius.double(), lower, below).to(radius)
