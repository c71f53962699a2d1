"""Verdicts on networks whose counterexamples are known and hidden from gradient attacks.

Per network ten inputs with a planted counterexample and five without: what PGD-100 with ten
restarts finds, what each bound, radius search and the verifier says. A proof of a planted input is
false; the number of such proofs is the figure that matters. Branch and bound and the verifier see
no attack: what they find, they find by bounds.

Run: `python benchmarks/planted_counterexamples.py [--kinds mlp,conv] [--seconds 2] [--out FILE]`
"""

import argparse
import json
import os
import platform
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from torch import Tensor

from holdfast.attacks import PGD
from holdfast.benchmark.verify import Splitting, verify
from holdfast.certify import (
    BOUNDS,
    CROWN,
    PEC,
    SEARCHES,
    BranchAndBound,
    Case,
    Graph,
    Property,
    capture,
    certified,
    margin_rows,
)
from holdfast.core.errors import CaptureError
from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.core.results import Outcome
from holdfast.threats import Linf
from holdfast.toys.planted import CLASSES, PlantedWorld, Planting, train_planted

WORLDS = {
    "mlp": ("mlp", 0.1),
    "smooth": ("smooth", 0.1),
    "conv": ("conv", 0.05),
    "pooled": ("pooled", 0.05),
    "residual": ("residual", 0.05),
    "conv wide": ("conv", 0.1),
}
PLANTED, TWINS = 10, 5


class Silent:
    """Proposes nothing, so that the verifier has to search."""

    def falsify(self, graph: Graph, cases: Any, *, seed: int) -> Tensor:
        """No points."""
        del graph, seed
        return cases[0].lower.new_zeros(0, len(cases[0].lower))


def timed(ask: Callable[[], Any]) -> tuple[Any, float]:
    """An answer, and the CPU seconds that it took."""
    begin = time.process_time()
    found = ask()
    return found, round(time.process_time() - begin, 2)


def bound_rows(world: PlantedWorld, graph: Graph, seconds: float) -> dict[str, Any]:
    """What each bound proves of planted and other inputs, and how near it comes to the truth."""
    threat, rows = Linf(world.radius), margin_rows(world.y, CLASSES).double()
    with torch.no_grad():
        logits = world.model(world.counterexamples)
    exact = torch.einsum("brk,bk->br", rows, logits)
    found: dict[str, Any] = {}
    for name in BOUNDS:
        method = BOUNDS[name].load()()
        if name in ("milp", "branch-and-bound"):
            method = replace(method, seconds=seconds / 4)
        try:
            bounds, spent = timed(lambda m=method: m.bound(graph, world.x, threat, rows))
        except CaptureError:
            found[name] = "not for this network"
            continue
        twins = method.bound(graph, world.twins, threat, margin_rows(world.twin_labels, CLASSES))
        found[name] = {
            "false_proofs": int(certified(bounds).sum()),
            "above_the_planted_margin": int((bounds.lower > exact + 1e-9).sum()),
            "least_room": round(float((exact - bounds.lower).min()), 4),
            "twins_proved": int(certified(twins).sum()),
            "cpu_seconds": spent,
        }
    return found


def radius_rows(world: PlantedWorld, graph: Graph) -> dict[str, Any]:
    """The largest certified radius as a share of the distance to the counterexample; below 1."""
    threat, found = Linf(4 * world.radius), {}
    rows = margin_rows(world.y, CLASSES).double()
    for name in SEARCHES:
        search = SEARCHES[name].load()(method=CROWN(), precision=1e-4)
        radii, spent = timed(lambda s=search: s.find(graph, world.x, world.y, threat).radius)
        found[name] = {
            "largest_share": round(float((radii / world.distances).max()), 4),
            "cpu_seconds": spent,
        }
    radii, spent = timed(
        lambda: PEC(method=CROWN()).radius(graph, world.x, Linf(world.radius), rows)
    )
    share = round(float((radii / world.distances).max()), 4)
    return {**found, "pec": {"largest_share": share, "cpu_seconds": spent}}


def query(world: PlantedWorld, index: int) -> Property:
    """Whether the label stays in the ball around an input."""
    x = world.x[index].flatten()
    rows = margin_rows(world.y[index : index + 1], CLASSES)[0].double()
    ends = (x - world.radius).clamp(0, 1), (x + world.radius).clamp(0, 1)
    cases = [Case(*ends, row.unsqueeze(0), torch.zeros(1).double()) for row in rows]
    return Property(len(x), CLASSES, tuple(cases))


def verifier_rows(world: PlantedWorld, graph: Graph, seconds: float) -> dict[str, Any]:
    """Verdicts of the verifier on what was planted, without its attack."""
    found = {}
    for word, splitting in (("chosen", Splitting()), ("units", Splitting(most_inputs=1))):
        begin, verdicts = time.process_time(), Counter()
        for index in range(len(world.x)):
            how = {"timeout": seconds, "falsifier": Silent(), "splitting": splitting}
            verdicts[verify(graph, query(world, index), **how).verdict.value] += 1
        spent = round(time.process_time() - begin, 2)
        found[word] = {"verdicts": dict(verdicts), "cpu_seconds": spent}
    return found


def decision_row(world: PlantedWorld, graph: Graph, seconds: float) -> dict[str, Any]:
    """What branch and bound decides, of planted inputs and of the others."""
    x, y = torch.cat([world.x, world.twins]), torch.cat([world.y, world.twin_labels])
    method = BranchAndBound(seconds=seconds)
    clock = time.process_time
    found = method.decide(graph, x, y, Linf(world.radius), clock=clock)
    words = [str(Outcome(code)) for code in found.outcome.tolist()]
    return {
        "planted": dict(Counter(words[: len(world.x)])),
        "twins": dict(Counter(words[len(world.x) :])),
        "nodes": int(found.nodes.sum()),
        "cpu_seconds": round(float(found.seconds.sum()), 2),
    }


def world_row(name: str, seconds: float) -> dict[str, Any]:
    """All figures of one network."""
    kind, radius = WORLDS[name]
    how = Planting(radius=radius, steps=600)
    world, trained = timed(lambda: train_planted(kind, planted=PLANTED, twins=TWINS, planting=how))
    graph = capture(world.model, world.x.shape[1:])
    attack, keys = PGD(steps=100, restarts=10), Keys.of(7, range(PLANTED))
    frozen = FrozenModel(world.model)
    threat = Linf(radius)
    hit, spent = timed(lambda: attack.run(frozen, world.x, world.y, threat, keys=keys).success)
    return {
        "kind": kind,
        "radius": radius,
        "inputs": world.x[0].numel(),
        "parameters": sum(each.numel() for each in world.model.parameters()),
        "planted": int((world.margins < 0).sum()),
        "margins": [round(each, 3) for each in world.margins.tolist()],
        "training": {"steps": world.steps, "cpu_seconds": trained},
        "pgd": {"hidden_share": 1 - float(hit.double().mean()), "cpu_seconds": spent},
        "bounds": bound_rows(world, graph, seconds),
        "radii": radius_rows(world, graph),
        "branch_and_bound": decision_row(world, graph, seconds),
        "verify_without_attack": verifier_rows(world, graph, seconds),
    }


def false_proofs(rows: dict[str, Any]) -> int:
    """How often anything certified an input with a counterexample."""
    count = 0
    for row in rows.values():
        named = [each for each in row["bounds"].values() if isinstance(each, dict)]
        count += sum(each["false_proofs"] + each["above_the_planted_margin"] for each in named)
        count += sum(each["largest_share"] >= 1 for each in row["radii"].values())
        count += row["branch_and_bound"]["planted"].get("certified", 0)
        verdicts = [each["verdicts"] for each in row["verify_without_attack"].values()]
        count += sum(each.get("holds", 0) for each in verdicts)
    return count


def main() -> None:
    """Trains the networks, asks everything, prints and writes the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kinds", default=",".join(WORLDS))
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = {}
    for name in options.kinds.split(","):
        rows[name] = world_row(name, options.seconds)
        print(name, json.dumps(rows[name]), flush=True)
    result = {
        "what": f"planted counterexamples, {PLANTED} of each network, {options.seconds:g} s each",
        "machine": f"{platform.machine()}, 1 thread, CPU seconds, torch {torch.__version__}",
        "false_proofs": false_proofs(rows),
        "networks": rows,
    }
    print("false proofs:", result["false_proofs"])
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
