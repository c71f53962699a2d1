"""Exact verification of a whole test set: what each bound decides, cheapest first, and the rest.

All images go through interval, CROWN-IBP, dual and CROWN, each on its own (a proof in float64 for
all rows, in CPU milliseconds per image). What CROWN leaves open is attacked by PGD; what stands is
given to `lp`, then to `milp` with a time limit per row. The lowest point of each programme is tried
as an attack. What is reported: certified by each, broken by each, and what nobody decides.

Work is kept in blocks in a state file, so that a run that is cut short goes on where it was.

Run: `python benchmarks/exact_full.py [--images 10000] [--seconds 30] [--most 100] [--out FILE]`
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from holdfast.attacks import PGD
from holdfast.certify import CROWN, CrownIBP, Dual, Interval, capture, certified, margin_rows
from holdfast.certify.solvers.lp import LP
from holdfast.certify.solvers.milp import MILP
from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.data.load import load_data
from holdfast.models.registry import build_model
from holdfast.models.store import load_weights
from holdfast.threats import Linf

BLOCK = 200
CHEAP = {"interval": Interval(), "crown-ibp": CrownIBP(), "dual": Dual(), "crown": CROWN()}


class State:
    """One column per stage: -1 not yet, 0 open, 1 certified, 2 broken; and seconds."""

    def __init__(self, file: Path, count: int):
        self.file, self.count = file, count
        self.columns = load_file(file) if file.exists() else {}

    def column(self, name: str) -> Tensor:
        """The answers of a stage."""
        blank = torch.full((self.count,), -1, dtype=torch.int8)
        return self.columns.setdefault(name, blank)

    def seconds(self, name: str) -> Tensor:
        """The CPU seconds of a stage, for each image."""
        return self.columns.setdefault(f"{name}.seconds", torch.zeros(self.count))

    def stage(
        self, name: str, among: Tensor, answer: Callable[[Tensor], Tensor], block: int = BLOCK
    ) -> None:
        """Runs a stage on the images (mask) that it has not answered, and saves block by block."""
        todo = (among & (self.column(name) < 0)).nonzero().squeeze(1)
        for part in torch.split(todo, block) if len(todo) else ():
            begin = time.process_time()
            self.column(name)[part] = answer(part).to(torch.int8)
            self.seconds(name)[part] = (time.process_time() - begin) / len(part)
            self.file.parent.mkdir(parents=True, exist_ok=True)
            save_file(self.columns, self.file)

    def summary(self, name: str) -> dict[str, float | int]:
        """Counts of a stage, and its time."""
        found, seconds = self.column(name), self.seconds(name)
        asked = int((found >= 0).sum())
        return {
            "asked": asked,
            "certified": int((found == 1).sum()),
            "broken": int((found == 2).sum()),
            "open": int((found == 0).sum()),
            "cpu_ms_per_image": round(1000 * float(seconds.sum()) / max(1, asked), 2),
        }


def run(options: argparse.Namespace) -> dict[str, object]:
    """All stages, and what they decided."""
    data = load_data("mnist", "test", data_dir=options.data_dir, limit=options.images)
    x, y = data.inputs(), data.labels
    model = build_model("mnist_conv")
    load_weights(model, Path(options.data_dir) / f"models/{options.model}.safetensors")
    model.eval().requires_grad_(False)
    graph, rows, threat = capture(model, (1, 28, 28)), margin_rows(y, 10), Linf(options.eps)
    state, frozen = State(options.state, len(x)), FrozenModel(model, block=128)
    state.stage("correct", torch.ones(len(x), dtype=torch.bool), lambda i: _right(model, x, y, i))
    correct = state.column("correct") == 1
    for name, method in CHEAP.items():
        bound = _bound(method, graph, x, threat, rows)
        state.stage(name, correct, lambda i, bound=bound: certified(bound(i)))
    proved = torch.stack([state.column(name) == 1 for name in CHEAP]).any(0)

    def attacked(i: Tensor) -> Tensor:
        attack = PGD(steps=50, step_size=0.01, restarts=5)
        return 2 * attack.run(frozen, x[i], y[i], threat, keys=Keys.of(0, i.tolist())).success

    state.stage("pgd", correct & ~proved, attacked)
    left = correct & ~proved & (state.column("pgd") == 0)

    def solved(method: LP | MILP) -> Callable[[Tensor], Tensor]:
        def answer(i: Tensor) -> Tensor:
            found = method.solve(graph, x[i], threat, rows[i])
            return torch.maximum(
                certified(found.bounds).long(), 2 * _confirmed(model, x[i], y[i], threat, found)
            )

        return answer

    state.stage("lp", left, solved(LP()), block=1)
    left = (left & (state.column("lp") == 0)).nonzero().squeeze(1)[: options.most]
    chosen = torch.zeros(len(x), dtype=torch.bool)
    chosen[left] = True
    if options.again:
        state.column("milp")[state.column("milp") == 0] = -1
    state.stage("milp", chosen, solved(MILP(seconds=options.seconds)), block=1)
    return report(state, options, len(x), int(correct.sum()), proved)


def report(
    state: State, options: argparse.Namespace, count: int, correct: int, proved: Tensor
) -> dict[str, object]:
    """The figures."""
    programmes = [state.column(name) for name in ("pgd", "lp", "milp")]
    by_programme = sum(int((column == 1).sum()) for column in programmes)
    broken = sum(int((column == 2).sum()) for column in programmes)
    total = int(proved.sum()) + by_programme
    return {
        "what": f"exact verification, {options.model}, linf {options.eps}",
        "machine": f"1 thread, CPU seconds, torch {torch.__version__}",
        "images": count,
        "correct": correct,
        "certified": total,
        "certified_without_solver_tolerances": int(proved.sum())
        + int((state.column("lp") == 1).sum()),
        "broken": broken,
        "undecided": correct - total - broken,
        "seconds_per_row": options.seconds,
        "stages": {name: state.summary(name) for name in (*CHEAP, "pgd", "lp", "milp")},
    }


def _right(model: torch.nn.Module, x: Tensor, y: Tensor, i: Tensor) -> Tensor:
    with torch.no_grad():
        return model(x[i]).argmax(1) == y[i]


def _bound(method, graph, x, threat, rows):  # type: ignore[no-untyped-def]
    return lambda i: method.bound(graph, x[i], threat, rows[i])


def _confirmed(model: torch.nn.Module, x: Tensor, y: Tensor, threat: Linf, found) -> Tensor:  # type: ignore[no-untyped-def]
    """Whether some witness, as float32, lies in the threat and fools the model itself."""
    points = found.witness.to(x).flatten(0, 1)
    again = x.repeat_interleave(found.witness.shape[1], 0)
    label = y.repeat_interleave(found.witness.shape[1])
    with torch.no_grad():
        fooled = (model(points).argmax(1) != label) & threat.contains(points, again)
    return fooled.view(len(x), -1).any(1).long()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="mnist_conv_dual_linf0.1")
    parser.add_argument("--eps", type=float, default=0.1)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=30.0, help="of wall time, for each row")
    parser.add_argument("--most", type=int, default=100, help="images given to milp")
    parser.add_argument("--again", action="store_true", help="asks milp again what it left open")
    parser.add_argument("--data-dir", default=os.environ.get("HOLDFAST_DATA", "../shared/data"))
    parser.add_argument("--state", type=Path, default=Path("runs/exact_full.safetensors"))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = run(options)
    text = json.dumps(found, indent=1)
    if options.out:
        options.out.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
