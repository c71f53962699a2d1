"""The published protocols: AutoAttack in its three versions, and two quick evaluations.

    standard   APGD on cross-entropy, APGD-T on the targeted DLR loss, FAB-T, Square
    plus       APGD-CE and APGD-DLR with 5 restarts, FAB with 5, Square, APGD-T, FAB-T
    rand       APGD-CE and APGD-DLR with gradients averaged over 20 draws, for random models

Every step starts from the clean inputs, on the examples that still stand. Budgets: 100 steps, 9
targets, 5,000 queries; in L1 `standard` has 5 restarts of APGD-CE and 5 targets of APGD-T. With
fewer classes than a loss needs, the margin takes its place, and a flag says so.

Source: Croce and Hein 2020, arXiv:2003.01690; L1: Croce and Hein 2021, arXiv:2103.01208.
Andriushchenko 2024, sec 4.4.1 and 4.12 (`apgd-t-3-20`), sec 2.4 (`pgd-50-10`).
Departures: random draws are keyed by example; a row leaves at its first success; a tie with another
class counts as misclassified. What the published code computes is kept where it matters for its
answers: its rounding of the cross-entropy and of L2 steps; Square's schedule for 10,000 queries cut
off at 5,000, and its proposals that change nothing.
"""

from collections.abc import Iterator
from typing import Literal

from holdfast.attacks.apgd import APGD, check_ball
from holdfast.attacks.attack import Attack
from holdfast.attacks.fab import FAB
from holdfast.attacks.pgd import PGD
from holdfast.attacks.square import released_square
from holdfast.benchmark.protocol import Board, Step
from holdfast.core.recipes import hyperparameters
from holdfast.losses.cross_entropy import CrossEntropy
from holdfast.losses.dlr import DLR
from holdfast.losses.margin import Margin
from holdfast.losses.protocol import Loss

_FLOOR = 1e-12
_STAGES = (3.0, 2.0, 1.0)


@hyperparameters
class AutoAttack:
    """The AutoAttack protocol.

    Args:
        variant: `standard`, `plus` or `rand`.

    Cost: for an example that stands, `standard` takes about 1,900 forwards and backwards and 5,000
        forwards.
    """

    variant: Literal["standard", "plus", "rand"] = "standard"

    @property
    def name(self) -> str:
        """The variant."""
        return self.variant

    @property
    def version(self) -> str:
        """The variant and its number."""
        return f"{self.variant}/1"

    @property
    def adaptive(self) -> bool:
        """No: a step looks at its own examples only."""
        return False

    def steps(self, board: Board) -> Iterator[Step]:
        """The components in their published order.

        Raises:
            UnsupportedThreat: the threat is no Linf, L2 or L1 ball of finite radius.
        """
        check_ball(board.threat, f"the protocol {self.name}")
        for name, attack in _components(self.variant, board.classes, board.threat.p == 1).items():
            yield Step(name, attack)


@hyperparameters
class Quick:
    """A protocol of one attack.

    Args:
        attack: `apgd-t-3-20`, APGD towards 3 targets with 20 steps each; `pgd-50-10`, PGD with 50
            steps of a quarter radius, 10 uniform starts and the cross-entropy.
    """

    attack: Literal["apgd-t-3-20", "pgd-50-10"]

    @property
    def name(self) -> str:
        """The attack."""
        return self.attack

    @property
    def version(self) -> str:
        """The attack and its number."""
        return f"{self.attack}/1"

    @property
    def adaptive(self) -> bool:
        """No."""
        return False

    def steps(self, board: Board) -> Iterator[Step]:
        """The attack, once."""
        check_ball(board.threat, f"the protocol {self.name}")
        if self.attack == "pgd-50-10":
            yield Step(self.attack, PGD(steps=50, restarts=10, step_size="eps/4"))
        else:
            yield Step(self.attack, targeted(board.classes, 20, 3))


def apgd_t_3_20() -> Quick:
    """APGD towards the 3 likeliest wrong classes, 20 steps each."""
    return Quick(attack="apgd-t-3-20")


def pgd_50_10() -> Quick:
    """PGD with 50 steps and 10 restarts."""
    return Quick(attack="pgd-50-10")


def plus() -> AutoAttack:
    """AutoAttack, version plus."""
    return AutoAttack(variant="plus")


def rand() -> AutoAttack:
    """AutoAttack, version rand."""
    return AutoAttack(variant="rand")


def _components(variant: str, classes: int, sparse: bool) -> dict[str, Attack]:
    eot = 20 if variant == "rand" else 1
    staged = sparse and variant == "standard"
    restarts = 5 if variant == "plus" or staged else 1
    ce = _apgd(CrossEntropy(precise=False), restarts, eot, staged)
    dlr = _apgd(DLR() if classes > 2 else Margin(), restarts, eot, staged)
    if variant == "rand":
        return {"apgd-ce": ce, "apgd-dlr": dlr}
    apgd_t = targeted(classes, 100, 5 if staged else 9, staged=staged or not sparse)
    fab_t = FAB(targeting="multi", most_targets=9)
    square = released_square(5001)  # the start, and 5,000 proposals
    if variant == "standard":
        return {"apgd-ce": ce, "apgd-t": apgd_t, "fab-t": fab_t, "square": square}
    fab = FAB(restarts=5, most_classes=max(1, classes - 1))
    return {
        "apgd-ce": ce,
        "apgd-dlr": dlr,
        "fab": fab,
        "square": square,
        "apgd-t": apgd_t,
        "fab-t": fab_t,
    }


def targeted(classes: int, steps: int, targets: int, *, staged: bool = True) -> APGD:
    """APGD-T, on the margin where there are fewer than the four classes that its loss needs.

    Args:
        staged: whether runs in L1 go through larger radii first.
    """
    loss: Loss = DLR() if classes > 3 else Margin()
    return APGD(
        steps=steps,
        loss=loss,
        most_targets=min(targets, classes - 1),
        floor=_FLOOR,
        widening=_STAGES if staged else _STAGES[-1:],
    )


def _apgd(loss: Loss, restarts: int, eot: int, staged: bool) -> APGD:
    widening = _STAGES if staged else _STAGES[-1:]
    return APGD(loss=loss, restarts=restarts, eot=eot, floor=_FLOOR, widening=widening)
