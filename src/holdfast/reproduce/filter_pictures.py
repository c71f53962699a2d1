"""Pictures of the filters of a four-filter network: their norms, weights and answers.

    norms:     ||w_i|| and ||u_i|| over the epochs; those of the filter that overfits grow
    weights:   each filter's channels, before training and after
    answers:   the feature maps relu(w_i * x + b_i) and relu(w_i * (x + eta) + b_i), eta uniform in
               the ball, with the input gradients at both points

Weights, answers and gradients are drawn from blue, the most negative, over white to red.

Source: Andriushchenko 2024, Figs 2.5 to 2.7 and 2.11 to 2.13.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.measures.filters import feature_maps, filter_norms, layers
from holdfast.models.store import load_model
from holdfast.reproduce.figures import COLOURS, DASHES, INK, MUTED, learning_curves
from holdfast.reproduce.records import NOT_PUBLISHED, Finding, Reproduction
from holdfast.threats.protocol import Threat

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure

    from holdfast.reproduce.figures import Draw

EPOCHS, WEIGHTS, OUTGOING = "picture.epochs", "picture.weights", "picture.outgoing"
BEFORE, AFTER = "picture.filters_before", "picture.filters_after"
POINTS, ANSWERS, SLOPES = "picture.points", "picture.answers", "picture.gradients"


def norms_over_epochs(files: Mapping[int, Path]) -> dict[str, Tensor]:
    """The sizes of the filters in every checkpoint kept: columns (E,), (E, m) and (E, m).

    Args:
        files: of the weights, by epoch.
    """
    found = [filter_norms(load_model(file)[0]) for file in files.values()]
    return {
        EPOCHS: torch.tensor(list(files), dtype=torch.float64),
        WEIGHTS: torch.stack([each.weights for each in found]),
        OUTGOING: torch.stack([each.outgoing for each in found]),
    }


def filters(start: nn.Module, end: nn.Module) -> dict[str, Tensor]:
    """The filters before and after training, (m, C, h, w) each."""
    before, after = (layers(each)[0].weight.detach().cpu().clone() for each in (start, end))
    return {BEFORE: before, AFTER: after}


def answers(
    network: nn.Module, x: Tensor, y: Tensor, threat: Threat, keys: Keys
) -> dict[str, Tensor]:
    """What one example and a random point around it look like to the filters.

    Args:
        x: (1, C, H, W), whose answers are looked at.
        y: (1,) its label.
        keys: (1,) of the noise.

    Returns:
        columns: the two points (2, C, H, W), the feature maps (2, m, H, W), the input gradients
        (2, C, H, W).
    """
    points = torch.cat([x, threat.sample(x, keys=keys.fold("noise"))])
    seen = feature_maps(network, points)

    def loss(logits: Tensor) -> Tensor:
        return cross_entropy(logits, y.expand(2), reduction="none")

    slopes = FrozenModel(network, device=x.device).value_and_grad(points, loss)[2]
    found = {POINTS: points, ANSWERS: seen, SLOPES: slopes}
    return {name: each.detach().cpu() for name, each in found.items()}


def with_filters(figures: Sequence[str], row: str) -> "Draw":
    """Learning curves, the norms of the filters, and their pictures, one below the other.

    Args:
        figures: keys of the history of the training, as in `over_epochs`.
        row: whose columns hold the pictures.
    """

    def draw(finding: Finding, entry: Reproduction) -> "Figure":
        from matplotlib.figure import Figure

        columns = finding.columns.get(row, {})
        figure = Figure(figsize=(11.5, 12), layout="constrained", facecolor="white")
        parts: Any = figure.subfigures(4, 1, height_ratios=(3.2, 3, 2.4, 3.4))
        curves, norms, weights, seen = parts
        trainings = {name: name for name in finding.columns if name != row}
        panels = curves.subplots(1, len(figures), squeeze=False)[0]
        learning_curves(panels, finding, figures, trainings)
        if BEFORE in columns:
            _norms(norms, columns)
            _grid(weights, [_channels(columns[each]) for each in (BEFORE, AFTER)], _names(columns))
            _seen(seen, columns)
        if finding.size.note:
            figure.suptitle(NOT_PUBLISHED, fontsize=9, color=MUTED, x=0.99, ha="right")
        return figure

    return draw


def _norms(part: "SubFigure", columns: Mapping[str, Tensor]) -> None:
    titles = {WEIGHTS: "norm of the filter", OUTGOING: "norm of its outgoing weights"}
    for axes, (name, title) in zip(part.subplots(1, 2), titles.items(), strict=True):
        for at, norms in enumerate(columns[name].unbind(1)):
            style = {"color": COLOURS[at % len(COLOURS)], "linestyle": DASHES[at % len(DASHES)]}
            axes.plot(
                columns[EPOCHS].tolist(),
                norms.tolist(),
                marker="o",
                ms=3,
                label=f"filter {at + 1}",
                **style,
            )
        axes.set_title(title, fontsize=10, color=INK, loc="left")
        axes.set_xlabel("epoch", color=MUTED)
        axes.set_ylim(bottom=0)
    part.axes[0].legend(frameon=False, fontsize=8)


def _seen(part: "SubFigure", columns: Mapping[str, Tensor]) -> None:
    """The image, its gradient, and each filter's answer; below with noise."""
    looks = zip(columns[POINTS], columns[SLOPES], columns[ANSWERS], strict=True)
    rows = [
        [("image", point), ("gradient", slope.mean(dim=0)), *(("answer", each) for each in maps)]
        for point, slope, maps in looks
    ]
    names = [f"filter {at + 1}" for at in range(columns[ANSWERS].shape[1])]
    _grid(part, rows, [["image", "gradient", *names], ["with noise", "gradient", *names]])


Picture = tuple[str, Tensor]


def _channels(kernels: Tensor) -> list[Picture]:
    """Every channel of every filter, filter by filter."""
    return [("weights", channel) for kernel in kernels for channel in kernel]


def _names(columns: Mapping[str, Tensor]) -> list[list[str]]:
    count, channels = columns[BEFORE].shape[:2]
    letters = {1: [""], 3: [" R", " G", " B"]}.get(channels, [f".{c}" for c in range(channels)])
    return [
        [f"{when} {at + 1}{letter}" for at in range(count) for letter in letters]
        for when in ("before", "after")
    ]


def _grid(
    part: "SubFigure", rows: Sequence[Sequence[Picture]], titles: Sequence[Sequence[str]]
) -> None:
    """Pictures in rows: images as they are, signed values on one scale for each kind of a row."""
    grid = part.subplots(len(rows), max(map(len, rows)), squeeze=False)
    for line, pictures, names in zip(grid, rows, titles, strict=True):
        most: dict[str, float] = {}
        for kind, values in pictures:
            most[kind] = max(most.get(kind, 1e-12), float(values.abs().amax()))
        for axes, (kind, values), name in zip(line, pictures, names, strict=True):
            axes.set_axis_off()
            axes.set_title(name, fontsize=7, color=INK)
            if kind == "image":
                axes.imshow(
                    values.clamp(0, 1).permute(1, 2, 0).numpy(), cmap="gray", vmin=0, vmax=1
                )
            else:
                axes.imshow(values.numpy(), cmap="RdBu_r", vmin=-most[kind], vmax=most[kind])
