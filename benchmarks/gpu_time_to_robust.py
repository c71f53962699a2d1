"""The tracks of a GPU, one after the other, on a plain checkout without an installer.

`PYTHONPATH=src python benchmarks/gpu_time_to_robust.py --data-dir DIR --out DIR` writes one JSON
per track into the folder as soon as it is there, so that a run that is cut short leaves the tracks
it finished. DIR/cifar10-jpeg holds `train.parquet` and `test.parquet`. See `time_to_robust.py` for
what is measured; the published recipes are rerun beside the tracks (`--published`).
"""

import argparse
import json
import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
sys.path.insert(0, str(Path(__file__).parent))

import torch

from time_to_robust import TRACKS, Track, run

PUBLISHED = {
    "fgsm-rs-15": (["training.epochs=15"], "cifar10-fgsm-rs"),
    "fgsm-rs-30": ([], "cifar10-fgsm-rs"),
    "pgd-7-10": (["training.epochs=10"], "cifar10-pgd"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tracks", nargs="*", default=["T45", "T50", "A48"], choices=TRACKS)
    parser.add_argument("--published", action="store_true", help="rerun the published recipes too")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--data-dir", default=os.environ.get("HOLDFAST_DATA", "../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("error: no CUDA device; use benchmarks/time_to_robust.py --track C30 on a CPU")
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.tracks:
        found = run(TRACKS[name], seeds=options.seeds, data_dir=options.data_dir)
        _write(options.out / f"time_to_robust_{name}.json", {"track": name, **found})
    for name, (overrides, recipe) in PUBLISHED.items() if options.published else ():
        data = ["data.name=cifar10-jpeg"]
        track = Track(recipe, 0.0, None, attacks="pgd-50-10-2/255")
        found = run(track, seeds=1, overrides=[*overrides, *data], data_dir=options.data_dir)
        _write(options.out / f"time_to_robust_{name}.json", {"track": name, **found})


def _write(file: Path, result: dict[str, object]) -> None:
    file.write_text(json.dumps(result, indent=1) + "\n")
    print(f"{file.name}: {result['mean']} in {result['seconds']} s", flush=True)


if __name__ == "__main__":
    main()
