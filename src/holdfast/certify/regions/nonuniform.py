"""The largest certified region with one radius per feature, by an augmented Lagrangian.

The volume of {x' : ||(x' - x) / eps||_p <= 1} is a constant times the product of the radii, so that

    min over eps of  - sum_i log eps_i    s.t.    d_j(eps) >= 0  for all j != y        (3.9)

with the slacks d of `growing.py`. With c = max(0, d + lambda / rho), which is the best c >= 0,

    max over lambda, min over eps of  - sum_i log eps_i + <lambda, d - c> + rho / 2 ||d - c||^2

where d - c = min(d, -lambda / rho): zeta with eps = zeta^2 takes gradient steps, lambda becomes
lambda + rho (d - c) now and then, rho grows. What comes out need not satisfy d >= 0: the radii are
multiplied by `shrink` until the evaluated bound holds.

Symbols: epsvec radii, lambda multipliers, rho penalty, eta shrink, N_iter steps.

Source: Liu 2022, sec 3.2.1, Eqs. 3.9 to 3.11, Alg. 3.3; Liu, Tomioka and Cevher 2019 (published
    code for the values that the thesis does not give).
Departures: margins are bounded by default (`elided`), where the thesis bounds logits. A radius is
    never above the threat's, which stops features without influence. The uniform variant minimises
    -log eps, not M times that.
"""

from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from holdfast.certify.bounds.linear import Dual, Linear
from holdfast.certify.catalogue import BOUNDS
from holdfast.certify.graphs.graph import Graph
from holdfast.certify.regions.growing import LEAST, Growing, Region, finished, largest_multiple
from holdfast.core.recipes import Count, Fraction, From, NonNegative, Positive, hyperparameters
from holdfast.core.tensors import norm, per_example
from holdfast.threats.base import Ball

_OPTIMISERS = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}


@hyperparameters
class NonUniform:
    """Alg. 3.3: non-uniform (or uniform) certified regions of large volume.

    Args:
        bounds: the linear bounds that certify; the optimiser takes them in mode `fast`.
        shape: `features` has one radius each; `uniform` one for all (sec 3.2.2).
        steps: N_iter, gradient steps.
        start: of every radius.
        step_size: of the optimiser, in zeta.
        optimizer: `sgd` as published, or `adam`.
        penalty: rho at first.
        growth: factor on rho every `growth_every` steps.
        multiplier_every: steps between updates of lambda.
        gradient_cap: length that the gradient of an input is cut to, divided by sqrt(growth)
            whenever rho grows; 0 cuts nothing.
        delta: by how much margins have to be positive.
        shrink: eta, factor of the final search; at most `shrinks` times.
        elided: bounds margins instead of single logits.

    Guarantee: as `bounds`: with its mode `rigorous`, the model's class is y on the whole region of
        every input that is `certified`. Whether the optimiser converged does not matter.
    Cost: `steps` bounds with a gradient, one more for each update of lambda, and up to
        2 log2(shrinks) bounds.
    Needs: a graph (or a module, captured at each call).
    Source: Liu 2022, Alg. 3.3; Liu, Tomioka and Cevher 2019.
    """

    bounds: Annotated[Linear, From(BOUNDS)] = Dual()
    shape: Literal["features", "uniform"] = "features"
    steps: Count = 400
    start: Positive = 0.001
    step_size: Positive = 0.001
    optimizer: Literal["sgd", "adam"] = "sgd"
    penalty: Positive = 1.0
    growth: Positive = 5.0
    growth_every: Count = 80
    multiplier_every: Count = 5
    gradient_cap: NonNegative = 0.0
    delta: Positive = 1e-4
    shrink: Fraction = 0.99
    shrinks: Count = 1000
    elided: bool = True

    def region(
        self,
        model: nn.Module | Graph,
        x: Tensor,
        y: Tensor,
        threat: Ball,
        *,
        start: Tensor | None = None,
    ) -> Region:
        """Certified regions around inputs.

        Args:
            model: a captured graph, or a module, which is captured first.
            x: (B, *E).
            y: (B,) the classes that must not change; where the model says another, nothing is
                certified.
            threat: gives the norm, the box and the largest radius; `linf:inf,box=none` is the
                published setting, in which features without influence grow as long as steps last.
            start: (B, *E) first radii, such as those of other inputs of the model (sec 3.2.2).

        Raises:
            CaptureError: the module holds an operation that is not supported.
            InputError: x, y or start does not fit.
            UnsupportedThreat: no norm ball.

        Example:
            >>> from holdfast.threats import Linf
            >>> model = nn.Linear(2, 2)
            >>> with torch.no_grad():
            ...     _ = model.weight.copy_(torch.tensor([[1.0, 0.1], [0.0, 0.0]]))
            ...     _ = model.bias.zero_()
            >>> x, y = torch.ones(1, 2), torch.tensor([0])
            >>> method, threat = NonUniform(step_size=0.01), Linf(float("inf"), box=None)
            >>> found = method.region(model, x, y, threat)
            >>> [round(each, 1) for each in found.radii[0].tolist()]  # at best 0.55 and 5.5
            [0.5, 5.1]
        """
        problem = Growing.of(
            model, x, y, threat, bounds=self.bounds, elided=self.elided, delta=self.delta
        )
        live = problem.winners()
        mine = problem.rows(live)
        first = torch.full_like(mine.x, self.start) if start is None else start.to(x)[live]
        radii = self._optimised(mine, torch.minimum(first, mine.cap)) if len(live) else first
        held, margin, evaluated = largest_multiple(mine, radii, self.shrink, self.shrinks)
        return finished(problem, live, held, margin, gradients=self.steps, bounds=evaluated)

    def _optimised(self, problem: Growing, first: Tensor) -> Tensor:
        """The radii after the last step."""
        room = problem.cap.clamp_max(1 / LEAST)
        first, room = (self._own(each) for each in (first, room))
        zeta = first.sqrt().requires_grad_()
        optimiser = _OPTIMISERS[self.optimizer]([zeta], lr=self.step_size)
        multipliers: Tensor | float = 0.0
        for step in range(self.steps):
            level = step // self.growth_every
            rho = self.penalty * self.growth**level
            with torch.enable_grad():
                radii = _squared(zeta, room)
                gap = _gap(problem.slack(radii.expand_as(problem.x)), multipliers, rho)
                loss = -radii.log().flatten(1).sum(1)
                loss = loss + (multipliers * gap).sum(1) + rho / 2 * gap.square().sum(1)
                (gradient,) = torch.autograd.grad(loss.sum(), [zeta])
            zeta.grad = self._cut(gradient.nan_to_num(0.0, 0.0, 0.0), level)
            optimiser.step()
            if (step + 1) % self.multiplier_every == 0:
                with torch.no_grad():
                    slack = problem.slack(_squared(zeta, room).expand_as(problem.x))
                    multipliers = multipliers + rho * _gap(slack, multipliers, rho)
        return _squared(zeta.detach(), room).expand_as(problem.x).contiguous()

    def _own(self, values: Tensor) -> Tensor:
        """What is optimised of a table by feature: itself, or its least entry."""
        if self.shape == "features":
            return values
        return values.flatten(1).amin(dim=1).view(-1, *(1,) * (values.ndim - 1))

    def _cut(self, gradient: Tensor, level: int) -> Tensor:
        """The gradient of each input, no longer than the cap."""
        if self.gradient_cap == 0:
            return gradient
        most = self.gradient_cap / self.growth ** (level / 2)
        length = norm(gradient, 2).clamp_min(most)
        return gradient * per_example(most / length, gradient)


def _squared(zeta: Tensor, room: Tensor) -> Tensor:
    """The radii of zeta, within their room."""
    return torch.minimum(zeta.square().clamp_min(LEAST**2), room)


def _gap(slack: Tensor, multipliers: Tensor | float, rho: float) -> Tensor:
    """d - c with the best c >= 0."""
    return torch.minimum(slack, torch.as_tensor(-multipliers / rho).to(slack))
