"""How close linear bounds come to the linear programme over the same boxes, on three networks.

Wong and Kolter 2018 (Theorem 1) show that the dual bound with the best slopes is the optimum of the
programme; how much the fixed slope loses depends on the network: little where it was trained with
the bound, much where it was not (Wong 2020, Fig. 3.8). Measured for all margins of a few images:

    gap = programme - bound,   loss = gap / (margin of the image - programme)

for the dual bound (against the programme over its own boxes), CROWN and alpha-CROWN (over CROWN's),
with CPU milliseconds per image.

Run: `python benchmarks/lp_against_dual.py [--images 20] [--out FILE]`
"""

import argparse
import json
import os
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from torch import Tensor, nn

from holdfast.certify import CROWN, AlphaCrown, Dual, capture, margin_rows
from holdfast.certify.solvers.lp import LP
from holdfast.data.load import load_data
from holdfast.models.registry import build_model
from holdfast.models.store import load_weights
from holdfast.threats import Linf

NETS = {
    "trained with the dual bound": ("mnist_conv_dual_linf0.1", 0.12),
    "trained ordinarily": ("mnist_conv_standard", 0.02),
    "random": (None, 0.02),
}
PAIRS = {
    "dual": (Dual(), LP(boxes="parallel", plain=True, seconds=120.0)),
    "crown": (CROWN(), LP(plain=True, seconds=120.0)),
    "alpha-crown": (AlphaCrown(), LP(plain=True, seconds=120.0)),
}


def network(name: str | None, data_dir: str) -> nn.Module:
    """A published network, or one with keyed random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build_model("mnist_conv")
    if name is not None:
        load_weights(model, Path(data_dir) / f"models/{name}.safetensors")
    return model.eval().requires_grad_(False)


def timed(method: Dual | CROWN | AlphaCrown | LP, *problem: object) -> tuple[Tensor, float]:
    begin = time.process_time()
    lower = method.bound(*problem).lower  # type: ignore[arg-type]
    return lower, time.process_time() - begin


def compare(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> dict[str, dict[str, float]]:
    """The gaps of one network, over rows that the bound leaves open and over all rows."""
    graph, rows = capture(model, (1, 28, 28)), margin_rows(y, 10)
    margin = (rows @ model(x).unsqueeze(2)).squeeze(2)
    found = {}
    for name, (method, programme) in PAIRS.items():
        bound, seconds = timed(method, graph, x, Linf(eps), rows)
        optimum, spent = timed(programme, graph, x, Linf(eps), rows)
        gap = (optimum - bound).clamp_min(0)
        open_ = bound <= 0  # a row that is positive may keep the bound of its intervals
        found[name] = {
            "rows": int(open_.sum()),
            "gap_median": _middle(gap[open_]),
            "gap_most": float(gap[open_].max()) if bool(open_.any()) else 0.0,
            "loss_median": _middle((gap / (margin - optimum))[open_]),
            "below_programme": bool((bound <= optimum + 1e-5).all()),
            "ms_per_image": 1000 * seconds / len(x),
            "programme_ms_per_image": 1000 * spent / len(x),
        }
    return found


def _middle(values: Tensor) -> float:
    return float(values.median()) if len(values) else 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=20)
    parser.add_argument("--data-dir", default=os.environ.get("HOLDFAST_DATA", "../shared/data"))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = load_data("mnist", "test", data_dir=options.data_dir, limit=options.images)
    result: dict[str, object] = {
        "what": "programme less linear bound, over rows that the bound leaves open",
        "images": options.images,
        "machine": f"1 thread, CPU seconds, torch {torch.__version__}",
    }
    for title, (name, eps) in NETS.items():
        model = network(name, options.data_dir)
        result[f"{title}, linf {eps}"] = compare(model, data.inputs(), data.labels, eps)
    text = json.dumps(result, indent=1)
    if options.out:
        options.out.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
