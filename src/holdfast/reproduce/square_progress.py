"""What the Square Attack draws: images and perturbations after 10, 100 and 500 queries.

The schedule is not stretched to the budget, so that a run of 10 queries is the beginning of one of
500; the margin under each picture falls until it is not positive.

Source: Andriushchenko 2024, Figs 3.2, 3.3, 3.7 and 3.8 (sec 3.12.5).
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from holdfast.attacks.square import Square
from holdfast.measures.queries import Queries
from holdfast.reproduce.figures import pictures
from holdfast.reproduce.records import Claim, Finding, Lines, Reproduction, Row, Size
from holdfast.reproduce.subjects import DIGITS, RESNET50, ROBUST_MNIST

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BUDGETS = (2, 10, 100, 500)  # the first is the start and one proposal
SHOWN = 3
NORMS = ("linf", "l2")


def named(norm: str, budget: int) -> str:
    """The row of a norm and a budget."""
    return f"{norm}: {budget} queries"


def rows(size: Size) -> Sequence[Row]:
    """One for each norm and budget."""
    return [
        Row(
            name=named(norm, budget),
            subject=size.subjects[0],
            threat=threat,
            attack=Square(queries=budget, p_init=p, rescale=False),
            keep=True,
        )
        for norm, threat, p in zip(NORMS, size.threats, size.fractions, strict=True)
        for budget in BUDGETS
        if budget <= size.queries
    ]


def with_margins(
    outcomes: Mapping[str, Queries], columns: Mapping[str, Mapping[str, Tensor]]
) -> Lines:
    """The statistics of each row, and the mean margin over the images that were right."""
    found: Lines = {}
    for name, each in outcomes.items():
        right = columns[name]["margin"][each.correct].double()
        mean = {"mean_margin": float(right.mean()) if len(right) else None}
        found[name] = {**each.statistics(), **mean}
    return found


def draw(finding: Finding, entry: Reproduction) -> "Figure":
    """For each norm and image a row of pictures and one of perturbations, which are amplified to
    fill the range of grey."""
    images: list[list[Tensor]] = []
    titles: list[list[str]] = []
    for norm in NORMS:
        kept = {b: finding.columns[r] for b in BUDGETS if (r := named(norm, b)) in finding.columns}
        for at in chosen(kept):
            points = {budget: each["x_adv"][at] for budget, each in kept.items()}
            margins = {budget: float(each["margin"][at]) for budget, each in kept.items()}
            clean = kept[min(kept)]["x"][at]
            images.append(list(points.values()))
            titles.append([f"{norm}, {b} queries\nmargin {margins[b]:.2f}" for b in points])
            images.append([amplified(each - clean) for each in points.values()])
            titles.append(["perturbation"] * len(points))
    return pictures(images, titles)


def chosen(kept: Mapping[int, Mapping[str, Tensor]]) -> list[int]:
    """The images that take longest, at most three: right at the start, and with most queries."""
    last = kept[max(kept)]
    spent = torch.where(last["correct"], last["queries"], -1)
    order = spent.argsort(descending=True, stable=True)[:SHOWN]
    return [int(at) for at in order if spent[at] >= 0]


def amplified(delta: Tensor) -> Tensor:
    """A perturbation (C, H, W) stretched to [0, 1], with 0.5 for no change."""
    return 0.5 + 0.5 * delta / delta.abs().amax().clamp_min(1e-12)


def _falling(lines: Lines) -> bool:
    for norm in NORMS:
        found = [lines[r]["mean_margin"] for b in BUDGETS if (r := named(norm, b)) in lines]
        margins = [each for each in found if each is not None]
        if margins != sorted(margins, reverse=True) or len(margins) < 2:
            return False
    return True


REPRODUCTION = Reproduction(
    id="square-progress",
    title="Square Attack: pictures on the way",
    thesis="Andriushchenko 2024",
    source="Figs 3.2, 3.3, 3.7 and 3.8",
    needs=("ImageNet validation images", "torchvision ResNet-50"),
    setting="ImageNet, ResNet-50, linf 0.05 and l2 5, pictures at 10, 100 and 500 iterations",
    sizes=(
        Size(
            name="quick",
            subjects=(DIGITS,),
            threats=("linf:0.1", "l2:0.7"),
            fractions=(0.3, 0.1),
            images=6,
            queries=10,
            minutes=0.02,
            note="8x8 digits, to 10 queries",
        ),
        Size(
            name="scaled",
            subjects=(ROBUST_MNIST,),
            threats=("linf:0.3", "l2:2"),
            fractions=(0.8, 0.1),
            images=50,
            queries=500,
            minutes=0.5,
            note="the fast-FGSM MNIST network, linf 0.3, l2 2",
        ),
        Size(
            name="published",
            subjects=(RESNET50,),
            threats=("linf:0.05", "l2:5"),
            fractions=(0.05, 0.1),
            images=10,
            queries=500,
            minutes=20,
        ),
    ),
    rows=rows,
    published={},
    claims=(Claim(text="the mean margin falls with the queries, in both norms", holds=_falling),),
    draw=draw,
    measures=("mean_margin", "failure_rate"),
    lines=with_margins,
    remarks="Perturbations are amplified to the full range of grey. The published figures have no "
    "numbers.",
)
