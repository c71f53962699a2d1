"""What `auto` costs: every image decided in both directions, in CPU milliseconds of one thread.

The first test images of `mnist_conv_dual_linf0.1` at Linf 0.1: how many are certified, broken and
misclassified, by which method, and what an image costs on average; `certified_bounds.py` has every
bound alone, and those of the peers. The least of the rounds counts, since neighbours on a shared
machine only add. The graph is captured once, before the clock starts, and is timed apart.

Run: `python benchmarks/auto_certify.py [--images 200] [--rounds 5] [--out FILE]`
"""

import argparse
import json
import os
import platform
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch

from holdfast.benchmark.auto import Auto
from holdfast.certify import capture
from holdfast.certify.graphs.graph import Graph
from holdfast.core.ledger import Ledger
from holdfast.core.results import Outcome
from holdfast.data.load import load_data
from holdfast.models.registry import build_model
from holdfast.models.store import load_weights
from holdfast.threats import Linf

EPS = 0.1


def timed(call: Callable[[], object]) -> tuple[object, float]:
    """What a call returns, and its CPU seconds."""
    start = time.process_time()
    found = call()
    return found, time.process_time() - start


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
    seconds = []
    for _ in range(options.rounds):
        ledger, spent = timed(lambda: Auto().decide(model, x, y, Linf(EPS), graph=graph))
        seconds.append(spent)
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
        "ms_per_image": 1000 * min(seconds) / len(x),
        "capture_seconds": captured,
    }
    print(json.dumps(result, indent=2))
    if options.out:
        options.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
