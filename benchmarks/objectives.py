"""Every objective on one network, one data set and one number of epochs: what it costs and reaches.

The recipe is `cifar10-jpeg-c30` (a small max-pooled network, Muon), with each objective at its
published constants, on the first 4,000 training images for 6 epochs at Linf 8/255. The figures are
those of the last epoch on the first 500 test images, under PGD-20 and under 200 queries of Square,
which an objective that hides its gradient does not fool. They rank nothing: constants were chosen
for wide networks and a hundred epochs. A training whose loss becomes infinite at the recipe's rate
is run once more with clipped gradients, and its row says so.

Rows that are in the file already are kept, so that a run goes on where it was stopped.

Run: `python benchmarks/objectives.py [--only NAME ...] [--out FILE]`
"""

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch

from holdfast.benchmark.evaluate import evaluate
from holdfast.core.errors import InputError
from holdfast.data.images import ImageData
from holdfast.data.load import load_data
from holdfast.runs.environment import environment
from holdfast.threats.text import parse
from holdfast.training.loop import train
from holdfast.training.objectives import OBJECTIVES
from holdfast.training.recipe import load_recipe

RECIPE = "cifar10-jpeg-c30"
THREAT = parse(load_recipe(RECIPE).threat)
ATTACKS = ("pgd-20-1-2/255", "square-200")
AROUND_ANOTHER = ("mixup", "penalised")  # these have no objective of their own
SETTING = ("data.limit=4000", "training.epochs=6", "training.batch_size=128")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", choices=OBJECTIVES, help="these objectives")
    parser.add_argument("--data-dir", default=os.environ.get("HOLDFAST_DATA", "../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/objectives.json"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    plan = load_recipe(RECIPE)
    training = load_data(plan.data.name, "train", data_dir=options.data_dir)
    test = load_data(plan.data.name, "test", data_dir=options.data_dir, limit=500)
    rows = json.loads(options.out.read_text())["rows"] if options.out.exists() else {}
    for name in options.only or OBJECTIVES:
        if name not in rows:
            rows[name] = one(name, training, test)
            print(name, json.dumps(rows[name]), flush=True)
            found = {"recipe": RECIPE, "changes": SETTING, "attacks": ATTACKS, "rows": rows}
            text = json.dumps({**found, "machine": environment()}, indent=1) + "\n"
            options.out.with_suffix(".new").write_text(text)
            options.out.with_suffix(".new").replace(options.out)


def one(name: str, training: ImageData, test: ImageData) -> dict[str, Any]:
    """One objective: trained by the clock, then attacked."""
    inner = 'objective = "pgd-at", ' if name in AROUND_ANOTHER else ""
    changes = [*SETTING, f'objective={{ {inner}kind = "{name}" }}']
    begin = time.process_time()
    try:
        result, clipped = train(load_recipe(RECIPE, changes), data=training), False
    except InputError:  # the loss became infinite: the rate is that of other objectives
        begin = time.process_time()
        plan = load_recipe(RECIPE, [*changes, "training.clip=1.0"])
        result, clipped = train(plan, data=training), True
    seconds = time.process_time() - begin
    row: dict[str, Any] = {"training_seconds": seconds, "gradient_clipped": clipped}
    row |= {"forwards": result.forwards, "backwards": result.backwards}
    for attack in ATTACKS:
        found = evaluate(result.model, test, THREAT, attacks=attack, bounds=())
        row[f"accuracy_under_{attack.split('-')[0]}"] = found.result["robust_accuracy"]
    return {**row, "clean_accuracy": found.result["clean_accuracy"], "warnings": result.warnings}


if __name__ == "__main__":
    main()
