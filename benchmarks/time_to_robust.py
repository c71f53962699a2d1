"""Time to robust accuracy: how long a recipe trains until its networks reach a given figure.

| track | figure to reach | examples | where |
|---|---|---|---|
| C30 | 30 % under PGD-10, steps of 2/255 | first 1,000 test images | one CPU core |
| T45 | 45 % under PGD-50-10, steps of 2/255 | all 10,000 | one GPU |
| T50 | 50 % under PGD-50-10, steps of 2/255 | all 10,000 | one GPU |
| A48 | 48 % under the standard protocol (AutoAttack) | all 10,000 | one GPU |

All on CIFAR-10 (JPEG) at Linf 8/255. A track is passed where the mean over at least 5 seeds less
one standard error reaches the figure and no seed collapses (below 5 %). The clock begins with the
raw images in memory and a built network; it includes augmentation, attacks, weight steps and every
validation used for the choice; the final evaluation is timed apart. On a GPU one short training
warms up before the clock begins. On a CPU seconds are CPU seconds of one thread.

Run: `python benchmarks/time_to_robust.py --track C30 [--seeds 5] [--out FILE]`
"""

import argparse
import hashlib
import json
import os
import statistics
import time
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from holdfast.benchmark.evaluate import evaluate
from holdfast.data.images import ImageData
from holdfast.data.load import load_data
from holdfast.runs.environment import environment
from holdfast.threats.text import parse
from holdfast.training.loop import build_for, train
from holdfast.training.recipe import Recipe, load_recipe

COLLAPSED = 0.05


class Track(NamedTuple):
    """What is to be reached, and how it is measured."""

    recipe: str
    target: float
    limit: int | None
    attacks: str | None = None
    protocol: str | None = None


TRACKS = {
    "C30": Track("cifar10-jpeg-c30", 0.30, 1000, attacks="pgd-10-1-2/255"),
    "T45": Track("cifar10-jpeg-t45", 0.45, None, attacks="pgd-50-10-2/255"),
    "T50": Track("cifar10-jpeg-t50", 0.50, None, attacks="pgd-50-10-2/255"),
    "A48": Track("cifar10-jpeg-a48", 0.48, None, protocol="standard"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--track", choices=TRACKS, default="C30")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--set", nargs="*", default=[], help="overrides of the recipe")
    parser.add_argument("--recipe", help="another recipe than the track's")
    parser.add_argument("--limit", type=int, help="fewer test images")
    parser.add_argument("--data-dir", default=os.environ.get("HOLDFAST_DATA", "../shared/data"))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    result = run(
        TRACKS[options.track],
        seeds=options.seeds,
        overrides=options.set,
        recipe=options.recipe,
        limit=options.limit,
        data_dir=options.data_dir,
    )
    result = {"track": options.track, **result}
    text = json.dumps(result, indent=1) + "\n"
    if options.out:
        options.out.write_text(text)
    print(json.dumps({key: result[key] for key in ("track", "passed", "mean", "seconds")}))


def run(
    track: Track,
    *,
    seeds: int = 5,
    overrides: list[str] | None = None,
    recipe: str | None = None,
    limit: int | None = None,
    data_dir: str | None = None,
) -> dict[str, Any]:
    """All seeds of a track, and whether it is passed."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cpu":
        torch.set_num_threads(1)
    plan = load_recipe(recipe or track.recipe, overrides or [])
    training = load_data(plan.data.name, "train", data_dir=data_dir)
    test = load_data(plan.data.name, "test", data_dir=data_dir, limit=limit or track.limit)
    if device.type == "cuda":
        warm_up(recipe or track.recipe, overrides or [], training, device)
    rows = []
    for seed in range(seeds):
        changed = [*(overrides or []), f"seed={seed}"]
        row = one(load_recipe(recipe or track.recipe, changed), track, training, test, device)
        rows.append({"seed": seed, **row})
        print(json.dumps(rows[-1]), flush=True)
    robust = [row["robust_accuracy"] for row in rows]
    error = statistics.stdev(robust) / len(robust) ** 0.5 if len(robust) > 1 else None
    reached = error is not None and statistics.mean(robust) - error >= track.target
    return {
        "target": track.target,
        "recipe": plan.name,
        "mean": statistics.mean(robust),
        "standard_error": error,
        "seconds": statistics.mean(row["training_seconds"] for row in rows),
        "passed": reached and min(robust) > COLLAPSED and len(robust) >= 5,
        "test_data": hashlib.sha256(test.content_hash().encode()).hexdigest()[:16],
        "rows": rows,
        **arithmetic(plan, training, rows, device),
        "threads": torch.get_num_threads(),
        "machine": environment(),
    }


def one(
    plan: Recipe, track: Track, training: ImageData, test: ImageData, device: torch.device
) -> dict[str, Any]:
    """One seed: the training by the clock, then the evaluation."""
    clock = time.process_time if device.type == "cpu" else synchronised
    begin = clock()
    result = train(plan, data=training, device=device)
    trained = clock() - begin
    begin = clock()
    chosen: dict[str, Any] = {"protocol": track.protocol} if track.protocol else {}
    chosen |= {"attacks": track.attacks} if track.attacks else {}
    found = evaluate(result.model, test, parse(plan.threat), bounds=(), device=device, **chosen)
    return {
        "training_seconds": trained,
        "evaluation_seconds": clock() - begin,
        "clean_accuracy": found.result["clean_accuracy"],
        "robust_accuracy": found.result["robust_accuracy"],
        "forwards": result.forwards,
        "backwards": result.backwards,
        "steps": result.steps,
        "warnings": list(result.warnings),
    }


def synchronised() -> float:
    """Seconds, after the GPU has finished."""
    torch.cuda.synchronize()
    return time.perf_counter()


def warm_up(name: str, overrides: list[str], training: ImageData, device: torch.device) -> None:
    """A short training that no figure counts: kernels are chosen, memory is taken."""
    plan = load_recipe(name, [*overrides, "training.epochs=1", "data.validation=0"])
    train(plan, data=training.first(8 * plan.training.batch_size), device=device)


def arithmetic(
    plan: Recipe, training: ImageData, rows: list[dict[str, Any]], device: torch.device
) -> dict[str, Any]:
    """Floating-point operations of a training, and how many per second: a pass to the input and one
    to the weights are counted alike, as two forwards."""
    network: nn.Module = build_for(plan.model, training, 0)
    with FlopCounterMode(display=False) as counter:
        network.eval()(training.first(1).inputs())
    forward = counter.get_total_flops()
    row = rows[0]
    total = forward * (row["forwards"] + 2 * row["backwards"])
    found = {"forward_flop": forward, "petaflop": total / 1e15}
    found["teraflop_per_second"] = total / 1e12 / row["training_seconds"]
    if device.type == "cuda":
        found["device"] = torch.cuda.get_device_name()
        found["peak_memory_gib"] = torch.cuda.max_memory_allocated() / 2**30
    return found


if __name__ == "__main__":
    main()
