"""One gradient step: FGSM, R+FGSM and FGSM with a random start.

    FGSM:      x' = P( x + eps v(g(x)) )
    R+FGSM:    x0 = x + (eps/2) sign(z), z ~ N(0, I);   x' = P( x0 + (eps/2) v(g(x0)) )
    FGSM-RS:   x0 = x + d, d random in the threat;      x' = P( x0 + 1.25 eps v(g(x0)) )

with v the steepest direction of the threat's geometry and P its projection.

Sources: Goodfellow et al. 2015, arXiv:1412.6572; Tramer et al. 2018, arXiv:1705.07204; Wong, Rice
and Kolter 2020, arXiv:2001.03994. Theses: Wong 2020, sec 4.1.1 and 4.1.4; Rice 2023, sec 2.2;
Liu 2022, sec 2.1.
Departures: the sign of an exactly zero gradient is 0, so that a dead coordinate does not move.
"""

from typing import Annotated, Literal

from torch import Tensor

from holdfast.attacks.attack import GradientAttack, parse_step, step_length
from holdfast.attacks.protocol import Seen
from holdfast.attacks.rows import Rows
from holdfast.core.recipes import From, hyperparameters
from holdfast.losses.catalogue import LOSSES
from holdfast.losses.cross_entropy import CrossEntropy
from holdfast.losses.protocol import Loss


@hyperparameters
class FGSM(GradientAttack):
    """The fast gradient sign method, and its form for any threat: one steepest step.

    Args:
        step_size: `eps` by default; a number in input units, or `1.25*eps`, `eps/2`.
        start: `clean`; `random`, the threat's random start; `corner`, half a radius along random
            signs (R+FGSM).
        loss: what is maximised.

    Guarantee: with the clean start and a linear model, the exact worst case of a ball without box.
    Cost: per example at most 4 forwards (clean, start, result, confirmation) and 1 backward.
    Needs: input gradients.
    """

    step_size: float | str = "eps"
    start: Literal["clean", "random", "corner"] = "clean"
    loss: Annotated[Loss, From(LOSSES)] = CrossEntropy()

    def __post_init__(self) -> None:
        parse_step(self.step_size, 1)

    @property
    def steps(self) -> int:
        """One."""
        return 1

    @property
    def objective(self) -> Loss:
        """The loss."""
        return self.loss

    def begin(self, rows: Rows) -> Tensor:
        """The clean input, a random point, or a random corner of the half-radius cube."""
        if self.start == "clean":
            return rows.origin
        keys = rows.keys.fold("start")
        if self.start == "random":
            return rows.threat.sample(rows.origin, keys=keys)
        signs = keys.sign(rows.origin.shape[1:]).to(rows.origin)
        return rows.threat.project(half_corner(signs, rows), rows.origin)

    def advance(self, rows: Rows, seen: Seen) -> Tensor:
        """One steepest step, projected."""
        length = step_length(self.step_size, rows.threat, 1)
        step = rows.threat.steepest(seen.slope, length)
        return rows.threat.project(step.add_(rows.point), rows.origin)


def half_corner(signs: Tensor, rows: Rows) -> Tensor:
    """The clean inputs moved by half a radius: the steepest step along random signs."""
    length = step_length("eps/2", rows.threat, 1)
    return rows.origin + rows.threat.steepest(signs, length)


def r_fgsm() -> FGSM:
    """R+FGSM: a random corner of the half-radius cube, then half a radius along the gradient."""
    return FGSM(start="corner", step_size="eps/2")


def fgsm_rs(step_size: float | str = "1.25*eps") -> FGSM:
    """FGSM with random start, the attack of fast adversarial training."""
    return FGSM(start="random", step_size=step_size)
