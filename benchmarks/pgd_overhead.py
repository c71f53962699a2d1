"""What the engine costs: PGD-50-10 against a hand-written loop on the same network.

Three comparisons, in CPU seconds of one thread, alternating, median of the rounds:

- equal passes: every run takes all its steps in both (images that no run breaks);
- as used: one image in eight falls; the loop drops them between restarts, the engine at once;
- fall early: the ordinarily trained network at 0.1, where nine of ten fall within a few steps.

Peers, where installed (`make bench-env`), run the same steps and restarts on the same images.

Run: `python benchmarks/pgd_overhead.py [--images 200] [--rounds 5] [--out FILE]`
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from holdfast.attacks import PGD
from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.data.load import load_data
from holdfast.models.registry import build_model
from holdfast.models.store import load_weights
from holdfast.threats import Linf

STEP, STEPS, RESTARTS = 0.01, 50, 10
EPS = 0.3


def hand_loop(model: nn.Module, x: Tensor, y: Tensor, batch: int, drop: bool) -> tuple[Tensor, int]:
    """PGD as one writes it by hand: restarts outside, batches inside, fooled images dropped."""
    robust, backwards = torch.ones(len(x), dtype=torch.bool), 0
    for _ in range(RESTARTS):
        for rows in (robust if drop else torch.ones_like(robust)).nonzero().flatten().split(batch):
            clean, label = x[rows], y[rows]
            delta = torch.empty_like(clean).uniform_(-EPS, EPS)
            delta = (clean + delta).clamp_(0, 1) - clean
            for _ in range(STEPS):
                delta.requires_grad_(True)
                loss = cross_entropy(model(clean + delta), label, reduction="sum")
                (grad,) = torch.autograd.grad(loss, delta)
                delta = (delta.detach() + STEP * grad.sign()).clamp_(-EPS, EPS)
                delta = (clean + delta).clamp_(0, 1) - clean
                backwards += len(rows)
            with torch.no_grad():
                robust[rows] &= model(clean + delta).argmax(1) == label
    return robust, backwards


def engine(model: nn.Module, x: Tensor, y: Tensor, block: int) -> tuple[Tensor, int]:
    """The same through the library."""
    frozen = FrozenModel(model, block=block)
    attack = PGD(steps=STEPS, restarts=RESTARTS, step_size=STEP)
    result = attack.run(frozen, x, y, Linf(EPS), keys=Keys.of(0, range(len(x))))
    return ~result.success, frozen.passes.backwards


def torchattacks_pgd(model: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, int]:
    """The peer's PGD, restarted by hand on what is left."""
    import torchattacks

    attack = torchattacks.PGD(model, eps=EPS, alpha=STEP, steps=STEPS, random_start=True)
    return _restarted(lambda a, b: attack(a, b), model, x, y)


def foolbox_pgd(model: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, int]:
    """The peer's PGD, restarted by hand on what is left."""
    import foolbox

    wrapped = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
    attack = foolbox.attacks.LinfPGD(abs_stepsize=STEP, steps=STEPS, random_start=True)
    return _restarted(lambda a, b: attack(wrapped, a, b, epsilons=EPS)[1], model, x, y)


def _restarted(
    attack: Callable[[Tensor, Tensor], Tensor], model: nn.Module, x: Tensor, y: Tensor
) -> tuple[Tensor, int]:
    robust, backwards = torch.ones(len(x), dtype=torch.bool), 0
    for _ in range(RESTARTS):
        for rows in robust.nonzero().flatten().split(250):
            adversarial = attack(x[rows], y[rows])
            with torch.no_grad():
                robust[rows] &= model(adversarial).argmax(1) == y[rows]
            backwards += STEPS * len(rows)
    return robust, backwards


def timed(call: Callable[[], tuple[Tensor, int]]) -> tuple[float, float, int]:
    begin = time.process_time()
    robust, backwards = call()
    return time.process_time() - begin, float(robust.float().mean()), backwards


def compare(calls: dict[str, Callable[[], tuple[Tensor, int]]], rounds: int) -> dict[str, dict]:
    """Alternates the calls; seconds are medians, per backward pass as well."""
    found: dict[str, list] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            found[name].append(timed(call))
    return {
        name: {
            "cpu_seconds": statistics.median(f[0] for f in rows),
            "us_per_backward": 1e6 * statistics.median(f[0] / max(1, f[2]) for f in rows),
            "robust_accuracy": rows[-1][1],
            "backwards": rows[-1][2],
        }
        for name, rows in found.items()
    }


def main() -> None:
    global EPS
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--block", type=int, default=128)
    parser.add_argument("--data-dir", default=os.environ.get("HOLDFAST_DATA", "../shared/data"))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = load_data("mnist", "test", data_dir=options.data_dir, limit=options.images)
    x, y = data.inputs(), data.labels
    model = build_model("mnist_conv")
    load_weights(model, Path(options.data_dir) / "models/mnist_conv_fgsm_linf0.3.safetensors")
    model.eval().requires_grad_(False)
    stands, _ = engine(model, x, y, options.block)
    block = options.block
    equal = {
        "hand loop": lambda: hand_loop(model, x[stands], y[stands], block, drop=False),
        "hand loop, batch 250": lambda: hand_loop(model, x[stands], y[stands], 250, drop=False),
        "holdfast": lambda: engine(model, x[stands], y[stands], block),
    }
    used = {
        "hand loop": lambda: hand_loop(model, x, y, 250, drop=True),
        "holdfast": lambda: engine(model, x, y, block),
    }
    for name, peer in (("torchattacks", torchattacks_pgd), ("foolbox", foolbox_pgd)):
        try:
            __import__(name)
        except Exception:
            print(f"{name}: reference not run (make bench-env installs it)")
        else:
            used[name] = lambda peer=peer: peer(model, x, y)
    result = {
        "what": f"PGD-{STEPS}-{RESTARTS}-{STEP}, Linf {EPS}, mnist_conv_fgsm_linf0.3",
        "images": options.images,
        "machine": f"{platform.machine()}, 1 thread, CPU seconds, torch {torch.__version__}",
        "equal_passes": compare(equal, options.rounds),
        "as_used": compare(used, options.rounds),
    }
    EPS = 0.1
    load_weights(model, Path(options.data_dir) / "models/mnist_conv_standard.safetensors")
    early = {name: used[name] for name in ("hand loop", "holdfast")}
    result["fall_early"] = compare(early, options.rounds)
    result["ratio_fall_early"] = (
        result["fall_early"]["holdfast"]["cpu_seconds"]
        / result["fall_early"]["hand loop"]["cpu_seconds"]
    )
    same = result["equal_passes"]
    result["ratio_equal_passes"] = (
        same["holdfast"]["us_per_backward"] / same["hand loop"]["us_per_backward"]
    )
    result["ratio_as_used"] = (
        result["as_used"]["holdfast"]["cpu_seconds"] / result["as_used"]["hand loop"]["cpu_seconds"]
    )
    print(json.dumps(result, indent=2))
    if options.out:
        options.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
