"""Gradient alignment does not mask gradients: AutoAttack on the networks that PGD finds robust.

Source: Andriushchenko 2024, sec 2.11.3.
"""

from collections.abc import Sequence

from holdfast.reproduce.computations import ComputedRow, evaluated, lines_by_network
from holdfast.reproduce.figures import bars
from holdfast.reproduce.gradalign_methods import ALIGNED, FGSM_RS, method_row, named, sizes
from holdfast.reproduce.orderings import COLLAPSED, figure, per_cent
from holdfast.reproduce.page import SPREAD
from holdfast.reproduce.records import Claim, Lines, Reproduction, Size
from holdfast.reproduce.trainings import TrainedRow

AUTOATTACK = "autoattack_accuracy"
ROWS = ((ALIGNED, 8), (FGSM_RS, 8), (ALIGNED, 16))


def rows(size: Size) -> Sequence[TrainedRow | ComputedRow]:
    """Trainings, each with its evaluation; the quick size has the fast protocol."""
    protocol = "fast" if size.name == "quick" else "standard"
    found: list[TrainedRow | ComputedRow] = []
    for method, radius in ROWS:
        row = method_row(size, method, radius)
        found += [row, evaluated(row, protocol=protocol)]
    return found


def _close(lines: Lines) -> bool:
    """AutoAttack finds at most 10 points more, and no network collapses under it."""
    for method, radius in ROWS:
        gradient, strong = (
            figure(lines, named(method, radius), each) for each in ("robust_accuracy", AUTOATTACK)
        )
        if not max(COLLAPSED, gradient - 0.1) <= strong <= gradient:
            return False
    return True


def _better(lines: Lines) -> bool:
    one, other = (figure(lines, named(each, 8), AUTOATTACK) for each in (ALIGNED, FGSM_RS))
    return one > other


REPRODUCTION = Reproduction(
    id="gradalign-masking",
    title="Gradient alignment under AutoAttack",
    thesis="Andriushchenko 2024",
    source="sec 2.11.3",
    needs=("CIFAR-10", "a GPU"),
    setting="PreActResNet-18, CIFAR-10, last weights, 1,000 test images, 5 seeds",
    sizes=sizes(quick=0.2, scaled=15, published=200_000),
    rows=rows,
    published=per_cent(
        {
            named(ALIGNED, 8): ((47.58, 0.24), (44.54, 0.24)),
            named(FGSM_RS, 8): ((45.10, 0.56), (42.80, 0.58)),
            named(ALIGNED, 16): ((28.88, 0.70), (20.56, 0.36)),
        },
        ("robust_accuracy", AUTOATTACK),
    ),
    claims=(
        Claim(text="AutoAttack finds at most 10 points more than PGD-50-10", holds=_close),
        Claim(text="alignment is better than a random start under it, at 8/255", holds=_better),
    ),
    draw=bars,
    lines=lines_by_network,
    measures=("clean_accuracy", "robust_accuracy", AUTOATTACK, AUTOATTACK + SPREAD),
    remarks="The quick size has the fast protocol in the place of AutoAttack.",
)
