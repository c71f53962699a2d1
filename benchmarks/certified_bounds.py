"""What linear bounds cost and prove, beside those of auto_LiRPA and convex_adversarial.

The published network mnist_conv_dual_linf0.1 at Linf 0.1, test images, in two sets: the ball within
[0, 1] and the bare ball. Each method is run several times in turn with the others; the least CPU
seconds of one thread count, and the growth of the process's peak memory in a process of its own.

- equal: the plain schedule gives the peers' numbers (CROWN of auto_LiRPA, which leaves out units
  that intervals settle, the dual of convex_adversarial): differences, ours less theirs;
- cheap: the cheap schedule against the plain one: verdicts, and how far a margin that was not
  settled by intervals falls;
- alpha: AlphaCrown beside auto_LiRPA's alpha-CROWN, 20 steps, on the first images;
- training: a certified loss with gradients in the weights, beside a plain training step.

Peers are compared where `BENCH_PEERS` names a folder of their checkouts.

Run: `python benchmarks/certified_bounds.py [--images 200] [--rounds 5] [--out FILE]`
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import types
import warnings
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from holdfast.benchmark.verify_boxes import InputBox
from holdfast.certify import CROWN, AlphaCrown, CrownIBP, Dual, Graph, capture, margin_rows
from holdfast.certify.bounds.forms import linear_bounds
from holdfast.data.load import load_data
from holdfast.models.registry import build_model
from holdfast.models.store import load_weights
from holdfast.threats import Linf

EPS = 0.1
SETS = {"box": (0.0, 1.0), "ball": None}
Bound = Callable[[Tensor, Tensor], Tensor]


def inputs(data_dir: str, images: int) -> tuple[nn.Module, Graph, Tensor, Tensor]:
    """The network, captured, and test images."""
    torch.set_num_threads(1)
    data = load_data("mnist", "test", data_dir=data_dir, limit=images)
    model = build_model("mnist_conv")
    load_weights(model, Path(data_dir) / "models/mnist_conv_dual_linf0.1.safetensors")
    model.eval()
    return model, capture(model, (1, 28, 28)), data.inputs(), data.labels


def ours(graph: Graph, method: object, box: tuple[float, float] | None) -> Bound:
    """Margins (B, 9) by one of our methods."""
    threat = Linf(EPS, box=box)
    return lambda x, y: method.bound(graph, x, threat, margin_rows(y, 10)).lower


def without_tolerance(graph: Graph, method: object, box: tuple[float, float] | None) -> Bound:
    """The same over the bare set, without the 1e-6 that a threat accepts beyond its radius."""

    def found(x: Tensor, y: Tensor) -> Tensor:
        low, high = x - EPS, x + EPS
        threat = InputBox(low, high) if box is None else InputBox(low.clamp(*box), high.clamp(*box))
        return method.bound(graph, x, threat, margin_rows(y, 10)).lower

    return found


def plain(model: nn.Module) -> nn.Sequential:
    """The layers as a Sequential, which convex_adversarial needs."""
    layers = [each for each in model.modules() if not list(each.children())]
    return nn.Sequential(*layers)


def auto_lirpa(model: nn.Module, box: tuple[float, float] | None, steps: int = 0) -> Bound:
    """Margins by CROWN of auto_LiRPA, or by its alpha-CROWN, in batches of 20."""
    from auto_LiRPA import BoundedModule, BoundedTensor, PerturbationLpNorm

    options = {"optimize_bound_args": {"iteration": steps}} if steps else {}
    bounded = BoundedModule(model, torch.zeros(2, 1, 28, 28), bound_opts=options)

    def found(x: Tensor, y: Tensor) -> Tensor:
        parts = []
        for rows in torch.arange(len(x)).split(20):
            mine, ends = x[rows], {}
            if box is not None:
                low, high = ((mine + move).clamp(*box) for move in (-EPS, EPS))
                ends = {"x_L": low, "x_U": high}
            threat = PerturbationLpNorm(norm=float("inf"), eps=EPS, **ends)
            with torch.set_grad_enabled(steps > 0):
                lower, _ = bounded.compute_bounds(
                    x=(BoundedTensor(mine, threat),),
                    C=margin_rows(y[rows], 10),
                    method="CROWN-Optimized" if steps else "CROWN",
                    bound_upper=False,
                )
            parts.append(lower.detach())
        return torch.cat(parts)

    return found


def convex_adversarial(model: nn.Module, box: tuple[float, float] | None) -> Bound:
    """Margins by the dual network of convex_adversarial, in batches of 20."""
    from convex_adversarial.dual_network import DualNetwork

    layers = plain(model)

    def found(x: Tensor, y: Tensor) -> Tensor:
        parts = []
        for rows in torch.arange(len(x)).split(20):
            with torch.no_grad():
                dual = DualNetwork(layers, x[rows], EPS, bounded_input=box is not None)
                parts.append(dual(margin_rows(y[rows], 10)))
        return torch.cat(parts)

    return found


def peers(folder: str | None) -> list[str]:
    """Which peers can be imported; auto_LiRPA asks for two packages that bounds do not use."""
    found = []
    if folder:
        folders, drawing = types.ModuleType("appdirs"), types.ModuleType("graphviz")
        place = Path(tempfile.gettempdir())
        folders.user_data_dir = folders.user_cache_dir = lambda name: str(place / name)
        drawing.Digraph = object
        sys.modules.setdefault("appdirs", folders)
        sys.modules.setdefault("graphviz", drawing)
        for name in ("auto_LiRPA", "convex_adversarial"):
            sys.path.insert(0, str(Path(folder) / name))
    for name in ("auto_LiRPA", "convex_adversarial"):
        try:
            __import__(name)
        except Exception as error:
            print(f"{name}: reference not run ({type(error).__name__})")
        else:
            found.append(name)
    return found


def methods(
    model: nn.Module, graph: Graph, box: tuple[float, float] | None, known: list[str]
) -> dict[str, Bound]:
    """All that is timed."""
    calls: dict[str, Bound] = {}
    for mode in ("fast", "rigorous"):
        for method in (CrownIBP, Dual, CROWN):
            calls[f"{method.__name__} {mode}"] = ours(graph, method(mode=mode), box)
    for method in (Dual, CROWN):
        whole = method(mode="fast", schedule="plain")
        calls[f"{method.__name__} plain"] = ours(graph, whole, box)
        calls[f"{method.__name__} plain, bare"] = without_tolerance(graph, whole, box)
    if "auto_LiRPA" in known:
        calls["auto_LiRPA CROWN"] = auto_lirpa(model, box)
    if "convex_adversarial" in known:
        calls["convex_adversarial dual"] = convex_adversarial(model, box)
    return calls


def timed(call: Callable[[], object]) -> tuple[object, float]:
    """What a call returns, and its CPU seconds."""
    start = time.process_time()
    found = call()
    return found, time.process_time() - start


def compared(calls: dict[str, Bound], x: Tensor, y: Tensor, rounds: int) -> dict[str, dict]:
    """Certified images, and the least milliseconds per image over rounds in turn."""
    least: dict[str, float] = {}
    margins: dict[str, Tensor] = {}
    for turn in range(rounds):
        for name, call in calls.items():
            if turn >= 2 and least[name] > 2.0:  # slow ones twice
                continue
            found, seconds = timed(lambda call=call: call(x, y))
            margins[name] = found.double()
            least[name] = min(seconds, least.get(name, seconds))
    rows = {
        name: {
            "certified": int((margin > 0).all(dim=1).sum()),
            "ms_per_image": 1000 * least[name] / len(x),
        }
        for name, margin in margins.items()
    }
    pairs = (("CROWN plain", "auto_LiRPA CROWN"), ("Dual plain", "convex_adversarial dual"))
    for mine, theirs in pairs:
        rows.pop(f"{mine}, bare")
        if theirs in margins:
            differences = margins[f"{mine}, bare"] - margins[theirs]
            rows[mine]["against " + theirs] = {
                "largest": float(differences.max()),
                "least": float(differences.min()),
                "share_within_1e-4": float((differences.abs() <= 1e-4).double().mean()),
            }
    for name in ("CROWN", "Dual"):
        cheap, whole = margins[f"{name} fast"], margins[f"{name} plain"]
        verdicts = (cheap > 0).all(1) == (whole > 0).all(1)
        rows[f"{name} fast"]["same_verdicts_as_plain"] = bool(verdicts.all())
        lost = (whole - cheap)[cheap <= 0]
        rows[f"{name} fast"]["open_margins_lost_to_plain"] = float(lost.max())
    return rows


def alpha(model: nn.Module, graph: Graph, x: Tensor, y: Tensor, known: list[str]) -> dict:
    """AlphaCrown and its peer on the first images, 20 steps."""
    crown = CROWN(mode="fast").bound(graph, x, Linf(EPS), margin_rows(y, 10)).lower
    result = {}
    calls = {
        f"AlphaCrown {mode}": ours(graph, AlphaCrown(mode=mode), SETS["box"])
        for mode in ("fast", "rigorous")
    }
    if "auto_LiRPA" in known:
        calls["auto_LiRPA alpha-CROWN"] = auto_lirpa(model, SETS["box"], steps=20)
    for name, call in calls.items():
        found, seconds = timed(lambda call=call: call(x, y))
        gain = (found - crown)[crown <= 0]
        result[name] = {
            "certified": int((found > 0).all(dim=1).sum()),
            "ms_per_image": 1000 * seconds / len(x),
            "least_gain_over_crown_of_open_rows": float(gain.min()) if len(gain) else None,
            "mean_gain_over_crown_of_open_rows": float(gain.mean()) if len(gain) else None,
        }
    return result


def training(model: nn.Module, graph: Graph, x: Tensor, y: Tensor) -> dict[str, float]:
    """Milliseconds per image of a step's gradient, the least of five."""

    def ordinary() -> None:
        cross_entropy(model(x), y).backward()

    def certified(method: object) -> Callable[[], None]:
        def step() -> None:
            margins = linear_bounds(method, graph, x, Linf(EPS), margin_rows(y, 10))
            logits = torch.cat([margins.new_zeros(len(x), 1), -margins], dim=1)
            cross_entropy(logits, torch.zeros_like(y)).backward()

        return step

    steps = {"plain": ordinary} | {
        method.__name__: certified(method(mode="fast")) for method in (CrownIBP, Dual, CROWN)
    }
    found = {}
    for name, step in steps.items():
        seconds = []
        for _ in range(5):
            model.zero_grad()
            seconds.append(timed(step)[1])
        found[name] = 1000 * min(seconds) / len(x)
    return found


def peak(name: str, options: argparse.Namespace) -> float:
    """The growth of peak memory by one method on the images, MB, in a process of its own."""
    command = [sys.executable, __file__, "--images", str(options.images), "--peak", name]
    command += ["--data-dir", options.data_dir]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return float(output.splitlines()[-1])


def measured_peak(call: Bound, x: Tensor, y: Tensor) -> float:
    """The growth of this process's memory at its peak, MB, after a first call on two images."""
    call(x[:2], y[:2])
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = _status("VmRSS")
    call(x, y)
    return (_status("VmHWM") - before) / 1024


def _status(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(name))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--alpha-images", type=int, default=40)
    parser.add_argument("--peak", help="only the peak memory of this method")
    parser.add_argument("--data-dir", default=os.environ.get("HOLDFAST_DATA", "../shared/data"))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    model, graph, x, y = inputs(options.data_dir, options.images)
    known = peers(os.environ.get("BENCH_PEERS"))
    if options.peak:
        print(measured_peak(methods(model, graph, SETS["box"], known)[options.peak], x, y))
        return
    result: dict[str, object] = {
        "what": f"{len(x)} test images of mnist_conv_dual_linf0.1, Linf {EPS}",
        "machine": f"{platform.machine()}, 1 thread, CPU seconds, torch {torch.__version__}",
        "rounds": options.rounds,
    }
    for name, box in SETS.items():
        result[name] = compared(methods(model, graph, box, known), x, y, options.rounds)
    chosen = options.alpha_images
    result["alpha"] = alpha(model, graph, x[:chosen], y[:chosen], known)
    result["training_ms_per_image"] = training(model, graph, x[:50], y[:50])
    rows = methods(model, graph, SETS["box"], known)
    result["added_peak_memory_mb"] = {
        name: peak(name, options) for name in rows if "plain" not in name
    }
    print(json.dumps(result, indent=2))
    if options.out:
        options.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
