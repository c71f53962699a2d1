"""The fast-training claim on real data: the recipe `mnist-fgsm-rs`, then PGD-50-10 at Linf 0.3.

Published (Wong 2020, Table 4.4): 99.20 % clean and 88.77 % under PGD-50-10 on all test images.

Run: `python benchmarks/mnist_fgsm_rs.py --out benchmarks/results/mnist_fgsm_rs.json`
(`--limit 1000` for the first 1,000 test images; `--model FILE` skips the training)
"""

import argparse
import json
import os
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch

from holdfast.benchmark.evaluate import evaluate
from holdfast.data.load import load_data
from holdfast.models.store import load_model, save_model
from holdfast.runs.environment import environment
from holdfast.threats.text import parse
from holdfast.training.loop import train
from holdfast.training.recipe import load_recipe


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", default="mnist-fgsm-rs")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--save", type=Path)
    parser.add_argument("--data-dir", default=os.environ.get("HOLDFAST_DATA", "../shared/data"))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    recipe = load_recipe(options.recipe)
    begin, seconds = time.process_time(), time.perf_counter()
    if options.model:
        model, _ = load_model(options.model)
    else:
        model = train(recipe, data_dir=options.data_dir).model
        if options.save:
            save_model(options.save, model)
    trained = {
        "training_cpu_seconds": time.process_time() - begin,
        "training_seconds": time.perf_counter() - seconds,
    }
    data = load_data("mnist", "test", data_dir=options.data_dir, limit=options.limit)
    begin = time.process_time()
    found = evaluate(model, data, parse(recipe.threat), attacks="fgsm,pgd-50-10-0.01", bounds=())
    kept = ("examples", "clean_accuracy", "clean_interval", "robust_accuracy", "robust_interval")
    result = {
        "what": f"{options.recipe} (seed {recipe.seed}), fgsm,pgd-50-10-0.01 at {recipe.threat}",
        **trained,
        "evaluation_cpu_seconds": time.process_time() - begin,
        **{key: found.result[key] for key in (*kept, "forwards", "backwards", "attacks")},
        "threads": torch.get_num_threads(),
        "machine": environment(),
    }
    print(json.dumps(result, indent=2))
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
