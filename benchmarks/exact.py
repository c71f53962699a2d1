"""Exact verdicts of test images one by one: attack, CROWN, alpha-CROWN, branch and bound; or MILP.

Each image goes through the stages until one decides it, within a number of CPU seconds of one
thread. A certificate is rigorous; a counterexample is inside the threat and classified otherwise,
seen on a fresh forward pass. With `--by milp` the rows that CROWN leaves open are solved by HiGHS,
as linear programmes and then exactly, without attack: what it certifies holds up to the solver's
tolerances. Every image is a line of a journal as soon as it is decided, so that a run that is cut
short goes on where it was.

Run: `python benchmarks/exact.py --data-dir DIR [--model mnist_conv_fgsm_linf0.3] [--eps 0.1]
    [--images 100] [--seconds 60] [--by milp] [--journal FILE] [--out FILE]`
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from torch import Tensor, nn

from holdfast.attacks import PGD
from holdfast.certify import CROWN, MILP, AlphaCrown, Graph, capture, certified, margin_rows
from holdfast.certify.complete.branch_and_bound import BranchAndBound
from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.core.results import Outcome
from holdfast.data.load import load_data
from holdfast.models.registry import build_model
from holdfast.models.store import load_weights
from holdfast.threats import Linf

PGD_STEPS, PGD_RESTARTS = 40, 4
ALPHA_STEPS = 20


@dataclass(frozen=True)
class Row:
    """The verdict on one image: certified, broken, misclassified or timeout, and by what."""

    image: int
    verdict: str
    stage: str
    seconds: float
    lower: float
    upper: float
    nodes: int


class Query:
    """One image, and what every stage needs."""

    def __init__(self, model: nn.Module, graph: Graph, x: Tensor, y: Tensor, eps: float):
        self.model, self.graph, self.x, self.y, self.threat = model, graph, x, y, Linf(eps)
        self.rows = margin_rows(y, graph.output_shape[0])

    def broken(self, x_adv: Tensor) -> bool:
        """Whether an input is in the threat and classified otherwise."""
        with torch.no_grad():
            wrong = self.model(x_adv).argmax(1) != self.y
        return bool(wrong & self.threat.contains(x_adv, self.x))


def decide(query: Query, image: int, seconds: float, by: str) -> Row:
    """The verdict on an image, stage by stage."""
    begin, lower = time.process_time(), float("-inf")

    def row(verdict: str, stage: str, upper: float = float("inf"), nodes: int = 0) -> Row:
        return Row(image, verdict, stage, time.process_time() - begin, lower, upper, nodes)

    if query.broken(query.x):
        return row("misclassified", "")
    if by == "milp":
        verdict, stage, lower = _by_milp(query, seconds)
        return row(verdict, stage)
    for stage, method in (("crown", CROWN()), ("alpha-crown", AlphaCrown(steps=ALPHA_STEPS))):
        bounds = method.bound(query.graph, query.x, query.threat, query.rows)
        lower = max(lower, float(bounds.lower.min()))
        if bool(certified(bounds)):
            return row("certified", stage)
        if stage == "crown" and _attacked(query, image):
            return row("broken", "pgd")
    left = max(1e-3, seconds - (time.process_time() - begin))
    method = BranchAndBound(seconds=left)
    found = method.decide(query.graph, query.x, query.y, query.threat, clock=time.process_time)
    lower, upper = max(lower, float(found.lower)), float(found.upper)
    outcome, nodes = Outcome(int(found.outcome)), int(found.nodes)
    if outcome is Outcome.BROKEN and query.broken(found.witness.to(query.x)):
        return row("broken", "branch and bound", upper, nodes)
    verdict = "certified" if outcome is Outcome.CERTIFIED else "timeout"
    return row(verdict, "branch and bound" if verdict == "certified" else "", upper, nodes)


def _by_milp(query: Query, seconds: float) -> tuple[str, str, float]:
    """The verdict, by what, and the least bound; row after row, the weakest first."""
    begin = time.process_time()
    first = CROWN().bound(query.graph, query.x, query.threat, query.rows).lower[0]
    lower = first.clone()
    for place in first.argsort().tolist():
        left = seconds - (time.process_time() - begin)
        if lower[place] > 0:
            continue
        if left <= 0:
            break
        asked = query.rows[:, place : place + 1]
        found = MILP(seconds=left).solve(query.graph, query.x, query.threat, asked)
        lower[place] = found.bounds.lower[0, 0]
        if query.broken(found.witness[0].to(query.x)):
            return "broken", "milp", float(lower.min())
    if not bool((lower > 0).all()):
        return "timeout", "", float(lower.min())
    return "certified", "crown" if bool((first > 0).all()) else "milp", float(lower.min())


def _attacked(query: Query, image: int) -> bool:
    attack = PGD(steps=PGD_STEPS, restarts=PGD_RESTARTS, step_size=query.threat.radius / 8)
    with FrozenModel(query.model, block=PGD_RESTARTS) as frozen:
        found = attack.run(frozen, query.x, query.y, query.threat, keys=Keys.of(0, [image]))
    return bool(found.success) and query.broken(found.x_adv)


def journalled(file: Path, stage: dict[str, object], row: Callable[[int], Row], count: int):
    """The rows of all images; those of the journal with the same settings are not computed."""
    done: dict[int, Row] = {}
    if file.exists():
        for line in file.read_text().splitlines():
            entry = json.loads(line)
            if entry.pop("settings") == stage:
                done[entry["image"]] = Row(**entry)
    file.parent.mkdir(parents=True, exist_ok=True)
    for image in range(count):
        if image not in done:
            done[image] = row(image)
            with file.open("a") as out:
                out.write(json.dumps({**asdict(done[image]), "settings": stage}) + "\n")
        yield done[image]


def summary(rows: list[Row]) -> dict[str, object]:
    """Counts by verdict and stage, and times."""
    words = ("certified", "broken", "misclassified", "timeout")
    stages = ("crown", "alpha-crown", "pgd", "branch and bound", "milp")
    return {
        "images": len(rows),
        "verdicts": {word: sum(row.verdict == word for row in rows) for word in words},
        "decided": sum(row.verdict != "timeout" for row in rows),
        "by": {stage: sum(row.stage == stage for row in rows) for stage in stages},
        "cpu_seconds": {
            "all": round(sum(row.seconds for row in rows), 2),
            "median": round(statistics.median(row.seconds for row in rows), 4),
            "most": round(max(row.seconds for row in rows), 2),
        },
        "nodes": sum(row.nodes for row in rows),
        "most_nodes": max(row.nodes for row in rows),
    }


def main() -> None:
    """Decides all images, prints a table, and writes the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", default=os.environ.get("HOLDFAST_DATA", "../shared/data"))
    parser.add_argument("--model", default="mnist_conv_fgsm_linf0.3")
    parser.add_argument("--eps", type=float, default=0.1)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--by", choices=("branch and bound", "milp"), default="branch and bound")
    parser.add_argument("--journal", type=Path, default=Path("runs/exact.jsonl"))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = load_data("mnist", "test", data_dir=options.data_dir, limit=options.images)
    x, y = data.inputs(), data.labels
    model = build_model("mnist_conv")
    load_weights(model, Path(options.data_dir) / f"models/{options.model}.safetensors")
    model.eval().requires_grad_(False)
    graph = capture(model, x.shape[1:])
    stage = {"model": options.model, "eps": options.eps, "seconds": options.seconds}
    stage |= {"by": options.by}

    def row(image: int) -> Row:
        part = slice(image, image + 1)
        return decide(
            Query(model, graph, x[part], y[part], options.eps), image, options.seconds, options.by
        )

    rows = []
    for found in journalled(options.journal, stage, row, len(x)):
        rows.append(found)
        if found.nodes or found.verdict == "timeout":
            print(found, flush=True)
    result = {
        "what": f"exact verdicts, Linf {options.eps}, {options.model}, {options.seconds:g} s each",
        "last": options.by,
        "machine": f"{platform.machine()}, 1 thread, CPU seconds, torch {torch.__version__}",
        **summary(rows),
        "rows": [asdict(row) for row in rows],
    }
    print(json.dumps({key: value for key, value in result.items() if key != "rows"}, indent=2))
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
