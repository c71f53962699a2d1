"""How many queries of the Square Attack a CPU second buys: ours and its peers'.

All attack the same images of the same network with an equal number of queries, in one process on
one thread, alternating; figures are medians of the rounds. The images are those that a first attack
does not break, so that nearly all queries are made. Queries are counted in the network itself,
padding excluded, and the network's own time is measured within each run: what is left is the
attack's.

Peers: torchattacks, where installed (`make bench-env`), and the reference implementation of
AutoAttack, where BENCH_PEERS names a folder with its checkout `auto-attack`.

Run: `python benchmarks/square_queries.py [--images 128] [--queries 500] [--rounds 5] [--out FILE]`
"""

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from torch import Tensor, nn

from holdfast.attacks.square import Square
from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.data.load import load_data
from holdfast.models.registry import build_model
from holdfast.models.store import load_weights
from holdfast.threats import L1, L2, Linf
from holdfast.threats.protocol import Threat

THREATS: dict[str, tuple[Threat, float]] = {
    "Linf": (Linf(0.3), 0.3),
    "L2": (L2(2.0), 2.0),
    "L1": (L1(10.0), 10.0),
}
P_INIT = 0.8

Attack = Callable[[nn.Module, Tensor, Tensor, str, int, int], tuple[Tensor, int]]


class Timed(nn.Module):
    """A network that counts its rows and its own CPU seconds."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net, self.rows, self.seconds = net, 0, 0.0

    def forward(self, x: Tensor) -> Tensor:
        """The network's logits."""
        begin = time.process_time()
        logits: Tensor = self.net(x)
        self.seconds += time.process_time() - begin
        self.rows += len(x)
        return logits


def holdfast(
    model: nn.Module, x: Tensor, y: Tensor, norm: str, queries: int, seed: int
) -> tuple[Tensor, int]:
    """Success of each example, and rows computed for nothing (padding)."""
    frozen = FrozenModel(model, block=len(x))
    attack = Square(queries=queries, p_init=P_INIT)
    result = attack.run(frozen, x, y, THREATS[norm][0], keys=Keys.of(seed, range(len(x))))
    return result.success, result.padding


def autoattack(
    model: nn.Module, x: Tensor, y: Tensor, norm: str, queries: int, seed: int
) -> tuple[Tensor, int]:
    """The same by the reference, with its rescaled schedule."""
    from autoattack.square import SquareAttack

    eps = THREATS[norm][1]
    attack = SquareAttack(model, norm=norm, n_queries=queries, eps=eps, p_init=P_INIT, seed=seed)
    return _broken(model, attack.perturb(x, y), y), 0


def torchattacks_square(
    model: nn.Module, x: Tensor, y: Tensor, norm: str, queries: int, seed: int
) -> tuple[Tensor, int]:
    """The same by torchattacks."""
    import torchattacks

    attack = torchattacks.Square(
        model, norm=norm, eps=THREATS[norm][1], n_queries=queries, p_init=P_INIT, seed=seed
    )
    return _broken(model, attack(x, y), y), 0


def _broken(model: nn.Module, x_adv: Tensor, y: Tensor) -> Tensor:
    net = model.net if isinstance(model, Timed) else model
    with torch.no_grad():
        return net(x_adv).argmax(1) != y


def compare(
    attacks: dict[str, Attack],
    net: nn.Module,
    x: Tensor,
    y: Tensor,
    norm: str,
    queries: int,
    n: int,
) -> dict[str, dict[str, float]]:
    """Alternates the attacks, each round with another seed."""
    found: dict[str, list[tuple[float, ...]]] = {name: [] for name in attacks}
    for seed in range(n):
        for name, attack in attacks.items():
            timed = Timed(net).eval()
            begin = time.process_time()
            success, padding = attack(timed, x, y, norm, queries, seed)
            spent = time.process_time() - begin
            made = timed.rows - padding
            outside = spent - timed.seconds
            broken = float(success.float().mean())
            found[name].append(
                (made / spent, 1e6 * spent / made, 1e6 * outside / made, broken, made)
            )
    names = (
        "queries_per_cpu_second",
        "us_per_query",
        "us_outside_the_network",
        "broken",
        "queries",
    )
    return {
        name: {key: statistics.median(row[i] for row in rows) for i, key in enumerate(names)}
        for name, rows in found.items()
    }


def peers() -> dict[str, Attack]:
    """Those that can be imported."""
    if folder := os.environ.get("BENCH_PEERS"):
        sys.path.insert(0, str(Path(folder) / "auto-attack"))
    known = {"torchattacks": torchattacks_square, "autoattack": autoattack}
    present: dict[str, Attack] = {}
    for name, attack in known.items():
        try:
            __import__(name)
        except Exception:
            print(f"{name}: reference not run (make bench-env or BENCH_PEERS)")
        else:
            present[name] = attack
    return present


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=128)
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--data-dir", default=os.environ.get("HOLDFAST_DATA", "../shared/data"))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = load_data("mnist", "test", data_dir=options.data_dir, limit=4 * options.images)
    x, y = data.inputs(), data.labels
    net = build_model("mnist_conv")
    load_weights(net, Path(options.data_dir) / "models/mnist_conv_fgsm_linf0.3.safetensors")
    net.eval().requires_grad_(False)
    attacks: dict[str, Attack] = {"holdfast": holdfast, **peers()}
    result: dict[str, object] = {
        "what": f"Square, {options.queries} queries, p {P_INIT}, mnist_conv_fgsm_linf0.3",
        "images": options.images,
        "machine": f"{platform.machine()}, 1 thread, CPU seconds, torch {torch.__version__}",
    }
    for norm in THREATS:
        broken, _ = holdfast(net, x, y, norm, options.queries, 99)
        stands = (~broken & (net(x).argmax(1) == y)).nonzero()[: options.images, 0]
        fitting = {
            name: attack
            for name, attack in attacks.items()
            if not (name == "torchattacks" and norm == "L1")
        }
        result[norm] = compare(
            fitting, net, x[stands], y[stands], norm, options.queries, options.rounds
        )
    print(json.dumps(result, indent=2))
    if options.out:
        options.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
