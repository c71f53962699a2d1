"""Certified radii: looks and seconds of each search, the columns of provable robustness.

Three parts, in CPU seconds of one thread, on published MNIST networks:

- columns: errors and mean certified radii at one radius, by PGD, linear bounds, intervals and the
  polyhedral envelope, with the invariants that examples break (none may);
- searches: bisection, the envelope's (Liu 2022, Alg. 3.5), a secant and Newton's method, from 0 to
  the same radius, at precision 1e-4: looks, seconds, mean radius;
- overhead: what the envelope's radius takes on top of the linear bounds that it is made of.

Run: `python benchmarks/certified_radii.py --data-dir DIR [--images 100] [--searched 10] [--out F]`
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch

from holdfast.benchmark.verified_columns import VerifiedColumns
from holdfast.certify import Dual, capture, margin_rows
from holdfast.certify.bounds.forms import linear_forms
from holdfast.certify.radii.envelope import PEC
from holdfast.certify.radii.envelope_search import EnvelopeSearch
from holdfast.certify.radii.newton import Newton
from holdfast.certify.radii.radius import Bisection, Search
from holdfast.certify.radii.secant import Secant
from holdfast.core.random import Keys
from holdfast.data.load import load_data
from holdfast.models.registry import build_model
from holdfast.models.store import load_weights
from holdfast.threats import Linf

NETWORKS = ("mnist_conv_standard", "mnist_conv_dual_linf0.1", "mnist_conv_fgsm_linf0.3")
EPS, MOST = 0.1, 0.4


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    """What a call returns, and its CPU seconds."""
    began = time.process_time()
    return call(), time.process_time() - began


def columns(model: Any, x: Any, y: Any) -> dict[str, Any]:
    """The row of one network."""
    keys = Keys.of(0, range(len(x)))
    row, seconds = timed(lambda: VerifiedColumns().measure(model, x, y, Linf(EPS), keys=keys))
    return row.figures() | {"breaches": row.breaches(), "cpu_seconds": seconds}


def searches(graph: Any, x: Any, y: Any) -> dict[str, dict[str, float]]:
    """Every search on the same images; those misclassified are left out."""
    found: dict[str, dict[str, float]] = {}
    named: dict[str, Search] = {
        "bisection": Bisection(),
        "envelope (Alg. 3.5)": EnvelopeSearch(intervals=False),
        "secant": Secant(),
        "newton": Newton(),
    }
    for name, search in named.items():
        radii, seconds = timed(lambda search=search: search.find(graph, x, y, Linf(MOST)))
        there = radii.evaluations > 0
        found[name] = {
            "mean_looks": float(radii.evaluations[there].double().mean()),
            "most_looks": int(radii.evaluations.max()),
            "mean_radius": float(radii.radius[there].mean()),
            "cpu_seconds": seconds,
        }
    return found


def overhead(graph: Any, x: Any, y: Any) -> dict[str, float]:
    """Seconds of linear forms, and of the envelope's radius on top."""
    spec = margin_rows(y, 10)
    linear_forms(Dual(), graph, x[:2], Linf(EPS), spec[:2])
    _, forms = timed(lambda: linear_forms(Dual(), graph, x, Linf(EPS), spec))
    pec = PEC(method=Dual(), intervals=False)
    envelope = pec.envelope(graph, x, Linf(EPS), spec)
    _, radius = timed(envelope.radius)
    return {"forms": forms, "radius": radius, "share": radius / forms}


def main() -> None:
    """Measures, prints, and writes the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--searched", type=int, default=10)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = load_data("mnist", data_dir=options.data_dir, limit=options.images)
    x, y = data.inputs(), data.labels
    result: dict[str, Any] = {
        "what": f"MNIST, columns at Linf {EPS}, searches up to Linf {MOST}, precision 1e-4, dual",
        "images": options.images,
        "searched": options.searched,
        "machine": f"{platform.machine()}, 1 thread, CPU seconds, torch {torch.__version__}",
    }
    for name in NETWORKS:
        model = build_model("mnist_conv")
        load_weights(model, options.data_dir / "models" / f"{name}.safetensors")
        graph = capture(model.eval(), x.shape[1:])
        few = x[: options.searched], y[: options.searched]
        result[name] = {
            "columns": columns(model, x, y),
            "searches": searches(graph, *few),
            "overhead": overhead(graph, *few),
        }
        print(name, json.dumps(result[name], indent=2), flush=True)
    if options.out:
        options.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
