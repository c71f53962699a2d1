"""What a protocol's answer costs, and which images it misses: AutoAttack and the fast protocol.

On every pair of a network and a radius, and for every seed: robust accuracy, passes per image (rows
sent forward and backward over the whole set, checks and re-checks included, divided by the images),
CPU seconds of one thread, and which images are lost. Then, pointwise, what each protocol breaks and
the other does not; `missed by all seeds` are images that every seed of the other breaks.

Protocols: `standard`, `fast`, and `fast` without its audit; the reference implementation of
AutoAttack, where BENCH_PEERS names a folder with its checkout `auto-attack`; torchattacks', where
installed (`make bench-env`), which takes 10 steps where AutoAttack takes 100: another protocol.

With `--components` the reference's gradient-based components start from our initial draws; what
then differs is rounding.

Passes of peers are counted in the network; ours are the result's own (`--count` counts both).
Other networks than the published ones are trained by recipes once, and kept in `--cache`.

Run: `python benchmarks/protocols.py [--pairs NAME,...] [--only fast,...] [--seeds 0,1,2]
    [--limit N] [--components] [--merge] [--out FILE] [--figures FOLDER]`
"""

import argparse
import contextlib
import io
import json
import os
import platform
import re
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from torch import Tensor, nn

from holdfast.attacks.apgd import APGD
from holdfast.attacks.fab import FAB
from holdfast.attacks.rows import Rows
from holdfast.benchmark.fast import Fast
from holdfast.benchmark.standard import targeted
from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.data.images import ImageData
from holdfast.data.load import load_data
from holdfast.facades import evaluate, train
from holdfast.losses.cross_entropy import CrossEntropy
from holdfast.losses.dlr import DLR
from holdfast.models.masked import InputQuantised, Saturated
from holdfast.models.registry import build_model
from holdfast.models.store import load_model, load_weights, save_model
from holdfast.reproduce.figures import COLOURS, DASHES, blank
from holdfast.threats import L2, Linf

Row = dict[str, Any]
TORCHATTACKS = "torchattacks AutoAttack (10 steps: another protocol)"
NAMES = ("reference", "torchattacks", "standard", "fast", "fast-no-audit")
SHOWN = {"torchattacks": TORCHATTACKS, "fast-no-audit": "fast, no audit"}


@dataclass(frozen=True)
class Pair:
    """A network and a radius.

    Args:
        model: a published network's file, or a key of `TRAINED`.
        eps: the Linf radius.
        images: how many of the first test images.
        l2: the L2 radius of `--components`.
        wrap: what is put around the network.
    """

    model: str
    eps: float
    images: int
    l2: float
    wrap: Callable[[nn.Module], nn.Module] | None = None

    @property
    def data(self) -> str:
        """`mnist` or `digits`."""
        return self.model.partition("_")[0].partition("-")[0]


SMALL = {"data.limit": 12000, "training.epochs": 2, "data.validation": 500}
TRAINED: dict[str, tuple[str, dict[str, Any]]] = {
    "digits-standard": ("digits-standard", {}),
    "digits-fgsm-rs": ("digits-fgsm-rs", {}),
    "digits-pgd": ("digits-pgd", {}),
    "digits-clp": ("digits-clp", {}),
    "digits-lsq": ("digits-lsq", {}),
    "digits-interval": ("digits-interval", {}),
    "mnist-small": ("mnist-standard", SMALL),
    "mnist-fgsm-rs-small": ("mnist-fgsm-rs", SMALL | {"threat": "linf:0.2"}),
}
PAIRS = {
    "fgsm-0.3": Pair("mnist_conv_fgsm_linf0.3", 0.3, 500, 2.0),
    "dual-0.15": Pair("mnist_conv_dual_linf0.1", 0.15, 200, 1.5),
    "dual-0.1": Pair("mnist_conv_dual_linf0.1", 0.1, 200, 1.0),
    "standard-0.1": Pair("mnist_conv_standard", 0.1, 200, 1.0),
    "mnist-small": Pair("mnist-small", 0.1, 200, 1.0),
    "mnist-fgsm-rs-small": Pair("mnist-fgsm-rs-small", 0.2, 200, 1.5),
    "mnist-saturated": Pair("mnist-small", 0.1, 200, 1.0, Saturated),
    "digits-standard": Pair("digits-standard", 0.1, 300, 0.5),
    "digits-fgsm-rs": Pair("digits-fgsm-rs", 0.15, 300, 0.75),
    "digits-pgd": Pair("digits-pgd", 0.15, 300, 0.75),
    "digits-clp": Pair("digits-clp", 0.1, 300, 0.5),
    "digits-lsq": Pair("digits-lsq", 0.1, 300, 0.5),
    "digits-interval": Pair("digits-interval", 0.1, 300, 0.5),
    "digits-quantised": Pair("digits-pgd", 0.15, 300, 0.75, lambda net: InputQuantised(net, 8)),
}
PUBLISHED = tuple(PAIRS)[:4]

# Measured elsewhere, on the same images: passes per image, robust accuracy.
QUOTED: dict[str, dict[str, tuple[float, float]]] = {
    "fgsm-0.3": {
        "A3's published claim, a tenth of AutoAttack (quoted)": (810, 0.800),
        "A3 after stage 4 (quoted)": (208, 0.830),
        "A3 after stage 6 (quoted)": (328, 0.818),
        "A3 at its end (quoted)": (3040, 0.806),
        "AutoAttack (quoted)": (8098, 0.800),
        "torchattacks (quoted)": (4534, 0.802),
        "prototype, first stage (quoted)": (107, 0.836),
        "prototype (quoted)": (825, 0.794),
        "fewest passes seen, gradients only (quoted)": (71, 0.832),
    },
    "dual-0.15": {
        "AutoAttack (quoted)": (6313, 0.550),
        "prototype (quoted)": (778, 0.475),
        "fewest passes seen for AutoAttack's answer (quoted)": (132, 0.550),
    },
    "dual-0.1": {
        "AutoAttack (quoted)": (9461, 0.965),
        "prototype (quoted)": (1002, 0.965),
        "fewest passes seen for AutoAttack's answer (quoted)": (120, 0.965),
    },
    "standard-0.1": {
        "AutoAttack (quoted)": (890, 0.070),
        "prototype (quoted)": (480, 0.070),
        "fewest passes seen for AutoAttack's answer, 48 to 203 (quoted)": (48, 0.070),
    },
}


class Tally(torch.autograd.Function):
    """The identity; its backward pass counts rows."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, counted: "Counted") -> Tensor:
        """The logits as they are."""
        ctx.counted = counted
        return logits.view_as(logits)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        """The gradient as it is."""
        ctx.counted.backwards += len(gradient)
        return gradient, None


class Counted(nn.Module):
    """A network that counts the rows it sends forward and backward."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net, self.forwards, self.backwards = net, 0, 0

    def forward(self, x: Tensor) -> Tensor:
        """The network's logits."""
        self.forwards += len(x)
        logits: Tensor = self.net(x)
        return Tally.apply(logits, self) if logits.requires_grad else logits


@dataclass
class Subject:
    """A pair with its network and images."""

    pair: Pair
    net: nn.Module
    data: ImageData
    x: Tensor = field(init=False)
    y: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.x, self.y = self.data.inputs(), self.data.labels

    def lost(self, x_adv: Tensor) -> list[int]:
        """Positions of the images that are misclassified."""
        with torch.no_grad():
            return (self.net(x_adv).argmax(1) != self.y).nonzero().flatten().tolist()


def subject(pair: Pair, *, data_dir: str, cache: Path, limit: int | None = None) -> Subject:
    """The pair's network, loaded, or trained and kept in `cache`."""
    count = pair.images if limit is None else min(limit, pair.images)
    data = load_data(pair.data, "test", data_dir=data_dir, limit=count)
    if pair.model in TRAINED:
        net = trained(pair.model, data_dir, cache)
    else:
        net = build_model("mnist_conv")
        load_weights(net, Path(data_dir) / f"models/{pair.model}.safetensors")
    net = pair.wrap(net) if pair.wrap else net
    return Subject(pair, net.eval().requires_grad_(False), data)


def trained(name: str, data_dir: str, cache: Path) -> nn.Module:
    """The network that a recipe trains, from the cache where it was before."""
    recipe, overrides = TRAINED[name]
    path = cache / f"{name}.safetensors"
    if not path.exists():
        begin = time.process_time()
        result = train(recipe, overrides=overrides, data_dir=data_dir, device="cpu")
        save_model(path, result.model)
        say(f"trained {name}: {time.process_time() - begin:.0f} CPU seconds")
    return load_model(path)[0]


def ours(kind: str, of: Subject, seed: int, *, count: bool, block: int | None) -> Row:
    """One of the library's protocols."""
    protocol = Fast(audit=0.0) if kind == "fast-no-audit" else kind
    net = Counted(of.net) if count else of.net
    threat, begin = Linf(of.pair.eps), time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = evaluate(net, of.data, threat, protocol=protocol, seed=seed, bounds=(), block=block)
    spent, result, n = time.process_time() - begin, found.result, len(of.x)
    passes, curve = 1.0, [[1.0, result["clean_accuracy"]]]
    for step in result["attacks"]:
        passes += (step["forwards"] + step["backwards"]) / n
        curve.append([passes, step["robust_accuracy"], step["name"]])
    extra = {"in_network": (net.forwards + net.backwards) / n} if isinstance(net, Counted) else {}
    ledger = found.ledger
    position = {int(index): at for at, index in enumerate(of.data.index)}
    lost = torch.isin(ledger.outcome, torch.tensor([1, 2])).nonzero().flatten()
    return {
        "robust_accuracy": found.robust_accuracy,
        "forwards": result["forwards"] / n,
        "backwards": result["backwards"] / n,
        "padding": result["padding"] / n,
        "cpu_seconds": spent,
        "lost": sorted(position[int(ledger.index[at])] for at in lost),
        "curve": curve,
        "audit": result["audit"],
        "flags": [flag["code"] for flag in found.flags],
        **extra,
    }


class Listener:
    """Takes the place of the reference's logger, and notes passes after each component."""

    def __init__(self, net: Counted, n: int):
        self.net, self.n, self.curve, self.lines = net, n, [], []

    def log(self, text: str) -> None:
        """Keeps warnings, and a point of the curve for each accuracy."""
        passes = (self.net.forwards + self.net.backwards) / self.n
        if found := re.match(r"(?:initial|robust) accuracy(?: after (\S+))?: ([\d.]+)%", text):
            self.curve.append([passes, float(found[2]) / 100, (found[1] or "").lower()])
        elif text.lower().startswith("warning") or "seems" in text or "zero gradients" in text:
            self.lines.append(text)


def reference(of: Subject, seed: int) -> Row:
    """AutoAttack by its authors."""
    from autoattack import AutoAttack

    net = Counted(of.net).eval()
    with contextlib.redirect_stdout(io.StringIO()):
        attack = AutoAttack(net, eps=of.pair.eps, seed=seed, device="cpu")
    listener = Listener(net, len(of.x))
    for each in (attack, attack.apgd, attack.apgd_targeted):
        each.logger = listener
    row = timed(lambda: attack.run_standard_evaluation(of.x, of.y, bs=250), net, of)
    return row | {"curve": listener.curve, "warnings": listener.lines}


def torchattacks_aa(of: Subject, seed: int) -> Row:
    """torchattacks' AutoAttack, as it comes: 10 steps."""
    import torchattacks

    net = Counted(of.net).eval()
    attack = torchattacks.AutoAttack(net, eps=of.pair.eps, seed=seed, n_classes=10)
    return timed(lambda: attack(of.x, of.y), net, of)


def timed(call: Callable[[], Tensor], net: Counted, of: Subject) -> Row:
    """A peer's answer, re-checked: a point outside the threat counts as no success."""
    begin = time.process_time()
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        x_adv = call().detach()
    spent, n = time.process_time() - begin, len(of.x)
    inside = ((x_adv - of.x).abs().flatten(1).amax(1) <= of.pair.eps + 1e-5).tolist()
    clean, lost = set(of.lost(of.x)), of.lost(x_adv)
    lost = sorted(clean | {at for at in lost if inside[at]})
    return {
        "robust_accuracy": 1 - len(lost) / n,
        "forwards": net.forwards / n,
        "backwards": net.backwards / n,
        "cpu_seconds": spent,
        "lost": lost,
    }


def compared(runs: Mapping[str, Mapping[str, Row]]) -> dict[str, dict[str, Row]]:
    """For each two protocols, images that the first loses and the second does not."""
    found: dict[str, dict[str, Row]] = {}
    sets = {name: {s: set(row["lost"]) for s, row in rows.items()} for name, rows in runs.items()}
    for one, mine in sets.items():
        for other, theirs in sets.items():
            if one == other or not mine or not theirs:
                continue
            union, every = set.union(*theirs.values()), set.intersection(*theirs.values())
            found.setdefault(one, {})[other] = {
                "broken_beyond_every_seed_of_the_other": listed(
                    {s: m - union for s, m in mine.items()}
                ),
                "missed_by_seed_though_all_seeds_of_the_other_break": listed(
                    {s: every - m for s, m in mine.items()}
                ),
                "missed_by_seed_of_the_others_union": listed(
                    {s: union - m for s, m in mine.items()}
                ),
                "unions": listed(
                    {
                        "only_first": set.union(*mine.values()) - union,
                        "only_second": union - set.union(*mine.values()),
                    }
                ),
            }
    return found


def listed(sets: Mapping[str, set[int]]) -> dict[str, Row]:
    """Counts and indices."""
    return {name: {"count": len(each), "images": sorted(each)} for name, each in sets.items()}


def components(of: Subject) -> dict[str, Row]:
    """The reference's gradient-based components from our initial draws, beside ours."""
    rows: dict[str, Row] = {}
    for norm, threat in (("Linf", Linf(of.pair.eps)), ("L2", L2(of.pair.l2))):
        keys = Keys.of(0, range(len(of.x))).fold("components")
        for name, attack in {
            "apgd-ce": APGD(loss=CrossEntropy(precise=False), floor=1e-12),
            "apgd-dlr": APGD(loss=DLR(), floor=1e-12),
            "apgd-t": targeted(10, 100, 9),
            "fab-t": FAB(targeting="multi", most_targets=9),
        }.items():
            begin = time.process_time()
            with FrozenModel(of.net, block=128, in_flight=2) as frozen:
                result = attack.run(frozen, of.x, of.y, threat, keys=keys)
            spent = time.process_time() - begin
            inject = starts(of, attack, threat, keys) if isinstance(attack, APGD) else None
            radius = of.pair.eps if norm == "Linf" else of.pair.l2
            begin = time.process_time()
            stands = reference_component(of, name, norm, radius, inject)
            differ = (stands == result.success).nonzero().flatten().tolist()
            rows[f"{name}, {norm} {radius}"] = {
                "ours": 1 - float(result.success.float().mean()),
                "reference": float(stands.float().mean()),
                "differ": len(differ),
                "images": differ,
                "only_ours_breaks": int((stands & result.success).sum()),
                "only_reference_breaks": int((~stands & ~result.success).sum()),
                "cpu_seconds": [spent, time.process_time() - begin],
            }
    return rows


def starts(of: Subject, attack: APGD, threat: Any, keys: Keys) -> Callable[[Tensor, int], Tensor]:
    """The points at which a run of ours begins, for images found by their content."""
    where = {x.numpy().tobytes(): at for at, x in enumerate(of.x)}

    def begin(x: Tensor, run: int) -> Tensor:
        at = torch.tensor([where[each.contiguous().numpy().tobytes()] for each in x])
        runs, zero = torch.full_like(at, run), torch.zeros_like(at)
        own = keys[at].fold(runs)
        return attack.begin(Rows(at, runs, zero, zero, own, x, x, of.y[at], None, threat))

    return begin


def reference_component(
    of: Subject, name: str, norm: str, radius: float, inject: Callable[[Tensor, int], Tensor] | None
) -> Tensor:
    """Which images stand against one component of the reference, (N,) bool."""
    import autoattack.autopgd_base as base
    from autoattack.fab_pt import FABAttack_PT

    given = {
        "norm": norm,
        "n_restarts": 1,
        "n_iter": 100,
        "eps": radius,
        "seed": 0,
        "device": "cpu",
    }
    if inject is None:
        attack = FABAttack_PT(of.net, targeted=True, **given)
    else:
        kind = base.APGDAttack_targeted if name == "apgd-t" else base.APGDAttack

        class Injected(kind):  # type: ignore[misc, valid-type]
            runs = 0

            def attack_single_run(self, x: Tensor, y: Tensor, x_init: Tensor | None = None) -> Any:
                self.runs += 1
                return super().attack_single_run(x, y, x_init=inject(x, self.runs - 1))

        loss = {} if name == "apgd-t" else {"loss": name.removeprefix("apgd-")}
        attack = Injected(of.net, **given, **loss)
    with contextlib.redirect_stdout(io.StringIO()):
        x_adv = attack.perturb(of.x.clone(), of.y.clone())
    stands = torch.ones(len(of.x), dtype=torch.bool)
    stands[of.lost(x_adv)] = False
    return stands


def runners(count: bool, block: int | None) -> dict[str, Callable[[Subject, int], Row]]:
    """The protocols that can be run here."""
    with_peers()
    present: dict[str, Callable[[Subject, int], Row]] = {}
    for name, package, run in (
        ("reference", "autoattack", reference),
        ("torchattacks", "torchattacks", torchattacks_aa),
    ):
        try:
            __import__(package)
        except Exception as error:
            say(f"{name}: reference not run ({error}; make bench-env or BENCH_PEERS)")
        else:
            present[name] = run
    for name in NAMES[2:]:
        present[name] = lambda of, seed, name=name: ours(name, of, seed, count=count, block=block)
    return present


def with_peers() -> None:
    """Makes checkouts under BENCH_PEERS importable."""
    if folder := os.environ.get("BENCH_PEERS"):
        sys.path[:0] = [str(Path(folder) / name) for name in ("auto-attack", "adversarial-library")]


def table(pairs: Mapping[str, Row]) -> str:
    """Robust accuracy, passes, seconds over the seeds, and what the reference breaks but it not."""
    lines = [
        "| pair | clean | protocol | robust | passes per image | CPU seconds"
        " | missed of what all reference seeds break | broken beyond every reference seed |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, pair in pairs.items():
        for protocol, runs in pair.get("runs", {}).items():
            rows = [runs[seed] for seed in sorted(runs)]
            passes = [row["forwards"] + row["backwards"] for row in rows]
            against = pair["comparison"].get(protocol, {}).get("reference", {})
            missed = against.get("missed_by_seed_though_all_seeds_of_the_other_break", {})
            beyond = against.get("broken_beyond_every_seed_of_the_other", {})
            cells = [
                f"{name}, linf {pair['eps']}, {pair['images']} images",
                f"{pair['clean_accuracy']:.3f}",
                SHOWN.get(protocol, protocol),
                spread(row["robust_accuracy"] for row in rows) or "",
                spread(passes, ".0f"),
                spread((row["cpu_seconds"] for row in rows), ".1f"),
                spread((each["count"] for each in missed.values()), "d"),
                spread((each["count"] for each in beyond.values()), "d"),
            ]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def components_table(pairs: Mapping[str, Row]) -> str:
    """Flags that differ between the reference's components and ours, from the same draws."""
    lines = [
        "| pair | component | images | ours | reference | flags that differ | only ours breaks"
        " | only reference breaks | CPU seconds, ours / reference |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, pair in pairs.items():
        for component, row in pair.get("components", {}).items():
            mine, theirs = row["cpu_seconds"]
            lines.append(
                f"| {name} | {component} | {pair['images']} | {row['ours']:.3f}"
                f" | {row['reference']:.3f} | {row['differ']} | {row['only_ours_breaks']}"
                f" | {row['only_reference_breaks']} | {mine:.1f} / {theirs:.1f} |"
            )
    return "\n".join(lines) if len(lines) > 2 else ""


def spread(values: Iterable[float], form: str = ".3f") -> str:
    """One value, or the least and the most."""
    shown = sorted(values)
    low, high = (format(shown[0], form), format(shown[-1], form)) if shown else ("", "")
    return low if low == high else f"{low} - {high}"


def figure(name: str, pair: Row, folder: Path) -> None:
    """Robust accuracy against cumulative passes per image; quoted points are hollow."""
    import matplotlib

    drawing, (axes,) = blank(10.4, 4.2)
    for at, (protocol, runs) in enumerate(pair["runs"].items()):
        look = {"color": COLOURS[at % len(COLOURS)], "label": SHOWN.get(protocol, protocol)}
        for row in runs.values():
            total = row["forwards"] + row["backwards"]
            points = [(x, y) for x, y, *_ in row.get("curve", ())]
            points.append((total, row["robust_accuracy"]))
            axes.step(*zip(*points, strict=True), where="post", linestyle=DASHES[at % 4], **look)
            axes.plot(total, row["robust_accuracy"], "o", markersize=5, color=look["color"])
            look.pop("label", None)
    for at, (label, (x, y)) in enumerate(QUOTED.get(name, {}).items()):
        marker = "Dsv^<>phX"[at % 9]
        axes.plot(x, y, marker, color="#55616d", fillstyle="none", linestyle="none", label=label)
    axes.set_xscale("log")
    axes.set_xlabel("passes per image, forward and backward, of the whole set")
    axes.set_title(f"{name}: linf {pair['eps']}, {pair['images']} images", loc="left", fontsize=11)
    axes.set_ylabel("robust accuracy")
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    folder.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}):
        drawing.savefig(folder / f"protocols-{name}.svg", metadata={"Date": None})


def say(text: str) -> None:
    """A line of progress."""
    print(text, file=sys.stderr, flush=True)


def machine() -> str:
    """The machine by kind, and what times mean."""
    return f"{platform.machine()}, 1 thread, CPU seconds, torch {torch.__version__}"


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", default=",".join(PUBLISHED), help=f"of {', '.join(PAIRS)}; all")
    parser.add_argument("--only", default=",".join(NAMES), help="protocols to run")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--limit", type=int, help="images at most, for trying out")
    parser.add_argument("--components", action="store_true", help="these instead of protocols")
    parser.add_argument("--count", action="store_true", help="count ours in the network as well")
    parser.add_argument("--block", type=int, help="rows of a call of the model, of ours")
    parser.add_argument("--merge", action="store_true", help="add to what --out holds")
    parser.add_argument("--cache", type=Path, default=Path("runs/bench-models"))
    parser.add_argument("--data-dir", default=os.environ.get("HOLDFAST_DATA", "../shared/data"))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--figures", type=Path, help="folder of SVG files, one per pair")
    options = parser.parse_args()
    options.pairs = list(PAIRS) if options.pairs == "all" else options.pairs.split(",")
    unknown = [name for name in options.pairs if name not in PAIRS]
    unknown += [name for name in options.only.split(",") if name not in NAMES]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}")
    return options


def jobs(options: argparse.Namespace) -> Iterator[tuple[str, Subject, Row]]:
    """The pairs, each with its record so far; the result is written after each."""
    result: Row = {"what": __doc__.partition("\n")[0] if __doc__ else "", "pairs": {}}
    if options.merge and options.out and options.out.exists():
        result = json.loads(options.out.read_text())
    result["machine"] = machine()
    for name in options.pairs:
        of = subject(
            PAIRS[name], data_dir=options.data_dir, cache=options.cache, limit=options.limit
        )
        about = {"model": of.pair.model, "eps": of.pair.eps, "images": len(of.x)}
        record = result["pairs"].setdefault(name, {**about, "runs": {}})
        if record["images"] != len(of.x):
            raise SystemExit(f"{name}: {options.out} holds {record['images']} images")
        record["clean_accuracy"] = 1 - len(of.lost(of.x)) / len(of.x)
        yield name, of, record
        record["comparison"] = compared(record["runs"])
        order = sorted(record["runs"], key=NAMES.index)
        record["runs"] = {protocol: record["runs"][protocol] for protocol in order}
        if options.out:
            options.out.parent.mkdir(parents=True, exist_ok=True)
            options.out.write_text(json.dumps(result) + "\n")
    if options.figures:
        for name, record in result["pairs"].items():
            if record["runs"]:
                figure(name, record, options.figures)
    print(table(result["pairs"]))
    print(components_table(result["pairs"]))


def main() -> None:
    options = parsed()
    torch.set_num_threads(1)
    present = runners(options.count, options.block)
    for name, of, record in jobs(options):
        if options.components:
            if "reference" in present:
                record["components"] = components(of)
            continue
        for protocol in options.only.split(","):
            if protocol not in present:
                continue
            for seed in options.seeds.split(","):
                row = present[protocol](of, int(seed))
                record["runs"].setdefault(protocol, {})[seed] = row
                passes = row["forwards"] + row["backwards"]
                say(
                    f"{name} {protocol} seed {seed}: robust {row['robust_accuracy']:.3f},"
                    f" {passes:.0f} passes, {row['cpu_seconds']:.1f} CPU seconds"
                )


if __name__ == "__main__":
    main()
