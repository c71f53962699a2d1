"""What a robust network's certificates look like: radii, index sets, and the detector.

The radii of Fig 3.7 are the largest at which the dual bound certifies the network's own class; the
index sets of Fig 3.11 are the shares of units that are off, on or unstable at the radius of the
training; the detector of Cor. 2 flags what it cannot certify.

Source: Wong 2020, sec 3.1.5 (Cor. 2, Eq. 3.29) and sec 3.3.1, Figs 3.7 and 3.11.
Departures: test images, where the index sets of the thesis are of training images.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from holdfast.attacks.pgd import PGD
from holdfast.certify.bounds.linear import CROWN
from holdfast.certify.graphs.graph import Graph, capture
from holdfast.certify.radii.radius import Bisection
from holdfast.certify.studies.detector import Detector
from holdfast.certify.studies.index_sets import index_sets
from holdfast.core.random import Keys
from holdfast.models.registry import build_model
from holdfast.models.store import load_weights
from holdfast.report.certified_radii import Profile, paint_profile
from holdfast.reproduce.computations import (
    SEPARATOR,
    Bench,
    ComputedRow,
    columns_of,
    lines_by_network,
)
from holdfast.reproduce.figures import blank
from holdfast.reproduce.orderings import above, figure
from holdfast.reproduce.records import Claim, Finding, Lines, Reproduction, Size
from holdfast.reproduce.trainings import TrainedRow
from holdfast.threats.balls import Linf

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STANDARD, ROBUST = "standard", "robust"
FILES = {STANDARD: "mnist_conv_standard", ROBUST: "mnist_conv_dual_linf0.1"}
RECIPES = {STANDARD: "digits-standard", ROBUST: "digits-interval"}
EPS, LAYERS = 0.1, 3
MEASURES = (
    "clean_accuracy",
    "median_radius",
    "certified_accuracy",
    "false_positive_rate",
    "missed_rate",
    *(f"{kind}_share_{layer}" for layer in range(1, LAYERS + 1) for kind in ("off", "unstable")),
)


def rows(size: Size) -> Sequence[TrainedRow | ComputedRow]:
    """The published networks, or digits trained on the spot at the quick size."""
    if size.name != "quick":
        return [_computed(size, kind, partial(_file, FILES[kind])) for kind in FILES]
    found: list[TrainedRow | ComputedRow] = []
    for kind, recipe in RECIPES.items():
        row = TrainedRow(name=kind, recipe=recipe, changes=size.changes, measured=())
        found += [row, _computed(size, kind, partial(_trained, row))]
    return found


def _computed(size: Size, kind: str, load: Callable[[Bench], nn.Module]) -> ComputedRow:
    data = "digits" if size.name == "quick" else "mnist"
    return ComputedRow(
        name=f"{kind}{SEPARATOR}certificates",
        computes=f"radii, index sets and flags of {size.images} test images",
        compute=partial(_measured, load, data),
    )


def _file(name: str, bench: Bench) -> nn.Module:
    model = build_model("mnist_conv")
    load_weights(model, bench.place.data / "models" / f"{name}.safetensors")
    return model.to(bench.device).eval()


def _trained(row: TrainedRow, bench: Bench) -> nn.Module:
    ((_, network),) = bench.networks(row)
    return network


def _measured(load: Callable[[Bench], nn.Module], data: str, bench: Bench) -> Mapping[str, Tensor]:
    model, images = load(bench), bench.data(data)
    x, y = images.inputs(), images.labels
    graph, threat = capture(model, x.shape[1:]), Linf(EPS)
    with torch.no_grad():
        prediction = graph.forward(x).argmax(dim=1)
    right = prediction == y
    radii = Bisection().find(graph, x, None, Linf(2 * EPS)).radius
    flags = Detector(bounds=CROWN()).flag(graph, x, threat)
    figures = {
        "clean_accuracy": float(right.double().mean()),
        "median_radius": float(radii.median()),
        "certified_accuracy": float((right & ~flags.flagged).double().mean()),
        "false_positive_rate": flags.rate,
        "missed_rate": _missed(model, graph, x, prediction, bench.seed),
    }
    shares = _shares(graph, x)
    return columns_of(**figures, **shares) | {"radii": radii.float().cpu(), "right": right.cpu()}


def _missed(model: nn.Module, graph: Graph, x: Tensor, clean: Tensor, seed: int) -> float:
    """The share of inputs that an attack moved into another class and the detector accepts."""
    threat, keys = Linf(EPS), Keys.of(seed, range(len(x)), device=x.device)
    found = PGD(steps=20, step_size="eps/4").run(model, x, clean, threat, keys=keys)
    flags = Detector(bounds=CROWN()).flag(graph, found.x_adv, threat)
    crossed = flags.prediction != clean
    return float((crossed & ~flags.flagged).sum() / crossed.sum().clamp_min(1))


def _shares(graph: Graph, x: Tensor) -> dict[str, float]:
    """Mean shares of the units of each layer."""
    return {
        f"{kind}_share_{layer}": float(sets.share(kind).mean())
        for layer, sets in enumerate(index_sets(CROWN(), graph, x, Linf(EPS, box=None)), start=1)
        for kind in ("off", "on", "unstable")
    }


def draw(finding: Finding, entry: Reproduction) -> "Figure":
    """Radii in ascending order on the left, index sets on the right."""
    picture, (left, right) = blank(10.5, 3.8, 2)
    profiles = {}
    for kind in FILES:
        columns = finding.columns[f"{kind}{SEPARATOR}certificates"]
        profiles[kind] = Profile(columns["radii"].tolist(), columns["right"].tolist())
    paint_profile(left, profiles, EPS)
    left.set_title("certified radii, sorted", fontsize=11, loc="left")
    left.legend(frameon=False, fontsize=9, loc="upper left")
    _stacks(right, finding.lines)
    right.set_title("units off, on, unstable", fontsize=11, loc="left")
    return picture


def _stacks(axes: "Axes", lines: Lines) -> None:
    names = [(kind, layer) for layer in range(1, LAYERS + 1) for kind in FILES]
    start = [0.0] * len(names)
    for colour, which in (("#7a8792", "off"), ("#0a5fa3", "on"), ("#b04508", "unstable")):
        shares = [lines[kind].get(f"{which}_share_{layer}") or 0.0 for kind, layer in names]
        axes.barh(range(len(names)), shares, left=start, color=colour, height=0.7, label=which)
        start = [one + other for one, other in zip(start, shares, strict=True)]
    axes.set_yticks(range(len(names)), [f"layer {layer}, {kind}" for kind, layer in names])
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.grid(visible=False)
    axes.legend(frameon=False, fontsize=9, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.08))


def _few_open(lines: Lines) -> bool:
    """Few units of any layer of the robust network are unstable; the last is mostly off."""
    shares = [figure(lines, ROBUST, f"unstable_share_{layer}") for layer in range(1, LAYERS + 1)]
    return max(shares) < 0.1 and figure(lines, ROBUST, f"off_share_{LAYERS}") > 0.85


def _none_missed(lines: Lines) -> bool:
    return all(figure(lines, kind, "missed_rate") == 0 for kind in FILES)


REPRODUCTION = Reproduction(
    id="provable-radii",
    title="Certified radii, index sets and the detector of a robust MNIST network",
    thesis="Wong 2020",
    source="Cor. 2, Figs 3.7 and 3.11 (sec 3.1.5 and 3.3.1)",
    needs=("MNIST", "the published MNIST networks"),
    setting="MNIST, the networks of Table 3.1, linf 0.1, radii by Newton's method",
    sizes=(
        Size(
            name="quick",
            recipes=tuple(RECIPES.values()),
            changes={"training.epochs": 1, "selection.choose": "last"},
            images=10,
            minutes=0.2,
            note="digits, one epoch, 10 images",
        ),
        Size(name="scaled", images=100, minutes=4, note="100 test images, radii by bisection"),
    ),
    rows=rows,
    published={
        STANDARD: {"clean_accuracy": 0.9893, "median_radius": 0.007},
        ROBUST: {"clean_accuracy": 0.9820, "median_radius": 0.1, "certified_accuracy": 0.9418},
    },
    claims=(
        above("the robust network's radii are larger", ROBUST, STANDARD, "median_radius"),
        Claim(
            text="robust network: few units unstable, the last layer mostly off", holds=_few_open
        ),
        Claim(text="the detector misses no adversarial example", holds=_none_missed),
        Claim(
            text="the robust network's detector flags fewer clean images",
            holds=lambda lines: (
                figure(lines, ROBUST, "false_positive_rate")
                < figure(lines, STANDARD, "false_positive_rate")
            ),
        ),
    ),
    draw=draw,
    measures=MEASURES,
    lines=lines_by_network,
    tolerance={"clean_accuracy": (0.02, 0.0)},
    remarks="The published radii are read from the text: about 0.007 and 0.1.",
)
