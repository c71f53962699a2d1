"""What methods that look for large certified regions share: slacks, proofs, and a final search.

A region around x has one radius eps_i per feature, {x' : ||(x' - x) / eps||_p <= 1}. It is allowed
where every slack is at least zero,

    d_j(eps) = lower bound of (logit y - logit j) over the region - delta >= 0      for all j != y.

`Growing.slack` is d with gradients, in the arithmetic of x; `Growing.margin` is the same bound in
the arithmetic of the method, with which a region is finally accepted. No optimiser is trusted: what
is returned is the largest of the tested multiples factor^k eps whose evaluated bound holds.

Source: Liu 2022, sec 3.2.1, Eq. 3.9 and Alg. 3.3, lines 7 to 9.
Departure: k is found by doubling and halving instead of one after another.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from holdfast.certify.bounds.forms import linear_forms
from holdfast.certify.bounds.linear import Linear
from holdfast.certify.graphs.graph import Graph, capture
from holdfast.certify.spec import checked_labels, margin_rows
from holdfast.core.errors import InputError, UnsupportedThreat
from holdfast.core.tensors import per_example
from holdfast.threats.base import Ball
from holdfast.threats.radius import fitted

LEAST = 1e-6


@dataclass(frozen=True, eq=False)
class Region:
    """Certified regions around inputs.

    Args:
        radii: (B, *E), one per feature; zero where nothing was certified.
        certified: (B,) whether the region was proved free of other classes; False for inputs that
            are misclassified, or of which the bound proves nothing at the smallest radius.
        margin: (B,) the smallest bound of a margin over the region; NaN where not certified.
        threat: the sets, one for each input, for attacks and bounds.
        sound: whether rounding is accounted for, so that `certified` is a proof.
        cost: bounds evaluated per input: `gradients` with gradients, `bounds` without.
    """

    radii: Tensor
    certified: Tensor
    margin: Tensor
    threat: Ball
    sound: bool
    cost: dict[str, float]


@dataclass(frozen=True, eq=False)
class Growing:
    """Inputs whose regions are looked for.

    Args:
        x: (B, *E).
        y: (B,) the classes that must not change.
        threat: its kind and box are those of the regions.
        bounds: the method in its own mode, which proves; slacks take it in mode `fast`.
        cap: (B, *E) the largest radii; inf where there is no limit.
        elided: bounds margins, which cancels what logits share; else single logits.
        delta: by how much a margin has to be positive.
    """

    graph: Graph
    x: Tensor
    y: Tensor
    threat: Ball
    bounds: Linear
    cap: Tensor
    elided: bool
    delta: float

    @classmethod
    def of(
        cls,
        model: nn.Module | Graph,
        x: Tensor,
        y: Tensor,
        threat: Ball,
        *,
        bounds: Linear,
        elided: bool,
        delta: float,
    ) -> "Growing":
        """The problem, checked.

        Args:
            threat: a norm ball whose radius, a number or one per input or feature, is the largest
                that a feature may have; an infinite one stands for the width of the box.

        Raises:
            InputError: x or y does not fit the model; a radius of zero.
            UnsupportedThreat: no norm ball.
        """
        if not isinstance(threat, Ball):
            problem = f"{type(threat).__name__} has no radius for each feature"
            raise UnsupportedThreat(f"{problem}; use a norm ball, such as linf:inf")
        graph = model if isinstance(model, Graph) else capture(model, x.shape[1:])
        graph.check_input(x)
        labels = checked_labels(y, graph.output_shape[0]).to(x.device)
        cap = torch.as_tensor(fitted(threat.radius, None, x)).to(x).expand(x.shape)
        if threat.box is not None:
            cap = cap.clamp_max(threat.box[1] - threat.box[0])
        if not bool((cap > 0).all()):
            raise InputError("radius", 0, "leaves a feature no room", "give the largest radius")
        return cls(graph, x.detach(), labels, threat, bounds, cap, elided, delta)

    def rows(self, which: Tensor) -> "Growing":
        """The problem of some of the inputs, given by their places."""
        return replace(self, x=self.x[which], y=self.y[which], cap=self.cap[which])

    def slack(self, radii: Tensor) -> Tensor:
        """The slacks d (B, K-1), differentiable in the radii (B, *E)."""
        fast = replace(self.bounds, mode="fast")
        spec, threat = self._spec(), self.threat.at(radii)
        forms = linear_forms(fast, self.graph, self.x, threat, spec, differentiable=True)
        far = threat.accepted().support(-forms.coefficients, self.x)
        return self._margins(forms.constants - far) - self.delta

    def margin(self, radii: Tensor) -> Tensor:
        """The smallest margin (B,) over the regions, by the method in its own mode."""
        found = self.bounds.bound(self.graph, self.x, self.threat.at(radii), self._spec()).lower
        margins = self._margins(found)
        if not self.elided:  # a sum of two bounds, rounded down
            margins = torch.nextafter(margins, margins.new_tensor(-torch.inf))
        return margins.amin(dim=1)

    def winners(self) -> Tensor:
        """The places of the inputs whose strictly largest logit is that of y."""
        with torch.no_grad():
            logits = self.graph.forward(self.x)
        own = logits.gather(1, self.y.unsqueeze(1))
        above = (logits >= own).sum(dim=1)
        return (above == 1).nonzero().squeeze(1)

    def _spec(self) -> Tensor:
        """The rows that are bounded, (B, R, K)."""
        classes = self.graph.output_shape[0]
        rows = margin_rows(self.y, classes).to(self.x)
        if self.elided:
            return rows
        own = torch.eye(classes, dtype=rows.dtype, device=rows.device)[self.y].unsqueeze(1)
        return torch.cat([own, rows - own], dim=1)

    def _margins(self, lower: Tensor) -> Tensor:
        """Margins (B, K-1) from the bounds of the rows."""
        return lower if self.elided else lower[:, :1] + lower[:, 1:]


def largest_multiple(
    problem: Growing, radii: Tensor, factor: float, most: int
) -> tuple[Tensor, Tensor, int]:
    """The radii times factor^k with the smallest k in 0..most that holds, input by input.

    Args:
        factor: below 1.

    Returns:
        radii (B, *E), zero where no k holds; the smallest margin (B,), NaN there; and how many
        bounds were evaluated.

    Guarantee: the margin of the radii returned was evaluated and is at least delta. If margins do
        not rise when regions shrink, a smaller k may hold than the one found.
    Cost: up to 2 log2(most) bounds.
    """
    count = len(radii)
    fails = torch.full((count,), -1, device=radii.device)
    holds, at = torch.full_like(fails, most + 1), torch.zeros_like(fails)
    found, margin = torch.zeros_like(radii), radii.new_full((count,), torch.nan).double()
    evaluated = 0
    while len(left := (holds - fails > 1).nonzero().squeeze(1)):
        scale = factor ** at[left].to(radii)
        tried = radii[left] * per_example(scale, radii[left])
        proved = problem.rows(left).margin(tried)
        good = (proved >= problem.delta) & proved.isfinite()
        evaluated += len(left)
        found[left[good]], margin[left[good]] = tried[good], proved[good].double()
        holds[left[good]], fails[left[~good]] = at[left[good]], at[left[~good]]
        doubled = (2 * at).clamp_min(1).clamp_max(most)
        at = torch.where(holds > most, doubled, (fails + holds) // 2)
    return found, margin, evaluated


def largest_of_shape(problem: Growing, shape: Tensor, steps: int) -> Tensor:
    """The largest region of given proportions, (B, *E), by bisection of its size's logarithm.

    Found with slacks, so that it proves nothing. Where none holds, the radii are tiny.

    Args:
        shape: (B, *E) positive, the radii up to a factor; none is above its cap in the result.

    Cost: one bound without gradients for each step.
    """
    shape = shape / per_example(shape.flatten(1).amax(dim=1), shape)
    high = problem.cap.flatten(1).amax(dim=1).clamp_max(1 / LEAST).log2()
    low = torch.full_like(high, LEAST).log2()
    with torch.no_grad():
        for step in range(steps):
            middle = high if step == 0 else (low + high) / 2
            radii = torch.minimum(shape * per_example(middle.exp2(), shape), problem.cap)
            good = (problem.slack(radii) >= 0).all(dim=1)
            low, high = torch.where(good, middle, low), torch.where(good, high, middle)
    return torch.minimum(shape * per_example(low.exp2(), shape), problem.cap)


def finished(
    problem: Growing,
    live: Tensor,
    radii: Tensor,
    margin: Tensor,
    *,
    gradients: float,
    bounds: int,
) -> Region:
    """The result for all inputs, from that of those that were grown.

    Args:
        live: the places of the inputs that were grown.
        radii: theirs.
        margin: theirs, NaN where nothing holds.
        gradients: bounds with gradients for each of them.
        bounds: bounds without, of all.
    """
    whole = torch.zeros_like(problem.x)
    whole[live] = radii
    margins = margin.new_full((len(problem.x),), torch.nan)
    margins[live] = margin
    count = max(1, len(live))
    return Region(
        radii=whole,
        certified=~margins.isnan(),
        margin=margins,
        threat=problem.threat.at(whole),
        sound=problem.bounds.mode == "rigorous",
        cost={"gradients": float(gradients), "bounds": bounds / count},
    )
