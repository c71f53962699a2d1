"""FLOPs of bounds on fully connected networks, counted, beside the orders of a published table.

For widths n and numbers of layers L, one image, K = 10 classes, M inputs, the floating-point
operations of matrix products are counted by `torch.utils.flop_counter` (2 per multiply-add) while a
method bounds the K - 1 margins. All units are bounded (`schedule="plain"`), at a radius at which
most are open, in mode `fast`, so that nothing is spent on rounding. The fitted exponent of n is
that between the two largest widths; that of L is over the number of maps from width to width,
L - 3, between the two largest depths.

    python benchmarks/bound_flops.py --out benchmarks/results/bound_flops.json

Published orders: Liu 2022, Table 3.4 (n the width, n >> max(K, M)).
"""

import argparse
import json
import math
from itertools import pairwise
from pathlib import Path

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from holdfast.certify import CROWN, CrownIBP, Dual, Interval, capture, margin_rows
from holdfast.certify.bounds.estimates import Projected
from holdfast.certify.bounds.forward import Forward
from holdfast.certify.bounds.mixed import IntervalLinear
from holdfast.certify.graphs.graph import Graph
from holdfast.core.random import Keys
from holdfast.threats import Linf

INPUTS, CLASSES, RADIUS = 16, 10, 0.1
METHODS = {
    "forward pass": (None, "L n^2"),
    "interval": (Interval(mode="fast"), "L n^2"),
    "dual (KW, Fast-Lin)": (Dual(mode="fast", schedule="plain"), "L^2 n^3"),
    "crown": (CROWN(mode="fast", schedule="plain"), "L^2 n^3"),
    "crown-ibp": (CrownIBP(mode="fast", schedule="plain"), "L n^2 K"),
    "interval-linear (I-PER, a)": (IntervalLinear(mode="fast", schedule="plain"), "L n^2 K"),
    "forward parallel (I-PER, b)": (
        Forward(mode="fast", schedule="plain", lines="parallel"),
        "L M n^2",
    ),
    "forward adaptive": (Forward(mode="fast", schedule="plain"), "L M n^2"),
    "forward symbols (LA, L-PER)": (
        Forward(mode="fast", schedule="plain", lines="symbols"),
        "L^2 n^3",
    ),
    "projected, r = 50": (Projected(mode="fast", schedule="plain", samples=50), "L^2 n^2 r"),
}
PRINTED = {
    "interval": "O(L n^2)",
    "dual (KW, Fast-Lin)": "O(L^2 n^3)",
    "crown": "O(L^2 n^3)",
    "crown-ibp": "O(L n^3)",
    "interval-linear (I-PER, a)": "O(L M n^2)",
    "forward parallel (I-PER, b)": "O(L M n^2)",
    "forward symbols (LA, L-PER)": "O(L^2 n^3)",
}


def network(width: int, layers: int) -> Graph:
    """A captured network with `layers` - 1 linear maps and keyed weights."""
    sizes = [INPUTS, *(width,) * (layers - 2), CLASSES]
    modules: list[nn.Module] = []
    for before, after in pairwise(sizes):
        modules += [nn.Linear(before, after), nn.ReLU()]
    model = nn.Sequential(*modules[:-1])
    with torch.no_grad():
        for index, tensor in enumerate(model.parameters()):
            scale = math.sqrt(2 / tensor.shape[1]) if tensor.ndim == 2 else 0.01
            tensor.copy_(scale * Keys.of(width + layers, [index]).normal(tuple(tensor.shape))[0])
    return capture(model, (INPUTS,))


def count(method: object, graph: Graph) -> tuple[int, dict[str, float]]:
    """The FLOPs of one image, and the cost that the method states."""
    keys = Keys.of(0, [0])
    x = keys.uniform((INPUTS,))
    rows, threat = margin_rows(torch.tensor([0]), CLASSES), Linf(RADIUS, box=None)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        if method is None:
            graph.forward(x)
            cost = {"forwards": 1.0}
        else:
            cost = method.bound(graph, x, threat, rows, keys=keys).cost
    return counter.get_total_flops(), cost


def exponent(first: tuple[int, int], second: tuple[int, int]) -> float:
    """The slope between two points in logarithms."""
    return math.log(second[1] / first[1]) / math.log(second[0] / first[0])


def main() -> None:
    """Counts, prints a table, and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--widths", type=int, nargs="+", default=[64, 128, 256, 512])
    parser.add_argument("--layers", type=int, nargs="+", default=[6, 10, 18])
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    base, depth = options.widths[-2], options.layers[0]
    by_width = {width: network(width, depth) for width in options.widths}
    by_depth = {layers: network(base, layers) for layers in options.layers}
    records = []
    for name, (method, expected) in METHODS.items():
        over_width = {width: count(method, graph)[0] for width, graph in by_width.items()}
        over_depth = {layers: count(method, graph)[0] for layers, graph in by_depth.items()}
        wide = list(over_width.items())[-2:]
        deep = [(layers - 3, flops) for layers, flops in over_depth.items()][-2:]
        cost = count(method, by_width[base])[1]
        records.append({
            "method": name, "flops_by_width": over_width, "flops_by_layers": over_depth,
            "exponent_of_n": round(exponent(*wide), 2), "exponent_of_L": round(exponent(*deep), 2),
            "expected_here": expected, "printed": PRINTED.get(name), "stated_cost": cost,
        })  # fmt: skip
        print(f"{name:30} {over_width[base]:>15,} n^{exponent(*wide):.2f} L^{exponent(*deep):.2f}")
    result = {
        "what": "FLOPs of bounds on fully connected networks, one image",
        "setting": {"inputs": INPUTS, "classes": CLASSES, "radius": RADIUS, "layers": depth,
                    "width": base, "torch": torch.__version__},
        "methods": records,
    }  # fmt: skip
    if options.out:
        options.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
