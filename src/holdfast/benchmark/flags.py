"""Signs that an evaluation should not be believed as it stands.

Each check says what was seen and what to do; none changes an outcome. Those of the model look at a
first block of examples; those of the evaluation read the ledger afterwards.

Source: Andriushchenko 2024, sec 4.4.1 (restrictions on defences), with the tests of the released
AutoAttack code; Carlini et al. 2019, arXiv:1902.06705 (sanity checks).
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.losses.cross_entropy import CrossEntropy
from holdfast.losses.margin import Margin
from holdfast.losses.protocol import Loss
from holdfast.threats.protocol import Searchable, Threat

Severity = Literal["severe", "warning", "info"]
_LEAP = 0.002  # by how much Square may lower the accuracy before it is a sign


@dataclass(frozen=True)
class Flag:
    """One sign.

    Args:
        code: what it is called, such as `zero-gradients`.
        severity: `severe` where the number may be far off, `warning` where it may be, `info`.
        evidence: what was seen.
        advice: what to do.
        examples: indices of the examples concerned, where there are some.
    """

    code: str
    severity: Severity
    evidence: str
    advice: str
    examples: tuple[int, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self) | {"examples": list(self.examples)}


def randomised(model: FrozenModel, x: Tensor, y: Tensor) -> Flag | None:
    """Whether five passes differ: in correct answers, or in logits by more than 1e-4 once these
    are scaled to norm 1."""
    correct, scaled = [], []
    for _ in range(5):
        logits = model.logits(x)
        correct.append(int((logits.argmax(dim=1) == y).sum()))
        scaled.append(logits / (logits.norm(dim=1, keepdim=True) + 1e-10))
    gap = max(float((a - b).norm(dim=1).max()) for a in scaled for b in scaled)
    if len(set(correct)) == 1 and gap <= 1e-4:
        return None
    return Flag(
        "randomised",
        "severe",
        f"five passes over the same {len(x)} inputs differ: {min(correct)} to {max(correct)} "
        f"correct, logits of norm 1 by up to {gap:.2g}",
        "use the protocol rand, and report what is averaged over",
    )


def neighbours(model: FrozenModel, x: Tensor) -> Flag | None:
    """Whether an example's output depends on its place in the block."""
    first, turned = model.logits(x), model.logits(x.flip(0)).flip(0)
    if torch.equal(first, turned) or not torch.equal(first, model.logits(x)):
        return None
    return Flag(
        "neighbours",
        "warning",
        "an example's output depends on its neighbours by up to "
        f"{float((first - turned).abs().max()):.2g}",
        "check for batch statistics in use; results may change with the block",
    )


def probabilities(logits: Tensor) -> Flag | None:
    """Whether the outputs are probabilities: within [0, 1] and adding up to 1."""
    inside = float(logits.max()) < 1 + 1e-5 and float(logits.min()) > -1e-5
    if not (inside and bool(((logits.sum(dim=1) - 1).abs() < 1e-5).all())):
        return None
    return Flag(
        "probabilities",
        "severe",
        "the model's outputs lie in [0, 1] and add up to 1",
        "return logits: a softmax at the end hides the gradient of losses that take it again",
    )


def gradients(
    model: FrozenModel, x: Tensor, y: Tensor, index: Tensor, threat: Threat, keys: Keys
) -> list[Flag]:
    """Whether input gradients at random points of the threat are exactly zero.

    A zero gradient of the margin is a forward pass that does not depend on the input; where only
    that of the cross-entropy is zero, the logits are too large for it. (The difference of logits
    ratio, which the released code looks at, is constant where the label ranks third.)
    """
    point = threat.sample(x, keys=keys.fold("flags"))
    dead = _zero(model, point, y, Margin())
    flat = _zero(model, point, y, CrossEntropy(precise=False)) & ~dead
    flags = []
    if bool(dead.any()):
        flags.append(
            Flag(
                "zero-gradients",
                "severe",
                f"the input gradient is exactly zero on {int(dead.sum())} of {len(x)} inputs",
                "use BPDA for the layer that hides it (holdfast.attacks.approximate), or rely on "
                "black-box attacks",
                tuple(index[dead.cpu()].tolist()),
            )
        )
    if bool(flat.any()):
        flags.append(
            Flag(
                "saturated",
                "warning",
                f"the gradient of the cross-entropy vanishes on {int(flat.sum())} of {len(x)} "
                "inputs: the logits are very large",
                "trust losses that do not depend on the logits' scale (DLR, margin) only",
                tuple(index[flat.cpu()].tolist()),
            )
        )
    return flags


def dynamic(model: FrozenModel, x: Tensor) -> Flag | None:
    """Whether the forward pass itself computes gradients."""
    with _watched() as calls:
        model.logits(x)
    if not calls:
        return None
    return Flag(
        "inner-optimisation",
        "severe",
        f"one forward pass called {calls[0]}",
        "attack through the inner optimisation (BPDA, unrolling), or with decision-based attacks",
    )


def classes(count: int, needed: Sequence[str]) -> Flag | None:
    """Whether there are too few classes for the losses and targets of published attacks."""
    plain = [name.removeprefix("audit-") for name in needed]
    targeted = [name for name in plain if name.startswith(("apgd-t", "fab-t"))]
    ratio = [name for name in plain if name.startswith(("apgd-t", "apgd-dlr"))]
    if count >= 10 or not (targeted or (ratio and count <= 3)):
        return None
    what = f"{count} classes"
    if count <= 3:
        return Flag(
            "classes",
            "info",
            f"{what}: the {'targeted ' if count == 3 else ''}DLR loss is not defined",
            "the margin took its place; figures are not comparable with published ones",
        )
    return Flag(
        "classes",
        "info",
        f"{what}: attacks with 9 targets have {count - 1}",
        "nothing to do; all wrong classes were targets",
    )


def square(before: float, after: float) -> Flag | None:
    """Whether Square lowered the accuracy, by more than 0.2 points, below the attacks before."""
    if not after < before - _LEAP - 1e-12:
        return None
    return Flag(
        "square-improves",
        "severe",
        f"Square lowered robust accuracy from {before:.2%} to {after:.2%}, below attacks that see "
        "gradients",
        "the gradients are of little use: run Square with more queries and restarts, and adaptive "
        "attacks",
    )


def masked(tried: int, fell: int) -> Flag | None:
    """Whether the pilot of the fast protocol broke what gradients alone had not."""
    if not fell:
        return None
    return Flag(
        "masked-gradients",
        "warning",
        f"of {tried} examples that stood against gradients, {fell} fell to a short random search "
        "and gradient steps from where it ended",
        "do not trust gradient attacks on this model alone; give the search more queries",
    )


def radius(
    radii: Sequence[float], margins: Sequence[float], robust: Sequence[float]
) -> Flag | None:
    """Whether a short attack gains with the radius, and wins at the largest.

    Args:
        radii: ascending, 0 first.
        margins: mean smallest margin at each.
        robust: fraction that stands at each.
    """
    slack = 0.02 * abs(margins[0])
    rises = [i for i in range(1, len(radii)) if margins[i] > margins[i - 1] + slack]
    if rises:
        i = rises[0]
        return Flag(
            "loss-radius",
            "severe",
            f"a short attack does worse at radius {radii[i]:.3g} than at {radii[i - 1]:.3g}: mean "
            f"margin {margins[i]:.3g} after {margins[i - 1]:.3g}",
            "the gradients mislead: prefer black-box attacks, or repair the model's gradients",
        )
    if robust[-1] > 0.1:
        return Flag(
            "stands-everywhere",
            "warning",
            f"at radius {radii[-1]:.3g}, where any input is allowed or nearly so, {robust[-1]:.0%} "
            "still stand against a short attack",
            "no classifier can be robust there: the attack fails, so smaller radii are in doubt",
        )
    return None


def supports_gradients(threat: object) -> bool:
    """Whether the threat has random starts and steps, as the checks of gradients need."""
    return isinstance(threat, Searchable)


def _zero(model: FrozenModel, point: Tensor, y: Tensor, loss: Loss) -> Tensor:
    _, _, gradient = model.value_and_grad(point, lambda logits: loss(logits, y, None))
    return gradient.flatten(1).abs().sum(dim=1) == 0


_lock = threading.Lock()


@contextmanager
def _watched() -> Iterator[list[str]]:
    """Records calls of autograd's entry points, by this thread, while the block runs."""
    calls: list[str] = []
    mine = threading.get_ident()
    doors: tuple[tuple[Any, str], ...] = (
        (torch.autograd, "grad"),
        (torch.autograd, "backward"),
        (torch.func, "grad"),
    )
    if hasattr(torch.autograd, "_make_grads"):  # of both, also where they were imported by name
        doors = (*doors, (torch.autograd, "_make_grads"))
    with _lock:
        own = [getattr(home, name) for home, name in doors]

        def watch(name: str, call: Any) -> Any:
            def watching(*args: Any, **kwargs: Any) -> Any:
                if threading.get_ident() == mine:
                    calls.append("torch.autograd")
                return call(*args, **kwargs)

            return watching

        try:
            for (home, name), call in zip(doors, own, strict=True):
                setattr(home, name, watch(name, call))
            yield calls
        finally:
            for (home, name), call in zip(doors, own, strict=True):
                setattr(home, name, call)
