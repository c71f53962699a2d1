"""What `auto` costs: every image decided in both directions, in CPU milliseconds of one thread.

The first test images of `mnist_conv_dual_linf0.1` at Linf 0.1: how many are certified, broken and
misclassified, by which method, and what an image costs on average; beside it every bound alone, and
the peers' CROWN and dual bound where `BENCH_PEERS` names a folder of their checkouts. Rounds
alternate; the least of the rounds counts, since neighbours on a shared machine only add. The graph
is captured once, before the clock starts, and is timed apart.

Run: `python benchmarks/auto_certify.py [--images 200] [--rounds 5] [--out FILE]`
"""

import argparse
import json
import os
import platform
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from torch import Tensor, nn

from holdfast.benchmark.auto import Auto
from holdfast.certify import CROWN, Dual, Interval, capture
from holdfast.certify.graph import Graph
from holdfast.certify.spec import margin_rows
from holdfast.core.ledger import Ledger
from holdfast.core.results import Outcome
from holdfast.data.load import load_data
from holdfast.models.registry import build_model
from holdfast.models.store import load_weights
from holdfast.threats import Linf

EPS, BATCH = 0.1, 20


def alone(method: Interval | CROWN | Dual, graph: Graph, x: Tensor, y: Tensor) -> int:
    """How many images one bound certifies."""
    count = 0
    for rows in torch.arange(len(x)).split(BATCH):
        bounds = method.bound(graph, x[rows], Linf(EPS), margin_rows(y[rows], 10))
        count += int((bounds.lower > 0).all(dim=1).sum())
    return count


def auto_lirpa(model: nn.Module, x: Tensor, y: Tensor) -> int:
    """The peer's CROWN."""
    from auto_LiRPA import BoundedModule, BoundedTensor, PerturbationLpNorm

    bounded, count = BoundedModule(model, x[:1]), 0
    for rows in torch.arange(len(x)).split(BATCH):
        lower, upper = (x[rows] - EPS).clamp_min(0), (x[rows] + EPS).clamp_max(1)
        ball = PerturbationLpNorm(norm=float("inf"), x_L=lower, x_U=upper)
        inputs = BoundedTensor(x[rows], ball)
        found, _ = bounded.compute_bounds(
            x=(inputs,), C=margin_rows(y[rows], 10), method="CROWN", bound_upper=False
        )
        count += int((found > 0).all(dim=1).sum())
    return count


def timed(call: Callable[[], object]) -> tuple[object, float]:
    """What a call returns, and its CPU seconds."""
    start = time.process_time()
    found = call()
    return found, time.process_time() - start


def peer(folder: str | None, model: nn.Module, x: Tensor, y: Tensor) -> dict[str, object]:
    """The peer's figures, or that it was not run."""
    if folder is None:
        return {"reference": "not run (set BENCH_PEERS)"}
    sys.path.insert(0, str(Path(folder) / "auto_LiRPA"))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            count, seconds = timed(lambda: auto_lirpa(model, x, y))
    except Exception as error:  # a peer that does not run here
        return {"reference": f"not run ({type(error).__name__}: {str(error)[:100]})"}
    return {"certified": count, "ms_per_image": 1000 * seconds / len(x)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--data-dir", default=os.environ.get("HOLDFAST_DATA", "../shared/data"))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = load_data("mnist", "test", data_dir=options.data_dir, limit=options.images)
    x, y = data.inputs(), data.labels
    model = build_model("mnist_conv")
    load_weights(model, Path(options.data_dir) / "models/mnist_conv_dual_linf0.1.safetensors")
    model.eval().requires_grad_(False)
    graph, captured = timed(lambda: capture(model, tuple(x.shape[1:])))
    assert isinstance(graph, Graph)
    methods: dict[str, Callable[[], object]] = {
        "auto": lambda: Auto().decide(model, x, y, Linf(EPS), graph=graph),
        "interval": lambda: alone(Interval(), graph, x, y),
        "dual": lambda: alone(Dual(), graph, x, y),
        "crown": lambda: alone(CROWN(), graph, x, y),
    }
    least: dict[str, float] = {}
    found: dict[str, object] = {}
    for _ in range(options.rounds):
        for name, call in methods.items():
            found[name], seconds = timed(call)
            least[name] = min(seconds, least.get(name, seconds))
    ledger = found.pop("auto")
    assert isinstance(ledger, Ledger)
    rows = ledger.rows()
    result = {
        "what": f"auto on {len(x)} test images of mnist_conv_dual_linf0.1, Linf {EPS}",
        "machine": f"{platform.machine()}, 1 thread, CPU seconds, torch {torch.__version__}",
        "rounds": options.rounds,
        "outcomes": {str(each): ledger.count(each) for each in Outcome},
        "by_method": {
            f"{outcome} by {method}": count
            for (outcome, method), count in Counter(
                zip(rows["outcome"], rows["method"], strict=True)
            ).items()
        },
        "ms_per_image": {name: 1000 * seconds / len(x) for name, seconds in least.items()},
        "certified_alone": found,
        "capture_seconds": captured,
        "auto_LiRPA CROWN": peer(os.environ.get("BENCH_PEERS"), model, x, y),
    }
    print(json.dumps(result, indent=2))
    if options.out:
        options.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
