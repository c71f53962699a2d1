"""YOPO: full passes are shared by several steps of the perturbation through the first layer.

    m times for every batch:  gradient of L( f(x + d), y ), with p = dL / d(first layer's output);
        n times:  d <- P( d + a v( (d first layer / d d)^T p ) ),   p held fixed;
    then one weight step along the m gradients together.

The first layer is the first module with a weight matrix or kernel that the input meets, together
with what comes before it (such as normalisation). Where that is affine, the direction of the n
steps is the same and only the projection bends their path.

Symbols: m = `rounds`, n = `inner`, a = `step_size`, v the steepest direction of the threat, P its
projection, p the costate.
Source: Zhang et al. 2019, arXiv:1905.00877, Alg. 1; Liu 2022, sec 5.2 (YOPO-5-3 in Table 5.11).
Departures: none known; `gradients = "mean"` divides by m, so that the learning rate means the same
as elsewhere.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn

from holdfast.attacks.attack import check_searchable, parse_step, step_length
from holdfast.core.errors import InputError
from holdfast.core.random import Keys
from holdfast.core.recipes import Count, hyperparameters
from holdfast.core.results import ObjectiveResult
from holdfast.threats.protocol import Threat
from holdfast.training.objectives.fitting import bare, fit, keys_or_content
from holdfast.training.objectives.protocol import Passes
from holdfast.training.visit import Visit, visit_of


@hyperparameters
class YOPO:
    """YOPO-m-n: m full passes, each followed by n steps through the first layer only.

    Args:
        rounds: m, full passes for a weight step.
        inner: n, steps of the perturbation after each of them.
        step_size: of the perturbation, in input units or relative.
        start: of the perturbation for every batch: `random` in the threat, or `clean`.
        gradients: whether the m gradients are added, as published, or averaged.

    Guarantee: the inputs trained on lie in the threat; no weight gradient but that of the rounds.
    Cost: m forwards and backwards for a weight step (1 per showing), and m n passes of the first
        layer, which are not counted.
    Needs: a module with a weight of two axes or more that the input meets first.
    Source: Zhang et al. 2019, arXiv:1905.00877, Alg. 1.
    """

    rounds: Count = 5
    inner: Count = 3
    step_size: float | str = "eps/4"
    start: Literal["random", "clean"] = "random"
    gradients: Literal["sum", "mean"] = "sum"

    def __post_init__(self) -> None:
        parse_step(self.step_size, self.inner)

    @property
    def replays(self) -> int:
        """Every round is one showing of the batch."""
        return self.rounds

    @property
    def passes(self) -> Passes:
        """One full pass in each round."""
        return Passes(1, 1)

    def loss(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        threat: Threat,
        *,
        progress: float,
        state: Mapping[str, Any] | None = None,
        keys: Keys | None = None,
        visit: Visit | None = None,
    ) -> ObjectiveResult:
        """The loss of one round; see `Objective.loss`.

        Raises:
            InputError: no visit, or a model without a first layer.
        """
        del progress
        check_searchable(threat, "YOPO")
        replay = visit_of(visit, "YOPO").replay
        point = self._point(x, threat, state, keys_or_content(keys, x), first=replay == 0)
        with _first_output(bare(model)) as seen:
            loss, logs = fit(model, point, y)
        if not seen:
            remedy = "train with PGDAT, or put the first weights into a module"
            raise InputError("model", type(bare(model)).__name__, "has no first layer", remedy)
        loss = loss if self.gradients == "sum" else loss / self.rounds

        def finish() -> dict[str, Tensor]:
            layer, output = seen[0]
            assert output.grad is not None
            costate = output.grad.nan_to_num()  # scaled losses may overflow
            after = self._moved(bare(model), layer, costate, point, x, threat)
            return {"delta": after - x}

        last = replay == self.rounds - 1
        return ObjectiveResult(loss, point, logs, None, finish, accumulate=not last)

    def _point(
        self,
        x: Tensor,
        threat: Threat,
        state: Mapping[str, Any] | None,
        keys: Keys,
        *,
        first: bool,
    ) -> Tensor:
        """Where this round's pass is taken, (B, *E)."""
        if not first and state is not None:
            return threat.project(x + state["delta"], x)
        if self.start == "clean":
            return x
        return threat.sample(x, keys=keys.fold(0).fold("start"))

    def _moved(
        self,
        model: nn.Module,
        layer: nn.Module,
        costate: Tensor,
        point: Tensor,
        x: Tensor,
        threat: Threat,
    ) -> Tensor:
        """The inputs after n steps through the first layer, (B, *E)."""
        length = step_length(self.step_size, threat, self.inner)
        for _ in range(self.inner):
            with torch.enable_grad():
                leaf = point.detach().requires_grad_(True)
                output = _first_layer(model, layer, leaf)
                (gradient,) = torch.autograd.grad(output, leaf, costate)
            point = threat.project(leaf.detach() + threat.steepest(gradient, length), x)
        return point


@contextmanager
def _first_output(model: nn.Module) -> Iterator[list[tuple[nn.Module, Tensor]]]:
    """Notes the first layer and its output, which keeps its gradient, of the forward within."""
    seen: list[tuple[nn.Module, Tensor]] = []

    def note(layer: nn.Module, _: Any, output: Tensor) -> None:
        if not seen:
            output.retain_grad()
            seen.append((layer, output))

    hooks = [each.register_forward_hook(note) for each in model.modules() if _has_kernel(each)]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


class _Reached(Exception):
    """The first layer has answered; the rest of the network is not run."""

    def __init__(self, output: Tensor):
        super().__init__("the first layer has answered")
        self.output = output


def _first_layer(model: nn.Module, layer: nn.Module, x: Tensor) -> Tensor:
    """The output of the first layer, without what comes after it."""

    def stop(_: nn.Module, __: Any, output: Tensor) -> None:
        raise _Reached(output)

    hook = layer.register_forward_hook(stop)
    try:
        model(x.clone())
    except _Reached as reached:
        return reached.output
    finally:
        hook.remove()
    raise InputError("model", type(model).__name__, "changes its first layer", "use PGDAT")


def _has_kernel(module: nn.Module) -> bool:
    weight = getattr(module, "weight", None)
    return isinstance(weight, Tensor) and weight.ndim >= 2 and not list(module.children())
