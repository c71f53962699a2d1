"""Muon: steps along the orthogonalised momentum, for the weights of hidden layers.

    M <- mu M + (1 - mu) G;   O = NS(G + mu (M - G))  (Nesterov; else NS(M));   W <- W - rate s O

G is the gradient of a weight as a matrix, one row per output. NS brings all singular values near 1:
X <- a X + (b A + c A^2) X with A = X X^T, a few times, from X = M / |M|_F, where (a, b, c) =
(3.4445, -4.7750, 2.0315) grow small singular values fast and leave all of them between about 0.7
and 1.2 after five times. As the step's size does not depend on that of the gradient, weights may
be brought back to one row norm on average, |W|_F^2 = rows, before each step.

All other parameters (biases, norms, the last layer) are another optimiser's.

Source: Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/; Jordan 2024,
    arXiv:2404.00498, and the networks of `airbench` (momentum 0.6, three iterations, row norms,
    a rate of 0.24 for the weights and about 0.05 for the others).
Departures: iterations run in bfloat16 on CUDA and in the weights' own type elsewhere.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn

from holdfast.core.errors import InputError
from holdfast.core.recipes import Count, From, NonNegative, Positive, hyperparameters
from holdfast.training.catalogue import OPTIMIZERS
from holdfast.training.optimizers import SGD, OptimizerSpec, Share, affine_weights

_NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)


@hyperparameters
class Muon:
    """Muon for hidden weights, and another optimiser for the other parameters.

    Hidden are the weights of all affine layers but the last one of the model; with
    `which` = "convolutions", those of convolutions only.

    Args:
        momentum: weight of the past gradients.
        nesterov: look ahead by the momentum.
        iterations: of Newton and Schulz.
        weight_decay: times the rate and the weight, taken from the hidden weights; of no effect
            with `unit_rows`.
        unit_rows: bring the rows of hidden weights to norm 1 in the mean square, before each step.
            Meant for networks with normalisation layers: it fixes the scale of the layers.
        scale: s of the step: 1 (`none`), or sqrt(max(1, rows / columns)) (`rows`).
        which: see above.
        others: makes the optimiser of the other parameters.
        factor: of the learning rate, for the others.

    Cost: one buffer per weight; per step and matrix of m >= n rows and columns (or the other way
        round) `iterations` times 4 m n^2 + 2 n^3 operations.
    Source: Jordan et al. 2024; the defaults are those of fast training on CIFAR-10.
    """

    momentum: Share = 0.6
    nesterov: bool = True
    iterations: Count = 3
    weight_decay: NonNegative = 0.0
    unit_rows: bool = True
    scale: Literal["none", "rows"] = "none"
    which: Literal["hidden", "convolutions"] = "hidden"
    others: Annotated[Any, From(OPTIMIZERS)] = SGD(momentum=0.85, nesterov=True)
    factor: Positive = 5 / 24

    def build(self, model: nn.Module) -> torch.optim.Optimizer:
        """The optimiser of the parameters that ask for a gradient, with learning rate 0.

        Raises:
            InputError: no weight for Muon.
        """
        hidden = self.weights(model)
        if not hidden:
            problem = f"has no {self.which} weights for Muon"
            raise InputError("model", type(model).__name__, problem, "use sgd or adam")
        parts: list[torch.optim.Optimizer] = [Orthogonalised(hidden, self)]
        taken = set(hidden)
        rest = [each for each in model.parameters() if each.requires_grad and each not in taken]
        if rest:
            spec: OptimizerSpec = self.others
            parts.append(spec.build(nn.ParameterList(rest)))
            for group in parts[1].param_groups:
                group["factor"] = self.factor * group.get("factor", 1.0)
        return Together(parts)

    def weights(self, model: nn.Module) -> list[nn.Parameter]:
        """The weights that Muon takes."""
        found = affine_weights(model)
        if self.which == "convolutions":
            return [each for each in found if each.ndim > 2]
        return found[:-1]


class Orthogonalised(torch.optim.Optimizer):
    """The optimiser of the hidden weights, with learning rate 0.

    Args:
        weights: of two axes or more; the first is that of the outputs.
        spec: the hyperparameters.
    """

    def __init__(self, weights: Iterable[nn.Parameter], spec: Muon):
        super().__init__(weights, {"lr": 0.0})
        self.spec = spec

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step of every weight that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._move(weight, weight.grad, group["lr"])
        return loss

    def _move(self, weight: Tensor, gradient: Tensor, rate: float) -> None:
        spec, state = self.spec, self.state[weight]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(weight)
        mean = state["momentum_buffer"].lerp_(gradient, 1 - spec.momentum)
        ahead = gradient.lerp(mean, spec.momentum) if spec.nesterov else mean
        step = orthogonal(ahead.flatten(1), spec.iterations).view(weight.shape)
        if spec.unit_rows:
            weight.mul_(len(weight) ** 0.5 / weight.norm().clamp_min(1e-30))
        elif spec.weight_decay:
            weight.mul_(1 - rate * spec.weight_decay)
        wide = max(1.0, len(weight) ** 2 / weight.numel())
        weight.add_(step, alpha=-rate * (wide**0.5 if spec.scale == "rows" else 1.0))


class Together(torch.optim.Optimizer):
    """Several optimisers of different parameters as one: their groups in order, one state.

    Args:
        parts: the optimisers; they share their groups and their state with this one.
    """

    def __init__(self, parts: Iterable[torch.optim.Optimizer]):
        self.parts = list(parts)
        super().__init__([group for part in self.parts for group in part.param_groups], {})
        self._share()

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step of each."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part in self.parts:
            part.step()
        return loss

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Takes over the state of an optimiser that was built alike."""
        super().load_state_dict(dict(state_dict))
        self._share()

    def _share(self) -> None:
        start = 0
        for part in self.parts:
            count = len(part.param_groups)
            part.param_groups = self.param_groups[start : start + count]
            part.state = self.state
            start += count


def orthogonal(matrix: Tensor, iterations: int = 5) -> Tensor:
    """The nearest matrix with orthonormal rows or columns, roughly: with the singular vectors of
    `matrix` (m, n), and singular values near 1 where they were not tiny.

    Guarantee: depends on the direction of the matrix only; zero where it is zero.
    """
    a, b, c = _NEWTON_SCHULZ
    kind = torch.bfloat16 if matrix.device.type == "cuda" else matrix.dtype
    x = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    x = (x / x.norm().clamp_min(torch.finfo(matrix.dtype).tiny)).to(kind)
    for _ in range(iterations):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    x = x.T if matrix.shape[0] > matrix.shape[1] else x
    return x.to(matrix.dtype).contiguous()
