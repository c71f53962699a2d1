"""What a search for the largest certified radius costs: bound computations per image.

Bisection always takes log2(range / precision); the envelope raises the lower end as well, and
needs fewer. A secant on the bounds, which is ours, needs about half.

Source: Liu 2022, sec 3.3.2, Alg. 3.5 and Table 3.9.
Departures: other networks (`verified_columns_mnist`); misclassified images, which have no radius,
are left out of the means.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from torch import Tensor

from holdfast.certify.graphs.graph import capture
from holdfast.certify.radii.envelope_search import EnvelopeSearch
from holdfast.certify.radii.radius import Search
from holdfast.certify.radii.secant import Secant
from holdfast.reproduce.computations import Bench, ComputedRow, columns_of
from holdfast.reproduce.figures import bars
from holdfast.reproduce.orderings import figure
from holdfast.reproduce.records import Claim, Lines, Reproduction, Size
from holdfast.reproduce.subjects import DIGITS, STANDARD_MNIST, Subject
from holdfast.reproduce.verified_columns_mnist import DUAL_MNIST
from holdfast.reproduce.verified_tables import SEARCH, SEARCH_SETTINGS
from holdfast.threats.text import parse

LOOKS, RATIO, HALVED = "mean_looks", "ratio_to_bisection", "bisection_looks"
SECANT, RADIUS = "mean_secant_looks", "mean_certified_radius"
_SUBJECTS: Mapping[str, Subject] = {"plain": STANDARD_MNIST, "KW": DUAL_MNIST}
_THREATS = {"linf": "linf:0.4", "l2": "l2:1.2"}
_BISECTION = {"linf": 12, "l2": 14}
_FC1, _CNN = "MNIST FC1", "MNIST CNN"


def rows(size: Size) -> Sequence[ComputedRow]:
    """One for each network and norm."""
    subjects = {"plain": DIGITS} if size.name == "quick" else _SUBJECTS
    return [
        ComputedRow(
            name=f"{_CNN} {norm}: {name}",
            computes=f"looks of searches up to {_THREATS[norm]} on {subject.name}",
            compute=partial(_searched, subject, norm),
        )
        for norm in (("linf",) if size.name == "quick" else _THREATS)
        for name, subject in subjects.items()
    ]


def _searched(subject: Subject, norm: str, bench: Bench) -> Mapping[str, Tensor]:
    """The mean looks of the published search and of a secant."""
    loaded = subject.load(bench.place, bench.images).to(bench.device)
    model: Any = loaded.model
    x, y = loaded.x.to(bench.device), loaded.y.to(bench.device)
    graph, threat = capture(model, x.shape[1:]), parse(_THREATS[norm])

    def looks(search: Search) -> tuple[float, float]:
        found = search.find(graph, x, y, threat)  # type: ignore[arg-type]
        searched = found.evaluations > 0
        mean = found.evaluations[searched].double().mean()
        return float(mean), float(found.radius[searched].mean())

    mean, radius = looks(EnvelopeSearch(intervals=False))
    secant, _ = looks(Secant())
    figures = {LOOKS: mean, RATIO: mean / _BISECTION[norm], HALVED: _BISECTION[norm]}
    return columns_of(**figures, **{SECANT: secant, RADIUS: radius})


def _published() -> dict[str, dict[str, float]]:
    """Table 3.9."""
    found = {}
    for name, means in SEARCH.items():
        for (setting, halved), mean in zip(SEARCH_SETTINGS.items(), means, strict=True):
            ratio = round(mean / halved, 4)
            found[f"{setting}: {name}"] = {LOOKS: mean, RATIO: ratio, HALVED: halved}
    return found


def _fewer(lines: Lines) -> bool:
    """On every network fewer looks than bisection."""
    return all(figure(lines, name, LOOKS) < figure(lines, name, HALVED) for name in lines)


def _saved(lines: Lines, network: str) -> float:
    """The mean share of looks saved on a network's lines."""
    ratios = [figure(lines, name, RATIO) for name in lines if name.startswith(network)]
    if not ratios:
        raise KeyError(network)
    return 1 - sum(ratios) / len(ratios)


REPRODUCTION = Reproduction(
    id="verified-radius-search",
    title="Bound computations of a search for the largest certified radius",
    thesis="Liu 2022",
    source="Table 3.9 (sec 3.3.2)",
    needs=("MNIST", "models/mnist_conv_*.safetensors", "CIFAR-10"),
    setting="7 trainings, two networks, MNIST and CIFAR-10, linf and l2, precision 1e-4",
    sizes=(
        Size(name="quick", images=5, minutes=0.1, note="digits"),
        Size(
            name="scaled",
            images=20,
            minutes=3,
            note="20 images; published convolutional networks of other work on MNIST",
        ),
        Size(
            name="published",
            images=10_000,
            minutes=1500,
            note="published convolutional networks of other work on MNIST",
        ),
    ),
    rows=rows,
    published=_published(),
    measures=(LOOKS, RATIO, HALVED, SECANT, RADIUS),
    claims=(
        Claim(text="the envelope needs fewer looks than bisection, everywhere", holds=_fewer),
        Claim(
            text="about a tenth is saved on convolutional networks",
            holds=lambda lines: 0.01 < _saved(lines, _CNN) < 0.2,
        ),
        Claim(
            text="about a quarter is saved on fully connected networks, more than on others",
            holds=lambda lines: _saved(lines, _FC1) > max(0.2, _saved(lines, _CNN)),
        ),
    ),
    draw=bars,
    remarks=(
        "The precision is not printed; 1e-4 follows from the bound computations of a bisection. "
        "Published networks are not available; those here have the architecture of the CNN."
    ),
)
