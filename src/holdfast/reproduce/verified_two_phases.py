"""The certified radius over the radius that bounds are made for: two phases.

Up to some eps* the certificate holds and the envelope's radius is eps itself. Beyond, a one-shot
certificate gives nothing, while the envelope's radius falls gradually: its planes move towards the
input as the relaxation loosens.

Source: Liu 2022, sec 3.3.2, Fig 3.6.
Departures: other networks than the thesis's (MMR+at, fully connected); the first image that is
classified correctly, where the thesis draws one at random.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from holdfast.certify.bounds.linear import Dual
from holdfast.certify.graphs.graph import capture
from holdfast.certify.radii.envelope import PEC
from holdfast.certify.spec import margin_rows
from holdfast.reproduce.computations import Bench, ComputedRow
from holdfast.reproduce.figures import sweep
from holdfast.reproduce.orderings import figure
from holdfast.reproduce.records import Claim, Lines, Reproduction, Size
from holdfast.reproduce.subjects import DIGITS, Subject
from holdfast.reproduce.verified_columns_mnist import DUAL_MNIST
from holdfast.threats.balls import Linf

CURVE = "one image"
RADII = (
    *(round(0.02 * step, 4) for step in range(1, 6)),
    *(round(0.1 + 0.0025 * step, 4) for step in range(1, 17)),
)
ENVELOPE, ONE_SHOT = "envelope_radius", "one_shot_radius"


def rows(size: Size) -> Sequence[ComputedRow]:
    """The curve of one image."""
    subject = DIGITS if size.name == "quick" else DUAL_MNIST
    what = f"certified radii of an image over the radius of the threat, {subject.name}"
    return [ComputedRow(name=CURVE, computes=what, compute=partial(_curve, subject))]


def _curve(subject: Subject, bench: Bench) -> Mapping[str, Tensor]:
    """By radius: what the envelope certifies, and what a one-shot certificate does."""
    loaded = subject.load(bench.place, bench.images).to(bench.device)
    model: Any = loaded.model
    x, y = loaded.x.to(bench.device), loaded.y.to(bench.device)
    with torch.no_grad():
        right = (model(x).argmax(dim=1) == y).nonzero()[0]
    x, y = x[right], y[right]
    graph = capture(model, x.shape[1:])
    spec = margin_rows(y, graph.output_shape[0])
    pec = PEC(method=Dual(), intervals=False)
    found = torch.cat([pec.radius(graph, x, Linf(eps), spec).cpu() for eps in RADII]).double()
    eps = torch.tensor(RADII, dtype=torch.float64)
    return {"eps": eps, ENVELOPE: found, ONE_SHOT: torch.where(found >= eps, eps, 0.0)}


def name_of(eps: float) -> str:
    """The line of a radius."""
    return f"linf {eps:g}"


def lines_by_radius(outcomes: object, columns: Mapping[str, Mapping[str, Tensor]]) -> Lines:
    """A line for each radius."""
    del outcomes
    curve = columns[CURVE]
    return {
        name_of(eps): {key: float(curve[key][at]) for key in (ENVELOPE, ONE_SHOT)}
        for at, eps in enumerate(RADII)
    }


def _together(lines: Lines) -> bool:
    """Where the one-shot certificate holds both are the radius itself, from the smallest on."""
    held = [figure(lines, name_of(eps), ONE_SHOT) > 0 for eps in RADII]
    count = sum(held)
    same = [figure(lines, name_of(eps), ENVELOPE) == eps for eps in RADII[:count]]
    return 0 < count < len(RADII) and all(held[:count]) and all(same)


def _gradual(lines: Lines) -> bool:
    """At the first radius where the one-shot certificate fails the envelope still has one."""
    fails = [name_of(eps) for eps in RADII if figure(lines, name_of(eps), ONE_SHOT) == 0]
    return bool(fails) and figure(lines, fails[0], ENVELOPE) > 0


REPRODUCTION = Reproduction(
    id="verified-two-phases",
    title="Two phases: the certified radius over the radius that bounds are made for",
    thesis="Liu 2022",
    source="Fig 3.6 (sec 3.3.2)",
    needs=("MNIST", "models/mnist_conv_dual_linf0.1.safetensors"),
    setting="one MNIST image, fully connected network trained by MMR+at, linf",
    sizes=(
        Size(name="quick", images=5, minutes=0.1, note="digits"),
        Size(
            name="scaled",
            images=5,
            minutes=0.2,
            note="a convolutional network trained by the dual bound at linf 0.1",
        ),
    ),
    rows=rows,
    published={},
    measures=(ENVELOPE, ONE_SHOT),
    claims=(
        Claim(text="up to a radius both certify all of it", holds=_together),
        Claim(text="beyond, the envelope certifies a smaller radius", holds=_gradual),
    ),
    draw=sweep({"one image": {eps: name_of(eps) for eps in RADII}}, "radius of the threat"),
    lines=lines_by_radius,
    remarks="The figure is printed without numbers.",
)
