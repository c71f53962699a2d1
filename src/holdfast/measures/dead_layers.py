"""Dead units: ReLUs that no example activates, and layers in which all are dead.

A unit is one entry of a ReLU's output: one position of one channel. It is dead on a set of examples
if its output is 0 for all of them; a layer is dead if all its units are. A dead layer cuts the
network in two: the layers before it get no gradient, those behind it see no input, and the network
is a constant classifier. Narrow networks that are trained with a large radius end there.

Source: Liu 2022, sec 4.2.3. The share of active units, which falls at clean inputs when single-step
    training collapses: Andriushchenko 2024, sec 2.5.
Departures: none.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from holdfast.core.errors import InputError, described
from holdfast.core.frozen import FrozenModel, Model
from holdfast.core.random import Keys
from holdfast.core.recipes import hyperparameters
from holdfast.core.results import Estimate
from holdfast.measures.columns import Block, look_at
from holdfast.threats.protocol import Threat

RECTIFIERS = (nn.ReLU, nn.ReLU6)


@dataclass(frozen=True, eq=False)
class Activity:
    """How many of n examples activate each unit.

    Args:
        counts: by layer, int64 in the shape of the layer's output; the layers of a module that runs
            more than once are `name`, `name@2`, and so on.
        n: examples.
        low: (K,) the smallest of each logit.
        high: (K,) the largest.

    Raises:
        InputError: sums of different layers.
    """

    counts: Mapping[str, Tensor]
    n: int
    low: Tensor
    high: Tensor

    def __add__(self, other: "Activity") -> "Activity":
        if self.counts.keys() != other.counts.keys():
            found = described(f"layers {sorted(other.counts)}")
            raise InputError("other", found, f"are not {sorted(self.counts)}", "use one model")
        counts = {name: self.counts[name] + other.counts[name] for name in self.counts}
        low, high = torch.minimum(self.low, other.low), torch.maximum(self.high, other.high)
        return Activity(counts, self.n + other.n, low, high)

    @property
    def dead(self) -> dict[str, float]:
        """The share of units of each layer that no example activates."""
        return {name: float((each == 0).double().mean()) for name, each in self.counts.items()}

    @property
    def active(self) -> dict[str, float]:
        """The mean share of units of each layer that an example activates."""
        return {name: float(each.double().mean()) / self.n for name, each in self.counts.items()}

    @property
    def dead_layers(self) -> tuple[str, ...]:
        """The layers in which every unit is dead."""
        return tuple(name for name, share in self.dead.items() if share == 1)

    @property
    def spread(self) -> float:
        """The largest difference of a logit between two examples; 0 for a constant classifier."""
        return float((self.high - self.low).amax())


@hyperparameters
class DeadUnits:
    """The share of ReLU units that are active on no example.

    Guarantee: the model is left as found, also after an exception; a dead layer through which all
        paths lead gives a `spread` of 0.
    Cost: one forward per example.
    Needs: an `nn.Module` whose rectifiers are modules (`nn.ReLU`, `nn.ReLU6`); those that are
        called as functions are not seen.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2))
        >>> with torch.no_grad():
        ...     model[0].bias.fill_(-9.0)[2] = 9.0
        >>> sums = DeadUnits().update(model, torch.rand(5, 2), torch.zeros(5, dtype=torch.int64))
        >>> sums.dead, sums.dead_layers
        ({'1': 0.6666666666666666}, ())
    """

    def update(
        self,
        model: Model | FrozenModel,
        x: Tensor,
        y: Tensor,
        threat: Threat | None = None,
        *,
        keys: Keys | None = None,
    ) -> Activity:
        """Counts activations at x; labels, threat and keys are of no effect.

        Raises:
            InputError: no examples, no module, or no rectifiers in it.
        """
        watched = _Watch()

        def look(frozen: FrozenModel, block: Block) -> Mapping[str, Tensor]:
            watched.runs, watched.rows = {}, block.count
            return {"logits": frozen.logits(block.x)}

        with _hooked(model.model if isinstance(model, FrozenModel) else model, watched):
            logits = look_at(model, x, y, None, keys, look)["logits"]
        return Activity(watched.counts, len(logits), logits.amin(dim=0), logits.amax(dim=0))

    def compute(self, sums: Activity) -> Estimate:
        """The share of all units that are dead; exact on these examples."""
        units = sum(each.numel() for each in sums.counts.values())
        dead = sum(int((each == 0).sum()) for each in sums.counts.values())
        return Estimate(dead / units, None, sums.n)


@dataclass
class _Watch:
    """What the hooks write: counts so far, and how often each module ran in this block."""

    counts: dict[str, Tensor] = field(default_factory=dict)
    runs: dict[str, int] = field(default_factory=dict)
    rows: int = 0

    def add(self, name: str, output: Tensor) -> None:
        """Counts the rows of one output that are above 0."""
        self.runs[name] = run = self.runs.get(name, 0) + 1
        layer = name if run == 1 else f"{name}@{run}"
        found = (output[: self.rows] > 0).sum(dim=0)
        self.counts[layer] = self.counts[layer] + found if layer in self.counts else found


@contextmanager
def _hooked(model: Model, watched: _Watch) -> Iterator[None]:
    """Every rectifier's output goes to `watched` until exit."""
    modules = dict(model.named_modules()) if isinstance(model, nn.Module) else {}
    found = {name: each for name, each in modules.items() if isinstance(each, RECTIFIERS)}
    if not found:
        shown = described(type(model).__name__)
        raise InputError("model", shown, "has no ReLU modules", "give a module that has some")

    def note(name: str, module: nn.Module) -> torch.utils.hooks.RemovableHandle:
        return module.register_forward_hook(lambda _, inputs, out: watched.add(name, out))

    handles = [note(name, module) for name, module in found.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
